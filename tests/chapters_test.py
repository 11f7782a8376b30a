"""Runs what the chapters print, and compares.

    python3 tests/chapters_test.py

In a console block of chapters/*.md a line after `$ ` is a command; what follows, up to the next one, is its output, in
which a line `[...]` stands for any number of lines. Commands begin with build/ (run here, in the fast build) or with
`python trace/python/record_script.py` (run by golden/make_walks.py, since it needs PyTorch; here its script and its recording
must exist). A block marked `python FILE` must stand in that file as it is, and every relative link must lead somewhere.
Prints each failure and, last, "N passed, N failed".
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commands(text):
    """(command, output) of every console block."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        yield from re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)


def shown_in(shown, printed):
    """Whether `printed` is `shown`, with any lines where `shown` has [...]."""
    pattern = "".join(r"(?:.*\n)*?" if line == "[...]" else re.escape(line + "\n") for line in shown.splitlines())
    return re.fullmatch(pattern, printed) is not None


def check_command(command, output):
    """What is wrong, or nothing."""
    words = shlex.split(command)
    if words[:2] == ["python", "trace/python/record_script.py"]:
        missing = [name for name in (words[-1], f"{words[words.index('--trace') + 1]}/trace.json") if not (ROOT / name).is_file()]
        return f"no such file: {', '.join(missing)}" if missing else ""
    if not words[0].startswith("build/"):
        return "begins with neither build/ nor python trace/python/record_script.py"
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if run.returncode not in (0, 1):
        return f"exit {run.returncode}: {run.stderr}"
    return "" if shown_in(output, run.stdout) else f"prints something else:\n{run.stdout}"


def check_chapter(chapter):
    """(what was checked, what is wrong or nothing) of everything in it that can drift."""
    text = chapter.read_text()
    for command, output in commands(text):
        yield command, check_command(command, output)
    for file, snippet in re.findall(r"^```python (\S+)\n(.*?)^```", text, re.M | re.S):
        path = ROOT / file
        found = path.is_file() and snippet in path.read_text()
        yield f"lines of {file}", "" if found else f"the file does not hold:\n{snippet}"
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            yield f"link {link}", "" if (chapter.parent / link).exists() else "leads nowhere"


def check_itself():
    """The comparison must be able to fail."""
    yield "a changed number is seen", "" if not shown_in("a 1\n[...]\nb\n", "a 2\nx\nb\n") else "it passed"
    yield "a missing last line is seen", "" if not shown_in("a\n[...]\nb\n", "a\nx\n") else "it passed"
    yield "left out lines may be none", "" if shown_in("a\n[...]\nb\n", "a\nb\n") else "it failed"


def main():
    results = [("itself", *result) for result in check_itself()]
    for chapter in sorted((ROOT / "chapters").glob("*.md")):
        found = [(chapter.name, *result) for result in check_chapter(chapter)]
        results += found or [(chapter.name, "anything to check", "nothing found")]
    failed = [result for result in results if result[2]]
    for chapter, what, wrong in failed:
        print(f"{chapter}: {what}\n  {wrong}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
