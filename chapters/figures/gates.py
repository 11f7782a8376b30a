"""Chapter 10: tanh, and the model's gates on it."""

import math

from draw import Drawing, weights

GATES = (
    ("pre-tile", "vision_model.pre_tile_positional_embedding.gate"),
    ("positions", "vision_model.gated_positional_embedding.gate"),
    ("post-tile", "vision_model.post_tile_positional_embedding.gate"),
)
LEFT, TOP, WIDE, HIGH, REACH = 60, 30, 540, 240, 3.0
table = weights()
gates = [(name, float(table[key][0])) for name, key in GATES]
d = Drawing(
    "tanh, and three gates of the small model",
    "The curve of tanh from minus one to one. "
    + ". ".join(f"{n}: the file has {g:.2f}, its tanh is {math.tanh(g):.2f}" for n, g in gates)
    + ".",
    660,
    310,
)


def place(gate, value):
    return LEFT + (gate + REACH) / (2 * REACH) * WIDE, TOP + (1 - value) / 2 * HIGH


for value in (-1, 0, 1):
    _, y = place(0, value)
    d.line(LEFT, y, LEFT + WIDE, y, None, 0.7, dashed=value != 0)
    d.text(LEFT - 10, y + 5, str(value), 13, "end", "quiet")
x, _ = place(0, 0)
d.line(x, TOP, x, TOP + HIGH, None, 0.7)
points = [
    place(-REACH + step * 2 * REACH / 120, math.tanh(-REACH + step * 2 * REACH / 120)) for step in range(121)
]
d.path("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points), "violet", 2.5)
for index, (name, gate) in enumerate(gates):
    x, y = place(gate, math.tanh(gate))
    d.circle(x, y, 9, "orange")
    d.text(x, y + 4, str(index + 1), 11, "middle", "orange", bold=True)
    d.circle(390, 192 + 24 * index, 9, "orange")
    d.text(390, 196 + 24 * index, str(index + 1), 11, "middle", "orange", bold=True)
    d.text(408, 197 + 24 * index, f"{name}: {gate:.2f}, tanh {math.tanh(gate):.2f}", 13, kind="orange")
d.text(LEFT + WIDE / 2, TOP + HIGH + 30, "gate as stored in the file", 13, "middle", "quiet")
d.text(20, TOP + HIGH / 2, "tanh(gate)", 13, "middle", "quiet", turn=-90)
d.save("gates")
