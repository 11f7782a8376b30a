"""A heatmap in a terminal: colour, or ASCII where there is no colour."""

import math

from pictor_debugger.common.layout import Unreadable, product
from pictor_debugger.common.text import number

RAMP = " .:-=+*#%@"
# Dark to light as perceived: anchors of a map from black over purple and orange to pale yellow.
ANCHORS = [
    (0, 0, 4),
    (40, 11, 84),
    (101, 21, 110),
    (159, 42, 99),
    (212, 72, 66),
    (245, 125, 21),
    (250, 193, 39),
    (252, 255, 164),
]
MOST_ROWS, MOST_COLUMNS = 36, 40


def colour(share):
    """The colour of a share of the scale, 0 to 1."""
    place = min(max(share, 0.0), 1.0) * (len(ANCHORS) - 1)
    low = min(int(place), len(ANCHORS) - 2)
    return tuple(round(a + (b - a) * (place - low)) for a, b in zip(ANCHORS[low], ANCHORS[low + 1]))


def shrink(rows):
    """At most so many rows and columns: a cell then holds the mean of those it stands for."""
    high, wide = -(-len(rows) // MOST_ROWS), -(-len(rows[0]) // MOST_COLUMNS)
    if high == wide == 1:
        return rows, ""
    if high > 1 and wide > 1:
        high = wide = max(high, wide)
    small = []
    for top in range(0, len(rows), high):
        line = []
        for left in range(0, len(rows[0]), wide):
            cell = [v for row in rows[top : top + high] for v in row[left : left + wide] if v is not None]
            line.append(sum(cell) / len(cell) if cell else None)
        small.append(line)
    return small, f"  each cell the mean of {high} x {wide} numbers"


def shares(rows):
    finite = [v for row in rows for v in row if v is not None and v - v == 0 and v > -3.4028234e38]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    low = 0.0 if 0 <= low else low

    def share(value):
        if value is None or value != value:
            return None
        if high == low:
            return 0.0
        return min(max((value - low) / (high - low), 0.0), 1.0)

    return [[share(v) for v in row] for row in rows], low, high


def draw(rows, in_colour):
    """Lines of the map, and one with its scale. None is a place that has no number."""
    if not rows or not rows[0]:
        return ["  (no numbers)"]
    rows, note = shrink(rows)
    levels, low, high = shares(rows)
    lines = []
    for row in levels:
        if in_colour:
            cells = ["  " if s is None else "\x1b[48;2;{};{};{}m  ".format(*colour(s)) for s in row]
            lines.append("  " + "\x1b[0m".join(cells) + "\x1b[0m")
        else:
            cells = ["  " if s is None else RAMP[min(int(s * len(RAMP)), len(RAMP) - 1)] * 2 for s in row]
            lines.append("  |" + "".join(cells) + "|")
    steps = 10
    if in_colour:
        bar = (
            "".join("\x1b[48;2;{};{};{}m ".format(*colour(i / (steps - 1))) for i in range(steps))
            + "\x1b[0m"
        )
    else:
        bar = RAMP
    lines.append(f"  {number(low)} {bar} {number(high)}{note}")
    return lines


class Grid:
    """How the keys of cross-attention lie on an image: image, tile, patch (class token first)."""

    def __init__(self, n_keys, n_images, n_tiles, grids):
        self.n_tiles, self.n_images, self.grids = n_tiles, n_images, grids
        self.per_tile = n_keys // (n_images * n_tiles) if n_images * n_tiles else 0
        self.side = math.isqrt(max(self.per_tile - 1, 0))
        if not self.per_tile or self.side * self.side + 1 != self.per_tile:
            raise Unreadable(
                f"{n_keys} keys are not {n_images} image(s) of {n_tiles} tiles of 1 + n x n "
                "patches; `heat x` draws them in one row"
            )


def lay_out(row, grid, image=0):
    """One row of cross-attention as the image's tiles lie, and where the rest of it is."""
    tiles_high, tiles_wide = grid.grids[image]
    rows = [[None] * (tiles_wide * grid.side) for _ in range(tiles_high * grid.side)]
    on_image = on_class = on_absent = 0.0
    for tile in range(grid.n_tiles):
        start = (image * grid.n_tiles + tile) * grid.per_tile
        patches = row[start : start + grid.per_tile]
        if tile >= tiles_high * tiles_wide:
            on_absent += sum(patches)
            continue
        on_class += patches[0]
        on_image += sum(patches[1:])
        for patch, value in enumerate(patches[1:]):
            high = tile // tiles_wide * grid.side + patch // grid.side
            rows[high][tile % tiles_wide * grid.side + patch % grid.side] = value
    ledger = f"  patches {on_image:.1%}, class tokens {on_class:.1%}, absent tiles {on_absent:.1%}"
    return rows, ledger


def strongest(row, grid, image=0):
    """The patch that gets most, in words."""
    tiles_high, tiles_wide = grid.grids[image]
    best = None
    for tile in range(tiles_high * tiles_wide):
        start = (image * grid.n_tiles + tile) * grid.per_tile
        for patch in range(1, grid.per_tile):
            if best is None or row[start + patch] > row[best]:
                best = start + patch
    tile, patch = divmod(best - image * grid.n_tiles * grid.per_tile, grid.per_tile)
    high, wide = divmod(patch - 1, grid.side)
    return (
        f"  most: key {best} with {number(row[best])}: tile {tile}, patch row {high} column {wide}; on the "
        f"image row {tile // tiles_wide * grid.side + high} column {tile % tiles_wide * grid.side + wide}"
    )


def as_rows(numbers):
    """The last two axes at the first index of those before; one axis alone as a single row."""
    shape = numbers.shape
    if len(shape) == 1:
        return [numbers.fetch(0, shape[0])]
    if product(shape[-2:]) > 1 << 22:
        raise Unreadable("too many numbers for a heatmap; name a part: heat x[0:64, 0:64]")
    return [numbers.row([0] * (len(shape) - 2) + [i]) for i in range(shape[-2])]
