"""Chapter 11: who may look at whom in the vision encoder, for three tiles of four."""

from draw import Drawing

PATCHES, ROWS, TILES, PRESENT, CELL = 5, 8, 4, 3, 11
LEFT, TOP = 96, 56
N = ROWS * TILES
padding = [row % ROWS >= PATCHES or row // ROWS >= PRESENT for row in range(N)]
d = Drawing(
    "The vision mask forbids only padding to look at padding",
    "A square of 32 queries by 32 keys: four tiles of 8 rows, of which 5 are the class token and patches "
    "and 3 are padding; the "
    "fourth tile is absent, so all its rows are padding. Cells where both are padding are red; all "
    "others are free.",
    700,
    TOP + N * CELL + 40,
)
for query in range(N):
    for key in range(N):
        both, either = padding[query] and padding[key], padding[query] or padding[key]
        d.raw(
            f'<rect x="{LEFT + key * CELL}" y="{TOP + query * CELL}" width="{CELL}" height="{CELL}" '
            'stroke-width="0.5" '
            f'class="{"red" if both else "orange" if either else "green"}"/>'
        )
for tile in range(TILES + 1):
    d.line(LEFT + tile * ROWS * CELL, TOP - 6, LEFT + tile * ROWS * CELL, TOP + N * CELL, None, 2)
    d.line(LEFT - 6, TOP + tile * ROWS * CELL, LEFT + N * CELL, TOP + tile * ROWS * CELL, None, 2)
for tile in range(TILES):
    name = f"tile {tile}" if tile < PRESENT else "absent"
    d.text(LEFT + (tile + 0.5) * ROWS * CELL, TOP - 12, name, 13, "middle")
    d.text(LEFT - 12, TOP + (tile + 0.5) * ROWS * CELL + 5, name, 13, "end")
d.text(LEFT + N * CELL / 2, 20, "keys", 14, "middle", "quiet")
d.text(22, TOP + N * CELL / 2, "queries", 14, "middle", "quiet", turn=-90)
for index, (kind, lines) in enumerate(
    (
        ("green", ("patch looks at patch:", "free")),
        ("orange", ("patch and padding,", "either way: free")),
        ("red", ("padding looks at padding:", "forbidden")),
    )
):
    y = 110 + index * 70
    d.rect(474, y, 20, 20, kind)
    d.text(504, y + 12, lines[0], 13)
    d.text(504, y + 30, lines[1], 13)
d.save("vision_mask")
