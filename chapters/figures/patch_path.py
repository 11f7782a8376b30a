"""Chapter 13: from a key's number back to a place on the picture."""

from draw import Drawing
from pictures import window

KEY, ROWS, PER_SIDE, SIDE = 152, 65, 8, 224
tile, row = divmod(KEY, ROWS)
patch = row - 1
y, x = tile // 2 * PER_SIDE + patch // PER_SIDE, tile % 2 * PER_SIDE + patch % PER_SIDE
d = Drawing(
    "From a key back to the picture",
    f"Key {KEY} divided by {ROWS} is tile {tile}, row {row}. Without the class token it is patch "
    f"{patch}: row {patch // PER_SIDE}, column "
    f"{patch % PER_SIDE} of the tile, and row {y}, column {x} of the whole picture, where it is outlined.",
    700,
    300,
)
steps = [
    ("key", f"{KEY}"),
    (f"/ {ROWS}", f"tile {tile}, row {row}"),
    ("- 1", f"patch {patch}"),
    (f"/ {PER_SIDE}", f"row {patch // PER_SIDE}, column {patch % PER_SIDE} of its tile"),
    ("+ the tile's place", f"row {y}, column {x} of the picture"),
]
for index, (how, what) in enumerate(steps):
    top = 24 + index * 54
    d.box(150, top, 240, 32, what, "orange" if index else "blue", 14)
    d.text(138, top + 21, how, 13, "end", "quiet")
    if index:
        d.arrow(270, top - 22, 270, top - 1)
window(d, "demo.png", 440, 36, SIDE, SIDE)
for line in range(17):
    d.line(440 + line * 14, 36, 440 + line * 14, 36 + SIDE, None, 0.4)
    d.line(440, 36 + line * 14, 440 + SIDE, 36 + line * 14, None, 0.4)
d.line(440, 36 + 112, 440 + SIDE, 36 + 112, "red", 2)
d.line(440 + 112, 36, 440 + 112, 36 + SIDE, "red", 2)
d.raw(
    f'<rect x="{440 + x * 14}" y="{36 + y * 14}" width="14" height="14" style="fill:none" '
    'stroke-width="3" class="orange-line"/>'
)
d.text(552, 282, "16 x 16 patches, 2 x 2 tiles", 13, "middle", "quiet")
d.save("patch_path")
