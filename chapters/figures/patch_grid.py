"""Chapter 9: a tile's patches, and what becomes of one."""

from draw import Drawing
from pictures import window

CELL, LEFT, TOP, ROW, COLUMN = 30, 24, 40, 7, 2
SIDE = 8 * CELL
d = Drawing(
    "A tile is cut into patches, and a patch becomes a vector",
    "Tile 0 of the demo picture under a grid of 8 by 8 patches. The patch in row 7, column 2 lies on the "
    "fish. It is 14 by 14 "
    "pixels in three colours, 588 numbers; a matrix of 96 by 588 turns them into a vector of 96.",
    680,
    320,
)
window(d, "demo.png", LEFT, TOP, SIDE, SIDE, 0, 0, 112, 112)
for line in range(9):
    d.line(LEFT + line * CELL, TOP, LEFT + line * CELL, TOP + SIDE, None, 0.7)
    d.line(LEFT, TOP + line * CELL, LEFT + SIDE, TOP + line * CELL, None, 0.7)
d.rect(LEFT + COLUMN * CELL, TOP + ROW * CELL, CELL, CELL, "none", outline="orange")
d.rect(LEFT + COLUMN * CELL - 1, TOP + ROW * CELL - 1, CELL + 2, CELL + 2, "none", outline="orange")
d.text(LEFT + SIDE / 2, 30, "tile 0: 8 x 8 patches", 14, "middle")
d.text(LEFT + SIDE / 2, TOP + SIDE + 22, "row 7, column 2: patch 58", 14, "middle", "orange", bold=True)
d.arrow(LEFT + (COLUMN + 1) * CELL, TOP + (ROW + 0.5) * CELL, 310, 170, "orange")
for colour, name in enumerate(("red", "green", "blue")):
    x, y = 316 + 16 * colour, 92 + 16 * colour
    d.rect(x, y, 84, 84, "plain")
    d.text(x + 8, y + 14, name, 11, kind="plain")
d.text(374, 232, "3 x 14 x 14 =", 13, "middle", "quiet")
d.text(374, 250, "588 numbers", 13, "middle", "quiet")
d.arrow(440, 156, 476, 156)
d.box(482, 126, 84, 60, ["weight", "96 x 588"], "violet")
d.arrow(572, 156, 604, 156)
for cell in range(16):
    d.rect(612, 60 + cell * 12, 20, 12, "orange")
d.text(622, 50, "96", 13, "middle", "quiet")
d.text(622, 270, "the embedding", 13, "middle", "quiet")
d.save("patch_grid")
