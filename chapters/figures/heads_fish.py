"""Chapter 18: the eight heads of the last cross-attention layer before the word fish, at one scale."""

import json

import numpy as np

from draw import ROOT, Drawing, run
from pictures import png_of

demo = run("demo")
config = json.loads((ROOT / "models/pictor/config.json").read_text())
layer = config["text_config"]["cross_attention_layers"][-1]
probs = demo.at(f"language_model.layers.{layer}.cross_attn.probs", demo.row("fish")).astype(np.float64)
bits = [-(p[p > 0] * np.log2(p[p > 0])).sum() for p in probs]
squares = [p.reshape(4, 65)[:, 1:].reshape(2, 2, 8, 8).transpose(0, 2, 1, 3).reshape(16, 16) for p in probs]
most = max(square.max() for square in squares)
LIGHT, FULL = np.array([250, 244, 232]), np.array([94, 26, 6])
SIDE, GAP = 144, 18
d = Drawing(
    "Eight heads, eight different looks",
    "; ".join(
        f"head {head}: {value:.2f} bits, strongest patch {100 * square.max():.1f} %"
        for head, (value, square) in enumerate(zip(bits, squares))
    )
    + ". The fish is at the left edge, in patch rows 5 to 10.",
    4 * SIDE + 3 * GAP + 48,
    2 * (SIDE + 48) + 58,
)
for head, square in enumerate(squares):
    x, y = 24 + head % 4 * (SIDE + GAP), 34 + head // 4 * (SIDE + 48)
    share = (square / most)[:, :, None] ** 0.6
    d.raw(
        f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" '
        f'href="{png_of(np.round(LIGHT + (FULL - LIGHT) * share))}" '
        f'style="image-rendering:pixelated"/>'
    )
    d.rect(x, y, SIDE, SIDE, "none", outline="plain")
    cell = SIDE / 16
    d.raw(
        f'<rect x="{x}" y="{y + 5 * cell}" width="{6 * cell}" height="{6 * cell}" '
        'style="fill:none;stroke:#2563eb" stroke-dasharray="4 3"/>'
    )
    d.text(x + SIDE / 2, y + SIDE + 18, f"head {head}: {bits[head]:.1f} bits", 13, "middle")
d.text(24, 22, f"layer {layer}, before the word fish; the dashed box is the fish", 13, kind="quiet")
d.text(
    24,
    2 * (SIDE + 48) + 44,
    f"one scale: darkest is {100 * most:.0f} % of a head's attention on one patch",
    13,
    kind="quiet",
)
d.save("heads_fish")
