"""The weaver refuses what it should: each kind of mistake in a chapter, and the sound chapter passes.

    python3 tests/book/weave_test.py

Needs build/reference and build/trace. Prints each failure and, last, "N passed, N failed".
"""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "chapters" / "weave"))
sys.dont_write_bytecode = True
import checks
from blocks import Runs
from chapter import Chapter
from namespace import make_namespace
from problem import Problems
from traces import make_traces

COVERS = "reference/text/rope.cpp reference/text/rope.h; trace: rotated_q"
HEAD = f"# A chapter\n<!-- chapter covers: {COVERS} -->\n\n"
QUOTE = "<!-- quote reference/text/rope.cpp rotate -->\n<!-- end -->\n"
RUN = "<!-- run lines=1-2 build/trace show build/book/name -->\n<!-- end -->\n"
RUNS = Runs()
NAMES = make_namespace(RUNS)


def woven(text, folder, check=False, name="05-rope.md"):
    """(the new text, what was said, the chapter) of a chapter with this text."""
    path = folder / name
    path.write_text(text)
    context = SimpleNamespace(
        check=check, chapter_numbers={5}, root=ROOT, names=NAMES, runs=RUNS, problems=Problems()
    )
    chapter = Chapter(path, context)
    new = chapter.weave()
    return new, [f"{line}: {said}" for _, line, said in context.problems.found], chapter


REFUSED = [  # what, the chapter's text, a piece of what must be said, its line
    ("a number without a source", "There are 17 heads.", "the number 17 has no source", 4),
    ("a number without a source in a table", "| a |\n| --- |\n| 3.5 |", "the number 3.5 has no source", 6),
    ("a number with a unit", "Some 128K rows.", "the number 128 has no source", 4),
    (
        "a value of no tensor",
        "?<!--= name['no.such.tensor'][0] -->",
        "name has no tensor 'no.such.tensor'",
        4,
    ),
    ("an index out of the tensor", "?<!--= name['lm_head'][0, 99999] -->", "IndexError", 4),
    ("a misspelled expression", "?<!--= len( -->", "SyntaxError", 4),
    ("an array for a number", "?<!--= name['lm_head'] -->", "an array of shape", 4),
    ("a format that does not fit", "?<!--= 'word' | .2f -->", "format '.2f'", 4),
    ("a value with nothing before it", "see <!--= 1 + 1 -->", "nothing stands before", 4),
    ("a bare bar in a table", "| ?<!--= pi | .2f --> |", "the bar before a format is written", 4),
    ("a false assertion", "<!-- assert 1 + 1 == 3 -->", "no longer true: 1 + 1 == 3", 4),
    (
        "an unknown function",
        QUOTE.replace("rotate", "rotatte"),
        "no definition of 'rotatte'; did you mean rotate",
        4,
    ),
    ("an unknown file", QUOTE.replace("rope.cpp", "ropes.cpp"), "no such file: reference/text/ropes.cpp", 4),
    (
        "a piece in no line",
        '<!-- quote reference/text/rope.cpp from "no such" to "x" -->\n<!-- end -->',
        "is in 0 lines",
        4,
    ),
    (
        "a directive without an end",
        "<!-- quote reference/text/rope.cpp rotate -->\n\ntext",
        "without <!-- end -->",
        4,
    ),
    ("a command that fails", RUN.replace("show build/book/name", "show build/book/nobody"), "ends with 2", 4),
    ("a line that is not printed", RUN.replace("1-2", '"no such line"'), "no line of the output holds", 4),
    ("code that nothing quotes", "```cpp\nint x;\n```", "a cpp block would drift", 4),
    ("output that nothing runs", "```console\n$ ls\n```", "a console block would drift", 4),
    ("a block without its end", "```text\nint x;", "no closing ```", 4),
    (
        "a figure without a script",
        "<!-- figure chapters/figures/no_such.py -->\n![x](figures/no_such.svg)",
        "no such file",
        4,
    ),
    (
        "a figure without words",
        "<!-- figure chapters/figures/draw.py -->\n![](figures/draw.svg)",
        "alternative text",
        4,
    ),
    ("a chapter that is not there", "See chapter 77.", "there is no chapter 77", 4),
    ("an unknown exercise", "<!-- exercise 05.99 -->\n<!-- end -->", "there is no exercise '05.99'", 4),
    ("a let that is misspelled", "<!-- let two = 1 + -->", "SyntaxError", 4),
    ("a name that no let gives", "4<!--= four -->", "NameError", 4),
    ("an unknown tour", "<!-- tour debugger/tours/none.gdb -->\n<!-- end -->", "no such file", 4),
]
ACCEPTED = [
    (
        "names, code, formulas, links and headings",
        "## 3 things\n\n1. float32 in `4 x 4`, $1/2$, [page 7](05-rope.md), Llama 3.2, chapter 5",
    ),
    ("a woven number", "4<!--= 2 + 2 -->"),
    ("the section Sources", "## Sources\n\nSu et al., 2021."),
    ("plain blocks", "```text\n1 2 3\n```"),
    ("a true assertion", "<!-- assert 1 + 1 == 2 -->"),
    ("a named value", "<!-- let two = 1 + 1 -->\n<!-- let four = two * 2 -->\n\n4<!--= four -->"),
    (
        "a value in a command",
        "<!-- let row = 1 -->\n" + RUN.replace("book/name", "book/name 'lm_head[{= row},:4]'"),
    ),
]


def refusals(folder):
    for what, body, said, line in REFUSED:
        _, found, _ = woven(HEAD + body + "\n", folder)
        yield f"{what} is refused", (
            "" if any(one.startswith(f"{line}: ") and said in one for one in found) else f"said {found}"
        )
    for what, body in ACCEPTED:
        _, found, _ = woven(HEAD + body + "\n", folder)
        yield f"{what} pass", "\n".join(found)
    for what, head in (
        ("no title", HEAD[2:]),
        ("no covers", "# A chapter\n\n"),
        ("a covered file that is not there", HEAD.replace("rope.h", "rope.hpp")),
    ):
        _, found, _ = woven(head, folder)
        yield f"{what} is refused", "" if found else "nothing was said"


def drift(folder):
    """A woven chapter passes the check; with one thing changed it does not."""
    text, found, _ = woven(
        HEAD + QUOTE + "\n" + RUN + "\n?<!--= name['lm_head'][0, 0] | .4f --> and ?<!--= 2 + 2 -->\n", folder
    )
    yield "it is woven", "\n".join(found)
    yield "weaving twice changes nothing", "" if woven(text, folder)[0] == text else "it did"
    yield "what was woven passes the check", "\n".join(woven(text, folder, check=True)[1])
    value = f"{NAMES['name']['lm_head'][0, 0]:.4f}"
    near, far = f"{float(value) + 1e-4:.4f}", f"{float(value) + 3e-4:.4f}"
    yield "one in the last digit passes", "\n".join(woven(text.replace(value, near), folder, check=True)[1])
    for what, old, new in (
        ("a changed number", value + "<", far + "<"),
        ("a changed whole number", "4<!--= 2 + 2", "5<!--= 2 + 2"),
        ("changed code", "first * cos - second", "first * cos + second"),
        ("changed output", "\nreference  ", "\nreferences "),
        ("a lost line of code", "    return rotated;\n", ""),
    ):
        if old not in text:
            yield what, f"the chapter does not hold {old!r}"
            continue
        yield f"{what} is seen", (
            "" if woven(text.replace(old, new, 1), folder, check=True)[1] else "it passed"
        )


def links(folder):
    (folder / "other.md").write_text("# Other\n\n## Some words, here\n")
    for what, link, dead in (
        ("a live link", "other.md", False),
        ("a live anchor", "other.md#some-words-here", False),
        ("a dead link", "no-such.md", True),
        ("a dead anchor", "other.md#no-such", True),
        ("a dead anchor here", "#no-such", True),
        ("an absolute path", "/etc", True),
        ("another protocol", "ftp://a/b", True),
        ("an address", "https://arxiv.org/abs/1", False),
    ):
        path = folder / "05-rope.md"
        path.write_text(HEAD)
        root, checks.ROOT = checks.ROOT, folder
        wrong = checks.dead_link(path, link)
        checks.ROOT = root
        yield f"{what} is {'refused' if dead else 'followed'}", (
            "" if bool(wrong) == dead else f"said {wrong!r}"
        )
    lines = (ROOT / "reference/text/rope.cpp").read_text().count("\n")
    for anchor, dead in ((f"L1-L{lines}", False), (f"L{lines + 9}", True)):
        wrong = checks.dead_link(ROOT / "chapters" / "x.md", f"../reference/text/rope.cpp#{anchor}")
        yield f"line anchor {anchor}", "" if bool(wrong) == dead else f"said {wrong!r}"
    seen = []
    _, _, chapter = woven(HEAD + "A [link](nowhere.md), `[code](none.md)`.\n", folder)
    checks.check_links(chapter, "\n".join(chapter.lines), lambda line, said: seen.append((line, said)))
    yield "the line of a dead link", "" if [line for line, _ in seen] == [4] else f"said {seen}"


def whole_book(folder):
    _, _, chapter = woven(
        HEAD + "<!-- trap rope_pairs_halves -->\nIt pairs halves.\n\n<!-- trap no_such -->\nx\n", folder
    )
    said = Problems()
    chapter.context.problems = said
    checks.check_book([chapter], {"05.9": {}}, said)
    told = "\n".join(f"{where}: {what}" for where, _, what in said.found)
    for what, piece in (
        ("a TRAP in no chapter", "TRAP(row_mask) is told in no chapter"),
        ("a trap of no source", "no TRAP(no_such)"),
        ("a file of text/ without a chapter", "reference/text/decoder.cpp: no chapter covers"),
        ("a file of vision/ without a chapter", "reference/vision/encoder.cpp: no chapter covers"),
        ("an exercise in no chapter", "exercise 05.9 is in no chapter"),
        ("too few exercises", "has 0 exercises"),
    ):
        yield f"{what} is refused", "" if piece in told else f"said\n{told}"
    yield "a told trap is not asked for", "" if "TRAP(rope_pairs_halves) is told" not in told else "it was"
    yield "a covered file is not asked for", "" if "text/rope.cpp: no chapter" not in told else "it was"


def main():
    make_traces(["name"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [result for kind in (refusals, drift, links, whole_book) for result in kind(folder)]
    failed = [result for result in results if result[1]]
    for what, wrong in failed:
        print(f"FAILED: {what}: {wrong}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
