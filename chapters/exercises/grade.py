"""Grades an exercise of the book.

    python3 chapters/exercises/grade.py 05.1 --answer=0.31     is the predicted number right?
    python3 chapters/exercises/grade.py --begin 05.2           a broken copy of reference/ in
    build/exercises/05.2
    python3 chapters/exercises/grade.py 05.2                   builds the copy and runs a golden case

`make check-exercise N=05.1 ANSWER=0.31`, `make exercise N=05.2` and `make check-exercise N=05.2` call it.
Exit 0: right; 1: not yet; 2: no such exercise, or one that was not begun.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "chapters" / "weave"))
sys.dont_write_bytecode = True
from blocks import Runs
from exercises import find_exercise
from namespace import evaluate, make_namespace, shown
from problem import Problem

COPIED = (
    "base",
    "reference",
    "trace",
    "chapters/book.mk",
    "Makefile",
    "install_packages.sh",
    "build/packages-present",
    "build/objects/base",
    "build/objects/reference",
    "build/objects/trace",
)
SEEN = ("golden", "models")


def right_answer(exercise, names):
    return evaluate(exercise["answer"], names) if isinstance(exercise["answer"], str) else exercise["answer"]


def is_right(answer, wanted, tolerance):
    """A number within the tolerance, or the same word."""
    if isinstance(wanted, str):
        return answer.strip().strip("'\"").lower() == wanted.strip().lower()
    try:
        return abs(float(answer) - float(wanted)) <= float(tolerance)
    except ValueError:
        return False


def grade_prediction(exercise, answer, names):
    """(right or not, what to say)."""
    if answer is None:
        raise Problem(
            f"exercise {exercise['id']} asks for a prediction: make check-exercise N={exercise['id']} "
            f"ANSWER=..."
        )
    wanted = right_answer(exercise, names)
    if is_right(answer, wanted, exercise["tolerance"]):
        return True, f"{exercise['id']}: right. The run has {shown(wanted, '')}."
    return (
        False,
        f"{exercise['id']}: {answer} is not what the run has. A hint: "
        f"{re.sub(r'<!--=.*?-->', '', exercise['hint'])}",
    )


def tree_of(exercise):
    return ROOT / "build" / "exercises" / exercise["id"]


def begin(exercise):
    """The broken copy. Times of files are kept, so that make compiles only what the patch changes."""
    if exercise["kind"] != "mend":
        raise Problem(
            f"exercise {exercise['id']} has nothing to mend: make check-exercise N={exercise['id']} "
            f"ANSWER=..."
        )
    tree = tree_of(exercise)
    shutil.rmtree(tree, ignore_errors=True)
    for part in COPIED:
        (tree / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, tree / part)
    for part in SEEN:
        (tree / part).symlink_to(ROOT / part)
    with open(ROOT / exercise["patch"], "rb") as patch:
        run = subprocess.run(
            ["patch", "--quiet", "--no-backup-if-mismatch", "-p1"],
            cwd=tree,
            stdin=patch,
            capture_output=True,
            text=True,
        )
    if run.returncode != 0:
        raise Problem(f"{exercise['patch']} does not fit: {run.stdout}{run.stderr}")
    return tree


def build(tree):
    """'' or the compiler's message."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    run = subprocess.run(
        ["make", "-s", "build/reference"], cwd=tree, env=kept, capture_output=True, text=True
    )
    return "" if run.returncode == 0 else run.stderr or run.stdout


def record(tree, case):
    """The folder of the golden and of the copy's trace of the same case."""
    name, rule = case.split()
    description = json.loads((ROOT / "golden" / "cases" / name / "case.json").read_text())
    command = [
        "build/reference",
        "forward",
        "--model",
        f"golden/{description['checkpoint']}",
        "--inputs",
        f"golden/cases/{name}/{description['inputs']}",
        "--greedy",
        str(description["greedy"]),
        "--reference",
        rule,
        "--trace",
        "build/trace-of-it",
        "--trace-values",
        "all",
        "--force",
    ]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if run.returncode != 0:
        raise Problem(f"{' '.join(command)}: exit {run.returncode}: {run.stderr}")
    return (
        ROOT / "golden" / "cases" / name / rule,
        tree / "build" / "trace-of-it",
        f"golden/{description['tolerances']}",
    )


def record_picture(tree, picture):
    """The traces of a picture's run by the program as it is and by the copy: no golden has a picture."""
    command = ["build/reference", "run", "--image", f"models/pictor/pictures/{picture}"]
    command += ["--prompt", "What is in this image?", "--force", "--trace"]
    folders = []
    for place, folder in ((ROOT, "build/exercises/as-it-is"), (tree, "build/trace-of-it")):
        run = subprocess.run([*command, folder], cwd=place, capture_output=True, text=True)
        if run.returncode != 0:
            raise Problem(f"{' '.join(command)} {folder}: exit {run.returncode}: {run.stderr}")
        folders.append(place / folder)
    return folders


def grade_mending(exercise):
    tree = tree_of(exercise)
    if not (tree / "reference").is_dir():
        raise Problem(f"{tree.relative_to(ROOT)} is not there: make exercise N={exercise['id']} makes it")
    message = build(tree)
    if message:
        return False, f"{exercise['id']}: the copy does not compile:\n{message}"
    if exercise["case"].startswith("picture "):
        (golden, run), options = record_picture(tree, exercise["case"].split()[1]), []
    else:
        golden, run, policy = record(tree, exercise["case"])
        options = ["--common", "--policy", policy]
    compared = subprocess.run(
        ["build/trace", "diff", run, golden, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if compared.returncode == 0:
        return True, f"{exercise['id']}: mended. Every tensor of the case {exercise['case']} agrees."
    if compared.returncode != 1:
        raise Problem(f"trace diff: exit {compared.returncode}: {compared.stderr}")
    causes = re.findall(r"^Fault.*\n(?:  .*\n)*", compared.stdout, re.M)
    first = compared.stdout.split("\n\n", 1)[0]
    return (
        False,
        f"{exercise['id']}: not yet. trace diff "
        f"says:\n{first}\n\n{causes[0] if causes else 'no cause is named'}",
    )


def main():
    parser = argparse.ArgumentParser(description="grades an exercise of the book")
    parser.add_argument("number", help="such as 05.1")
    parser.add_argument("--answer")
    parser.add_argument("--begin", action="store_true", help="make the broken copy")
    arguments = parser.parse_args()
    try:
        exercise = find_exercise(arguments.number)
        if arguments.begin:
            print(
                f"{begin(exercise).relative_to(ROOT)}/reference is broken: mend it, then make "
                f"check-exercise N={exercise['id']}"
            )
            return 0
        right, said = (
            grade_prediction(exercise, arguments.answer, make_namespace(Runs()))
            if exercise["kind"] == "predict"
            else grade_mending(exercise)
        )
    except Problem as problem:
        print(f"grade: {problem}", file=sys.stderr)
        return 2
    print(said)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
