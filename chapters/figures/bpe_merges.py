"""How the shipped model's merges find the pieces of a word that is no token: one row per merge."""

import json
import subprocess

from draw import ROOT, Drawing
import itertools

WORD = " starfish"


def merge_steps(word):
    """The parts after each merge, and where the merge happened: lowest rank first, of equals the leftmost."""
    model = json.loads((ROOT / "models" / "pictor" / "tokenizer.json").read_text())["model"]
    ranks = {
        tuple(pair if isinstance(pair, list) else pair.split(" ")): rank
        for rank, pair in enumerate(model["merges"])
    }
    parts, steps = list(word.replace(" ", "Ġ")), []
    while True:
        pairs = [(ranks[pair], at) for at, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]
        if not pairs:
            return steps, parts
        rank, at = min(pairs)
        parts = parts[:at] + [parts[at] + parts[at + 1]] + parts[at + 2 :]
        steps.append((parts, at, rank))


def draw_row(d, y, parts, cell, note, merged=None):
    x = 20
    for place, part in enumerate(parts):
        width = cell * len(part)
        d.box(
            x + 2,
            y,
            width - 4,
            30,
            part.replace("Ġ", "␣"),
            "green" if place == merged else "blue",
            15,
            code=True,
        )
        x += width
    d.text(x + 16, y + 20, note, 13, kind="quiet")


def main():
    steps, pieces = merge_steps(WORD)
    program = json.loads(
        subprocess.run(
            [ROOT / "build" / "reference", "tokenize", "a" + WORD], capture_output=True, text=True, check=True
        ).stdout
    )["pieces"]
    if [part.replace("Ġ", " ") for part in pieces] != program[1:]:
        raise SystemExit(f"{pieces} here, {program} by the program")
    if len(pieces) < 2:
        raise SystemExit(f"{WORD!r} is one token by now; another word shows more")
    d = Drawing(
        "Merges find the pieces of a word",
        f"The bytes of{WORD} with its leading space in a row; each row below joins two neighbours, until "
        f"the pieces "
        f"{', '.join(part.replace('Ġ', ' ') for part in pieces)} are left.",
        680,
        40 + 42 * (len(steps) + 1),
    )
    draw_row(d, 20, list(WORD.replace(" ", "Ġ")), 40, "single bytes")
    for number, (parts, at, rank) in enumerate(steps):
        draw_row(d, 20 + 42 * (number + 1), parts, 40, f"merge of rank {rank}", at)
    d.save("bpe_merges")


main()
