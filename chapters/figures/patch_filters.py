"""Chapter 9: the first channels of the patch embedding, as the patches that they answer to most."""

import numpy as np

from draw import Drawing, weights
from pictures import png_of

COUNT, SIDE, GAP, PER_ROW = 16, 64, 14, 8
table = weights()["vision_model.patch_embedding.weight"]
d = Drawing(
    "The first 16 channels of the patch embedding, as pictures",
    "Each square is one channel's 14 by 14 weights in red, green and blue, stretched so that its largest "
    "weight is full colour "
    "and zero is middle gray.",
    2 * 24 + PER_ROW * (SIDE + GAP) - GAP,
    40 + COUNT // PER_ROW * (SIDE + 26),
)
for channel in range(COUNT):
    w = table[channel].astype(np.float64)
    pixels = np.round(127.5 + 127.5 * w / np.abs(w).max()).transpose(1, 2, 0)
    x, y = 24 + channel % PER_ROW * (SIDE + GAP), 20 + channel // PER_ROW * (SIDE + 26)
    d.raw(
        f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" href="{png_of(pixels)}" '
        'style="image-rendering:pixelated"/>'
    )
    d.text(x + SIDE / 2, y + SIDE + 14, str(channel), 11, "middle", "quiet")
d.save("patch_filters")
