"""What the model would say if it ended after each layer, in the row that predicts fish."""

import json

import numpy as np
from draw import ROOT, Drawing, run, weights


def main():
    demo, stored = run("demo"), weights()
    row, text = demo.row("fish"), demo.header["model"]["text"]
    head = stored["language_model.lm_head.weight"].astype(float)
    norm = stored["language_model.model.norm.weight"].astype(float)
    vocabulary = json.loads((ROOT / "models" / "pictor" / "tokenizer.json").read_text())["model"]["vocab"]
    word_of = {number: piece.replace("Ġ", "␣") for piece, number in vocabulary.items()}
    answer, lines = demo.ids[row + 1], []
    for layer in range(text["n_layers"]):
        state = demo.at(f"language_model.layers.{layer}", row).astype(float)
        logits = head @ (state / np.sqrt(np.mean(state**2) + text["rms_norm_eps"]) * norm)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = [int(word) for word in np.argsort(-shares)[:3]]
        lines.append(
            (
                layer,
                layer in text["cross_attention_layers"],
                [(word, float(shares[word])) for word in best],
                float(shares[answer]),
            )
        )
    d = Drawing(
        "What the model would say if it ended here",
        "The row that predicts fish, after each layer. Share of fish: "
        + ", ".join(f"layer {layer} {share:.2f}" for layer, _, _, share in lines)
        + ".",
        820,
        60 + 40 * len(lines),
    )
    d.text(24, 30, "if the model ended after", 13)
    d.text(190, 30, f"share of \u201c{demo.words[row + 1].strip()}\u201d", 13, kind="green")
    d.text(440, 30, "the likeliest words there", 13)
    for layer, is_cross, best, share in lines:
        y = 52 + 40 * layer
        d.box(
            24,
            y,
            140,
            28,
            f"{layer}  {'cross' if is_cross else 'self'}",
            "orange" if is_cross else "blue",
            13,
        )
        d.rect(190, y + 4, 170, 20, "plain", 2)
        d.rect(190, y + 4, max(170 * share, 1), 20, "green", 2)
        d.text(368, y + 19, f"{share:.3f}", 12, kind="quiet")
        x = 440
        for word, part in best:
            shown = f"{word_of.get(word, str(word))} {part:.2f}"
            d.text(x, y + 19, shown, 12, kind="green" if word == answer else "ink", code=True)
            x += 7.4 * len(shown) + 14
    d.save("logit_lens")


main()
