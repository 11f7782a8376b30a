"""The shares of the likeliest words of one row at three temperatures."""

import json

import numpy as np
from draw import ROOT, Drawing, run

TEMPERATURES = (1, 2, 4)


def main():
    demo = run("demo")
    row = demo.row("fish")
    logits = demo.at("lm_head", row).astype(float)
    vocabulary = json.loads((ROOT / "models" / "pictor" / "tokenizer.json").read_text())["model"]["vocab"]
    word_of = {number: piece.replace("Ġ", "␣") for piece, number in vocabulary.items()}
    best = [int(word) for word in np.argsort(-logits)[:8]]
    d = Drawing("Temperature flattens the shares", "", 700, 90 + 32 * (len(best) + 1))
    said = []
    for column, temperature in enumerate(TEMPERATURES):
        shares = np.exp((logits - logits.max()) / temperature)
        shares /= shares.sum()
        said.append(f"at {temperature} the first word has {shares[best[0]]:.3f}")
        x = 130 + 190 * column
        d.text(x, 34, f"temperature {temperature}", 13, bold=True)
        for place, word in enumerate(best):
            y = 52 + 32 * place
            if column == 0:
                d.text(118, y + 15, word_of.get(word, str(word)), 13, "end", code=True)
            d.rect(x, y, max(120 * shares[word], 1), 20, "green" if place == 0 else "blue", 2)
            d.text(x + 126 * shares[word] + 6, y + 15, f"{shares[word]:.3f}", 11, kind="quiet")
        rest = 1 - sum(shares[word] for word in best)
        y = 52 + 32 * len(best)
        if column == 0:
            d.text(118, y + 15, "all others", 13, "end", "quiet")
        d.rect(x, y, max(120 * rest, 1), 20, "plain", 2)
        d.text(x + 126 * rest + 6, y + 15, f"{rest:.3f}", 11, kind="quiet")
    d.description = "The row that predicts fish, its eight likeliest words: " + ", ".join(said) + "."
    d.save("temperature")


main()
