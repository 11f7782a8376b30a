"""The parts of the book in the order they are read, and what the folders and files of a site are called."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CHAPTERS = ROOT / "chapters"
SITE = ROOT / "build" / "book" / "site"
WORK = ROOT / "build" / "book" / "mdbook"
PARTS = (
    ("Before you start", 0, 1),
    ("Text becomes vectors", 2, 7),
    ("An image becomes vectors", 8, 13),
    ("The two meet", 14, 16),
    ("Looking and trusting", 17, 20),
    ("Speed and size", 21, 22),
)
AFTER = ("glossary.md", "tensors.md", "beside-others.md")
CODE = re.compile(r"(^(`{3,})[^\n]*\n.*?^\2[ \t]*$|`[^`\n]+`)", re.M | re.S)


def title(path):
    return path.read_text().split("\n", 1)[0].removeprefix("# ").strip()


def numbered():
    """(number, path) of the chapters that there are."""
    paths = sorted(CHAPTERS.glob("[0-9][0-9]-*.md"))
    return [(int(path.name[:2]), path) for path in paths]


def summary():
    """mdBook's table of contents."""
    lines = ["# The Pictor book", ""]
    for part, first, last in PARTS:
        inside = [(number, path) for number, path in numbered() if first <= number <= last]
        if inside:
            lines += [f"# {part}", ""] + [f"- [{n}. {title(path)}]({path.name})" for n, path in inside] + [""]
    after = [CHAPTERS / name for name in AFTER if (CHAPTERS / name).is_file()]
    lines += ["# To look things up", ""] + [f"- [{title(path)}]({path.name})" for path in after]
    return "\n".join(lines) + "\n"


def outside_code(text, change):
    """The text with `change` applied between code blocks and code spans."""
    pieces, end = [], 0
    for code in CODE.finditer(text):
        pieces += [change(text[end : code.start()]), code.group(0)]
        end = code.end()
    return "".join(pieces) + change(text[end:])
