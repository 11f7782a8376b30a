"""Chapter 10: one channel of one patch, and the four summands it is made of."""

import math

from draw import Drawing, run, weights

PATCH, CHANNEL, TILE = 58, 7, 0
w, demo = weights(), run("demo")
aspect = int(demo["aspect_ratio_ids"][0])
share = math.tanh(float(w["vision_model.gated_positional_embedding.gate"][0]))
pre = math.tanh(float(w["vision_model.pre_tile_positional_embedding.gate"][0]))
parts = [
    ("patch embedding", float(demo["vision_model.patch_embedding"][0, TILE, PATCH, CHANNEL]), "orange"),
    (
        "+ tanh(gate) x pre-tile embedding",
        pre
        * float(
            w["vision_model.pre_tile_positional_embedding.embedding.weight"].reshape(9, 4, -1)[
                aspect, TILE, CHANNEL
            ]
        ),
        "violet",
    ),
    (
        "+ (1 - tanh(gate)) x position",
        (1 - share) * float(w["vision_model.gated_positional_embedding.embedding"][PATCH + 1, CHANNEL]),
        "violet",
    ),
    (
        "+ tanh(gate) x tile position",
        share
        * float(
            w["vision_model.gated_positional_embedding.tile_embedding.weight"].reshape(9, 4, -1, 96)[
                aspect, TILE, PATCH + 1, CHANNEL
            ]
        ),
        "violet",
    ),
]
sums = [0.0]
for _, value, _ in parts:
    sums.append(sums[-1] + value)
low, high = min(sums), max(sums)
margin = 0.12 * (high - low)
low, high = low - margin, high + margin
LEFT, WIDE, TOP, STEP = 300, 300, 40, 46
d = Drawing(
    "Where one number of the encoder's input comes from",
    "Channel 7 of the fish's patch. "
    + ", ".join(f"{name}: {value:+.3f}" for name, value, _ in parts)
    + f"; together {sums[-1]:.3f}.",
    680,
    TOP + 5 * STEP + 40,
)


def at(value):
    return LEFT + (value - low) / (high - low) * WIDE


d.line(at(0), TOP - 12, at(0), TOP + 5 * STEP, None, 1, dashed=True)
d.text(at(0), TOP - 18, "0", 13, "middle", "quiet")
for index, (name, value, kind) in enumerate(parts + [("= what the encoder gets", None, "green")]):
    y = TOP + index * STEP
    start, end = (sums[index], sums[index + 1]) if value is not None else (0.0, sums[-1])
    d.text(LEFT - 24, y + 20, name, 14, "end")
    d.rect(min(at(start), at(end)), y, max(abs(at(end) - at(start)), 1), 30, kind)
    d.text(660, y + 20, f"{end - start:+.4f}", 13, "end", code=True)
    if value is not None:
        d.line(at(end), y + 30, at(end), y + STEP, None, 1)
d.text(
    LEFT + WIDE / 2,
    TOP + 5 * STEP + 24,
    "tile 0, patch 58, channel 7 of the demo picture",
    13,
    "middle",
    "quiet",
)
d.save("positions_sum")
