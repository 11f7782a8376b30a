"""Chapter 8: the demo picture, whole and cut into its four tiles."""

from draw import Drawing
from pictures import window

TILE = 112
d = Drawing(
    "A picture cut into tiles",
    "Left the demo picture of 224 by 224 pixels with the two seams drawn through it; one of them runs "
    "through the fish. "
    "Right the four tiles apart: 0 top left, 1 top right, 2 bottom left, 3 bottom right.",
    660,
    340,
)
window(d, "demo.png", 24, 44, 2 * TILE, 2 * TILE)
d.rect(24, 44, 2 * TILE, 2 * TILE, "none", outline="plain")
d.line(24, 44 + TILE, 24 + 2 * TILE, 44 + TILE, "red", 2, dashed=True)
d.line(24 + TILE, 44, 24 + TILE, 44 + 2 * TILE, "red", 2, dashed=True)
d.text(24 + TILE, 32, "224 pixels", 13, "middle", "quiet")
d.text(24 + TILE, 290, "the canvas, and its seams", 14, "middle")
d.arrow(268, 156, 330, 156)
for tile in range(4):
    x, y = 352 + tile % 2 * (TILE + 22), 24 + tile // 2 * (TILE + 32)
    window(d, "demo.png", x, y, TILE, TILE, tile % 2 * TILE, tile // 2 * TILE, TILE, TILE)
    d.rect(x, y, TILE, TILE, "none", outline="orange")
    d.text(x + TILE / 2, y + TILE + 18, f"tile {tile}", 14, "middle", "orange", bold=True)
d.text(475, 332, "cut row by row", 14, "middle")
d.save("tiles_cut")
