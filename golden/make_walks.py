"""Records the broken scripts of golden/walks, by the commands that the chapters print.

    python golden/make_walks.py        needs golden/requirements.txt; writes golden/walks/NAME/

A chapter shows `$ python trace/python/record_script.py ...` and what the script printed; both are run and
compared here. `make golden` calls this in a scratch folder and compares the recordings with the committed
ones.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def shown_commands():
    """(chapter, command, output) of every console block that records a script."""
    for chapter in sorted((ROOT / "chapters").glob("*.md")):
        for block in re.findall(r"^```console\n(.*?)^```", chapter.read_text(), re.M | re.S):
            for command, output in re.findall(
                    r"^\$ (python trace/python/record_script\.py .*)\n((?:(?!\$ ).*\n)*)", block, re.M):
                yield chapter.name, command, output


def main():
    failed = ran = 0
    for chapter, command, output in shown_commands():
        words = shlex.split(command)
        run = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True)
        ran += 1
        if run.returncode != 0 or run.stdout != output:
            failed += 1
            print(f"{chapter}: {command}\n-- shown:\n{output}-- printed now:\n{run.stdout}{run.stderr}")
        else:
            print(f"{chapter}: {command}")
    if ran == 0:
        sys.exit(f"{ROOT / 'chapters'}: no command that records a script")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
