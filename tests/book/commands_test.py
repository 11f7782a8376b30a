"""Every command that the book prints for its reader to try, run as printed.

    python3 tests/book/commands_test.py [CHAPTER...]

The weaver runs the commands whose output is shown; these are the others, in the blocks called text or sh.
They run in the order of the pages, in a folder of links to this one, so that what they write is thrown away.
A command must end with exit code 0; `trace diff` and `trace check` may end with 1, which says that they found
a difference. The last line is "N passed, N failed".
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURE = "models/pictor/pictures/odd.png"
# What stands for the reader's own files, and for a Python with numpy.
STAND_INS = {"PICTURE": PICTURE, '"..."': '"What is in this image?"', "python3": sys.executable}
# Not run, and why.
LEFT_OUT = {
    r"make (book|mutants|bench|test|demo|debug|golden|engines|model)\b": "builds or measures for minutes",
    r"make build/bench": "builds",
    r"build/bench ": "measures speed",
    r"make (check-)?exercise": "exercises_test.py does these",
    r"python3 tests/mutants/run.py": "compiles a copy; `make mutants` runs them all",
    r".*\b(MODEL|INPUTS|PATH/TO)\b": "needs files of the reader's own",
    r".*\bwanted\b": "needs files of the reader's own",
}
PROGRAM = re.compile(r"(build/(reference|trace|viz|bench)|make|python3|bash) ")
MAY_FIND_A_DIFFERENCE = re.compile(r"build/trace (diff|check) ")


def printed_commands(page):
    """The commands in a page's blocks without output, in order; a line that ends in a backslash goes on."""
    commands = []
    for block in re.findall(r"^```(?:text|sh)\n(.*?)^```", page.read_text(), re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s{2,}#.*", "", line.strip())
            if PROGRAM.match(command):
                commands.append(command)
    return commands


def reason_to_leave_out(command):
    return next((reason for pattern, reason in LEFT_OUT.items() if re.match(pattern, command)), None)


def run(command, folder):
    """-> what is wrong, or nothing."""
    for printed, ours in STAND_INS.items():
        command = command.replace(printed, ours)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60)
    wanted = (0, 1) if MAY_FIND_A_DIFFERENCE.match(command) else (0,)
    return "" if done.returncode in wanted else f"ended with {done.returncode}: {done.stderr.strip()[-300:]}"


def main():
    passed, failed, left_out = 0, 0, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("build", "models", "golden", "chapters", "tests", "reference", "trace", "viz", "base"):
            (Path(folder) / name).symlink_to(ROOT / name)
        for page in sorted((ROOT / "chapters").glob("[0-9][0-9]-*.md")):
            if sys.argv[1:] and page.name[:2] not in sys.argv[1:]:
                continue
            for command in printed_commands(page):
                reason = reason_to_leave_out(command)
                if reason:
                    left_out.setdefault(reason, []).append(command)
                    continue
                wrong = run(command, folder)
                passed, failed = passed + (not wrong), failed + bool(wrong)
                if wrong:
                    print(f"{page.name}: {command}: {wrong}")
    for reason, commands in left_out.items():
        print(f"{len(commands)} commands not run: {reason}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
