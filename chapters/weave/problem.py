"""What is wrong, where, and what would be right: the weaver collects these and prints them all."""

import difflib


class Problem(Exception):
    """Raised inside one directive; the chapter and the line are added by who weaves it."""


class Problems:
    def __init__(self):
        self.found = []

    def add(self, chapter, line, message):
        self.found.append((chapter, line, message))

    def __len__(self):
        return len(self.found)

    def show(self):
        for chapter, line, message in sorted(self.found, key=lambda found: (found[0], found[1])):
            print(f"{chapter}:{line}: {message}")


def near(word, known):
    """`; did you mean ...` when some known word is close to it, else a list of the first few."""
    close = difflib.get_close_matches(str(word), [str(name) for name in known], n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return (
        "there is " + ", ".join(str(name) for name in list(known)[:12]) + (" ..." if len(known) > 12 else "")
    )


def first_difference(old, new):
    """The first line in which two texts differ, as one sentence."""
    old_lines, new_lines = old.splitlines(), new.splitlines()
    for number, (one, other) in enumerate(zip(old_lines, new_lines), 1):
        if one != other:
            return f"line {number} of it says\n    {one}\n  and would be\n    {other}"
    return f"it has {len(old_lines)} lines and would have {len(new_lines)}"
