"""The diagram of the architecture that many articles show, with the nine places where it is not right."""

import sys

sys.dont_write_bytecode = True
from draw import Drawing

LEFT, RIGHT, WIDE = 40, 420, 260


def column(d, x, boxes, top, height, gap, kind):
    """Boxes from top to bottom with arrows between them; returns the middle height of each."""
    middles, y = [], top
    for lines in boxes:
        d.box(x, y, WIDE, height, lines, kind, 14)
        middles.append(y + height / 2)
        y += height + gap
        if lines is not boxes[-1]:
            d.arrow(x + WIDE / 2, y - gap, x + WIDE / 2, y)
    return middles


def mark(d, x, y, number):
    d.circle(x, y, 12, "red")
    d.text(x, y + 5, str(number), 14, "middle", "red", bold=True)


d = Drawing(
    "The popular diagram, and nine places where it is not right",
    "Left column, text: prompt, tokenizer, embedding table 128K x 4096, RoPE, 40 layers of which 32 are "
    "self-attention and 8 cross-attention, norm, LM head. Right column, image: image 224 x 224, 14 x 14 "
    "patches, width "
    "1280 plus aspect ratio embedding, vision encoder of 32 layers, optional global layers, 6272+ image "
    "tokens, with an "
    "arrow into the layers. Numbers 1 to 9 in red circles mark: prompt, table, RoPE, layers, image size, "
    "patches, aspect "
    "ratio, global layers, image tokens.",
    720,
    560,
)
d.text(LEFT + WIDE / 2, 30, "words", 16, "middle", "blue", bold=True)
d.text(RIGHT + WIDE / 2, 30, "image", 16, "middle", "orange", bold=True)
words = [
    "prompt",
    "tokenizer",
    ["embedding table", "128K x 4096"],
    "RoPE",
    ["40 layers", "32 self, 8 cross"],
    "norm",
    "LM head",
]
left = column(d, LEFT, words, 46, 46, 26, "blue")
images = [
    ["image", "224 x 224"],
    "14 x 14 patches",
    ["1280", "+ aspect ratio embedding"],
    ["vision encoder", "32 layers"],
    ["global layers", "(optional)"],
    ["6272+", "image tokens"],
]
right = column(d, RIGHT, images, 46, 52, 36, "orange")
d.path(f"M {RIGHT} {right[5]} L 370 {right[5]} L 370 {left[4]}")
d.arrow(370, left[4], LEFT + WIDE, left[4])
for number, (x, y) in enumerate(
    [
        (LEFT, left[0]),
        (LEFT, left[2]),
        (LEFT, left[3]),
        (LEFT, left[4]),
        (RIGHT + WIDE, right[0]),
        (RIGHT + WIDE, right[1]),
        (RIGHT + WIDE, right[2]),
        (RIGHT + WIDE, right[4]),
        (RIGHT + WIDE, right[5]),
    ],
    1,
):
    mark(d, x, y, number)
d.save("popular_picture")
