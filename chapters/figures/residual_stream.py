"""What each branch adds to the stream of one token."""

import numpy as np
from draw import Drawing, run


def main():
    demo = run("demo")
    token, text = demo.find("image"), demo.header["model"]["text"]
    length = lambda name: float(np.linalg.norm(demo[name][token].astype(float)))
    bars = [("embedding", "violet", length("language_model.embed_tokens"))]
    for layer in range(text["n_layers"]):
        name = f"language_model.layers.{layer}"
        cross = layer in text["cross_attention_layers"]
        bars.append(
            (
                f"{layer}  {'cross' if cross else 'self'}",
                "orange" if cross else "blue",
                length(f"{name}.cross_attn.gated" if cross else f"{name}.self_attn.o_proj"),
            )
        )
        bars.append(
            (f"{layer}  mlp", "green", length(f"{name}.mlp.gated_output" if cross else f"{name}.mlp"))
        )
    longest, height = max(bar[2] for bar in bars), 44 + 24 * len(bars) + 40
    d = Drawing(
        "What each branch adds to one token's stream",
        "Bars for the token image: the length of the embedding, then of what attention, cross-attention "
        "and MLP of each layer add. "
        f"The longest is {max(bars, key=lambda bar: bar[2])[0]} with {longest:.1f}.",
        680,
        height,
    )
    d.arrow(130, 30, 130, height - 34, "plain", 6)
    d.text(130, 20, "the stream of the token image", 13, "middle")
    for place, (name, kind, size) in enumerate(bars):
        y = 40 + 24 * place
        d.text(118, y + 13, name, 12, "end")
        d.rect(146, y, max(420 * size / longest, 1), 17, kind, 2)
        d.text(152 + 420 * size / longest, y + 13, f"{size:.1f}", 12, kind="quiet")
        d.line(146, y + 8, 134, y + 8)
    last = length(f"language_model.layers.{text['n_layers'] - 1}")
    d.text(146, height - 24, f"the sum, which goes to the last norm, has a length of {last:.1f}", 13)
    d.save("residual_stream")


main()
