"""What is measured on held-out scenes: answers by kind of question, and where cross-attention points.

Pointing: the row of cross-attention that predicts an object's word (the row BEFORE the word) has its
strongest patch inside the object's box, with half a patch of margin. Needs numpy only, so that the C++
program can be measured without PyTorch.
"""
import collections

import numpy as np


# ---- answers -----------------------------------------------------------------------------------------

class Answers:
    """Counts of questions and of right answers, by kind of question."""

    def __init__(self):
        self.right, self.total = collections.Counter(), collections.Counter()

    def add(self, kind, is_right):
        for name in (kind, "all"):
            self.total[name] += 1
            self.right[name] += bool(is_right)

    def kinds(self):
        return sorted(self.total, key=lambda kind: (kind == "all", kind))


def print_answers(columns):
    """columns: {heading: Answers}, all of the same questions. Long headings go below, by number."""
    kinds = next(iter(columns.values())).kinds()
    long = [heading for heading in columns if len(heading) > 20]
    print(f"{'question':14}" + "".join(f"{f'({long.index(heading) + 1})' if heading in long else heading:>20}"
                                        for heading in columns))
    for kind in kinds:
        counts = [(answers.right[kind], answers.total[kind]) for answers in columns.values()]
        cells = [f"{right} of {total} {right / total:.1%}" for right, total in counts]
        print(f"{kind:14}" + "".join(f"{cell:>20}" for cell in cells))
    for number, heading in enumerate(long, 1):
        print(f"({number}) {heading}")


# ---- words and patches -------------------------------------------------------------------------------

def object_words(pieces, things):
    """Yields (token, "colour" or "kind", thing) for the words that name each thing in a description.

    pieces are the texts of its tokens; things are in the order in which it names them, each a dict with
    kind, colour and box. A word of several tokens counts by its first one.
    """
    text, owner = "", []
    for token, piece in enumerate(pieces):
        text += piece
        owner += [token] * len(piece)
    cursor = 0
    for thing in things:
        phrase = f"{thing['colour']} {thing['kind']}"
        cursor = text.find(phrase, cursor)
        if cursor < 0:
            raise ValueError(f"object_words: no {phrase!r} in {text!r}")
        yield owner[cursor], "colour", thing
        yield owner[cursor + len(thing["colour"]) + 1], "kind", thing
        cursor += len(phrase)


class PatchGrid:
    """The patches of one picture over all its tiles, and where they lie on the ORIGINAL picture.

    grid: (rows, columns) of tiles; resized, size: (height, width) on the canvas and of the original.
    """

    def __init__(self, grid, resized, size, tile_size, patch_size):
        self.grid, self.per_side = grid, tile_size // patch_size
        scale_y, scale_x = resized[0] / size[0], resized[1] / size[1]
        self.ys = (np.arange(grid[0] * self.per_side) + .5) * patch_size / scale_y
        self.xs = (np.arange(grid[1] * self.per_side) + .5) * patch_size / scale_x
        self.margin_y, self.margin_x = patch_size / 2 / scale_y, patch_size / 2 / scale_x

    def lay_out(self, keys):
        """One row of probabilities [keys] (tile, class token and patches) -> [patch rows, patch columns]."""
        n_rows, n_columns = self.grid
        tiles = np.reshape(keys, (-1, 1 + self.per_side**2))[:n_rows * n_columns, 1:]
        tiles = tiles.reshape(n_rows, n_columns, self.per_side, self.per_side)
        return tiles.transpose(0, 2, 1, 3).reshape(len(self.ys), len(self.xs))

    def inside(self, box):
        """[patch rows, patch columns]: whose centres lie in a box, with half a patch of margin."""
        x0, y0, x1, y1 = box
        rows = (self.ys >= y0 - self.margin_y) & (self.ys <= y1 + self.margin_y)
        columns = (self.xs >= x0 - self.margin_x) & (self.xs <= x1 + self.margin_x)
        return rows[:, None] & columns[None, :]


# ---- pointing ----------------------------------------------------------------------------------------

class Pointing:
    """Per layer, kind of word and head (or their mean): hits, share of attention inside the box, share of
    area."""

    def __init__(self):
        self.sums = collections.defaultdict(lambda: np.zeros(4))

    def add(self, layer, word, probs, patches, box):
        """probs [head, key]: the row that predicts the word."""
        inside = patches.inside(box)
        for head, keys in [*enumerate(probs), ("mean", np.mean(probs, axis=0))]:
            attention = patches.lay_out(keys)
            hit = inside.flat[attention.argmax()]
            self.sums[layer, word, head] += (1, hit, attention[inside].sum(), inside.mean())

    def figures(self, layer, word, head="mean"):
        """-> (words, pointing accuracy, share of attention inside, share of the area that boxes cover)."""
        count, *sums = self.sums[layer, word, head]
        return (int(count), *(value / count for value in sums))

    def layers(self):
        return sorted({layer for layer, _, _ in self.sums})


def print_pointing(columns, every_head=False):
    """columns: {heading: Pointing}. One line per layer, kind of word and head."""
    first = next(iter(columns.values()))
    heads = sorted({head for _, _, head in first.sums if head != "mean"}) if every_head else []
    print(f"{'layer word   head':20}" + "".join(f"{heading:>40}" for heading in columns))
    for layer in first.layers():
        for word in ("kind", "colour"):
            for head in [*heads, "mean"]:
                cells = []
                for pointing in columns.values():
                    count, hits, mass, area = pointing.figures(layer, word, head)
                    cells.append(f"{hits:.2f} of {count}, {mass:.2f} on {area:.2f} of the area")
                print(f"{layer:5} {word:6} {head!s:7}" + "".join(f"{cell:>40}" for cell in cells))
