"""Chapter 8: odd.png on its canvas."""

from draw import Drawing
from pictures import size_of, window

TILE = 112
rows, columns = size_of("odd.png")
scale = 2 * TILE / columns
high = int(rows * scale)
d = Drawing(
    "A picture on a canvas that it does not fill",
    f"Left odd.png, {columns} pixels wide and {rows} high. Right the canvas of two by two tiles. The "
    "picture, shrunk to "
    f"{2 * TILE} by {high} pixels, stands at its top left; the {2 * TILE - high} rows below are black "
    "padding.",
    660,
    300,
)
window(d, "odd.png", 24, 48, columns * 0.9, rows * 0.9)
d.text(24 + columns * 0.45, 38, f"{columns} x {rows}", 13, "middle", "quiet")
d.arrow(308, 126, 368, 126)
d.text(338, 114, f"x {scale:.3f}", 13, "middle", "quiet")
x, y = 388, 36
d.raw(f'<rect x="{x}" y="{y}" width="{2 * TILE}" height="{2 * TILE}" fill="#000"/>')
window(d, "odd.png", x, y, 2 * TILE, high)
d.line(x, y + TILE, x + 2 * TILE, y + TILE, "red", 2, dashed=True)
d.line(x + TILE, y, x + TILE, y + 2 * TILE, "red", 2, dashed=True)
d.rect(x, y, 2 * TILE, 2 * TILE, "none", outline="orange")
d.raw(
    f'<text x="{x + TILE}" y="{y + 176}" font-size="14" text-anchor="middle" fill="#fff">padding: '
    f"{2 * TILE - high} black rows</text>"
)
d.text(x + TILE, 284, f"{2 * TILE} x {2 * TILE}: the canvas", 13, "middle", "quiet")
d.text(x + 2 * TILE + 8, y + high + 5, str(high), 13, kind="quiet")
d.save("odd_canvas")
