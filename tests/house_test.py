"""The house rules that no compiler knows: short lines, short functions, short files, includes that run
downwards.

    python3 tests/house_test.py

Also the table "Where is ..." of tests/README.md: every file it names holds the names it gives. Each rule is
first tried on a few lines that break it. Last line: "N passed, N failed"; exit 0 when none failed.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("base", "reference", "trace", "viz", "tests", "bench", "chapters", "golden", "models", "debugger")
MOST_COLUMNS, MOST_FUNCTION_LINES, MOST_FILE_LINES = 110, 60, 400

# What each room may include beside its own files; the longest name that fits counts.
RECORDER = "trace/recording/recorder.h"
MAY_INCLUDE = {
    "base": (),
    "reference/math": ("base", RECORDER),
    "reference/checkpoint": ("base", "reference/math"),
    "reference/prompt": ("base", ),
    "reference/image": ("base", "reference/math", "reference/checkpoint", "reference/vision"),
    "reference/vision": ("base", "reference/math", "reference/checkpoint", "reference/rule.h", RECORDER),
    "reference/text": ("base", "reference/math", "reference/checkpoint", "reference/rule.h", RECORDER),
    "reference/rule.h": (),
    "reference": ("base", RECORDER),
    "trace": ("base", ),
    "viz": ("base", "trace/graph", "trace/reading"),
    "bench": ("base", "reference", "trace"),
    "tests": ("base", "reference", "trace", "viz", "bench"),
}


def sources(*suffixes):
    """The committed files of ROOMS with these endings; none that a program has written."""
    names = subprocess.run(["git", "ls-files", "-z", *ROOMS], cwd=ROOT, capture_output=True, text=True,
                           check=True)
    found = [name for name in names.stdout.split("\0") if name.endswith(suffixes)]
    return {name: (ROOT / name).read_text() for name in found if (ROOT / name).exists()}


def long_lines(name, text):
    if name.startswith("chapters/") and not name.endswith(".py"):
        return  # the book's own style sheets and scripts
    if name.startswith("golden/walks/"):
        return  # their traces name them by line
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MOST_COLUMNS:
            yield f"{name}:{number}: {len(line)} columns; at most {MOST_COLUMNS}"


def long_functions(name, text):
    """clang-format puts the braces of a function, and of nothing else, on lines of their own."""
    lines = text.splitlines()
    for first, line in enumerate(lines):
        if line.strip() != "{":
            continue
        last = next((at for at in range(first, len(lines)) if lines[at].startswith(line[:-1] + "}")),
                    len(lines) - 1)
        inside = last - first - 1
        if inside > MOST_FUNCTION_LINES:
            yield (f"{name}:{first}: {lines[first - 1].strip()}: {inside} lines between its braces; "
                   f"at most {MOST_FUNCTION_LINES}")


def long_file(name, text):
    count = len(text.splitlines())
    if count > MOST_FILE_LINES:
        yield f"{name}: {count} lines; at most {MOST_FILE_LINES}"


def casts_in_brackets(name, text):
    """base/at.h is the one place that has to convert an index."""
    for number, line in enumerate(text.splitlines(), 1):
        if name != "base/at.h" and re.search(r"[\w\])]\[[^\[\]]*static_cast<(?:std::)?size_t>", line):
            yield f"{name}:{number}: a cast inside index brackets; use at() of base/at.h"


def includes_upwards(name, text):
    room = max((room for room in MAY_INCLUDE if name == room or name.startswith(room + "/")), key=len)
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'#include "([^"]+)"', line)
        inside = room if "/" in room or room not in ("reference", ) else "reference/"
        if found and not any(found[1] == each or found[1].startswith(each.rstrip("/") + "/")
                             for each in (inside, *MAY_INCLUDE[room])):
            yield f"{name}:{number}: {room} may not include {found[1]}"


def wrong_answers(name, text):
    """| a question | `folder/file.cpp` | `name`, `name` |"""
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        files = re.findall(r"`([^`]+)`", cells[1]) if line.startswith("|") and len(cells) == 3 else []
        for file in files:
            path = ROOT / file
            if not path.exists():
                yield f"{name}:{number}: there is no {file}"
                continue
            if path.is_dir():
                continue
            for wanted in re.findall(r"`([^`]+)`", cells[2]):
                if wanted not in path.read_text():
                    yield f"{name}:{number}: {file} does not hold {wanted}"


FUNCTION = "int f()\n{{\n{}}}\n"
CPP, EVERY = (".cpp", ".h"), (".cpp", ".h", ".py", ".js", ".css", ".html")
RULES = [  # the rule, the files it holds for, a file that obeys it, files that break it
    (long_lines, EVERY, ("a.cpp", "x" * 110), [("a.cpp", "\n" + "x" * 111)]),
    (long_functions, CPP, ("a.cpp", FUNCTION.format("x;\n" * 60)), [("a.cpp", FUNCTION.format("x;\n" * 61))]),
    (long_file, EVERY, ("a.py", "x\n" * 400), [("a.py", "x\n" * 401)]),
    (casts_in_brackets, CPP, ("a.cpp", "[&] { x[i] = static_cast<std::size_t>(j); }"), [
        ("a.cpp", "x[static_cast<std::size_t>(i)]"), ("a.cpp", "x[y + static_cast<size_t>(i)]")]),
    (includes_upwards, CPP, ("reference/text/a.cpp", f'#include "base/at.h"\n#include "{RECORDER}"\n'), [
        ("base/a.cpp", '#include "trace/reading/reader.h"'),
        ("reference/a.cpp", '#include "trace/reading/reader.h"'),
        ("trace/why/a.h", '#include "reference/rule.h"'), ("trace/why/a.h", '#include "viz/run.h"'),
        ("reference/math/a.h", '#include "reference/text/rope.h"'),
        ("reference/text/a.h", '#include "reference/model.h"'),
        ("viz/run.h", '#include "reference/rule.h"')]),
    (wrong_answers, ("tests/README.md",), ("a.md", "| where? | `base/at.h` | `at(` |"), [
        ("a.md", "| where? | `base/no.h` | `at(` |"),
        ("a.md", "| where? | `base/at.h` | `nothing of this` |")]),]


def main():
    passed = failed = 0
    for rule, suffixes, good, bad in RULES:
        files = sources(*suffixes)
        problems = [each for name, text in files.items() for each in rule(name, text)]
        problems += [f"finds a fault where there is none: {good}"] if list(rule(*good)) else []
        problems += [f"would miss {each}" for each in bad if not list(rule(*each))]
        problems += [] if files else ["no file to look at"]
        for problem in problems:
            print(f"FAILED {rule.__name__.replace('_', ' ')}: {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
