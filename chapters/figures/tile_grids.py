"""Chapter 8: the grids of at most four tiles, with their ids."""

from draw import Drawing

GRIDS = [(high, wide) for high in range(1, 5) for wide in range(1, 5) if high * wide <= 4]
SIDE = 26
d = Drawing(
    "The eight grids and their aspect ratio ids",
    "; ".join(f"id {1 + i}: {high} high, {wide} wide" for i, (high, wide) in enumerate(GRIDS)) + ".",
    680,
    340,
)
for index, (high, wide) in enumerate(GRIDS):
    x, y = 20 + index % 4 * 166, 24 + (0 if index < 4 else 136)
    left = x + (140 - wide * SIDE) / 2
    top = y + (4 * SIDE - high * SIDE) / 2 if index >= 4 else y + 30
    for tile in range(high * wide):
        d.rect(left + tile % wide * SIDE, top + tile // wide * SIDE, SIDE, SIDE, "orange")
        d.text(
            left + (tile % wide + 0.5) * SIDE,
            top + (tile // wide + 0.66) * SIDE,
            str(tile),
            13,
            "middle",
            "orange",
        )
    d.text(x + 70, y + (92 if index < 4 else 4 * SIDE + 28), f"id {1 + index}", 15, "middle", bold=True)
    d.text(
        x + 70,
        y + (110 if index < 4 else 4 * SIDE + 46),
        f"({high}, {wide})",
        13,
        "middle",
        "quiet",
        code=True,
    )
d.save("tile_grids")
