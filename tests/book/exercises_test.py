"""Every exercise grades itself: its own answer passes, a wrong one fails; a broken copy is named, a mended
one passes.

    python3 tests/book/exercises_test.py [--all]

Without --all one exercise to be mended is built; the patches of the others are put on a copy and taken off
again. The last line is "N passed, N failed".
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "chapters" / "weave"), str(ROOT / "chapters" / "exercises")]
sys.dont_write_bytecode = True
from blocks import Runs
from exercises import all_exercises
from grade import begin, grade_mending, grade_prediction, right_answer
from namespace import make_namespace
from problem import Problem


def prediction(exercise, names):
    wanted = right_answer(exercise, names)
    number = exercise["id"]
    right, said = grade_prediction(exercise, str(wanted), names)
    yield f"{number}: its own answer passes", "" if right else said
    wrong = (
        wanted + "x"
        if isinstance(wanted, str)
        else repr(float(wanted) + 3 * float(exercise["tolerance"]) + 1e-3)
    )
    yield f"{number}: another answer fails", (
        "" if not grade_prediction(exercise, wrong, names)[0] else "it passed"
    )
    yield f"{number}: no answer fails", "" if not grade_prediction(exercise, "?", names)[0] else "it passed"


def undo(tree, exercise):
    with open(ROOT / exercise["patch"], "rb") as patch:
        run = subprocess.run(
            ["patch", "--quiet", "--reverse", "-p1"], cwd=tree, stdin=patch, capture_output=True, text=True
        )
    return "" if run.returncode == 0 else run.stdout + run.stderr


def mending(exercise, built):
    number = exercise["id"]
    tree = begin(exercise)
    yield f"{number}: the patch fits", ""
    if built:
        right, said = grade_mending(exercise)
        yield f"{number}: the broken copy fails", "it passed" if right else ""
        yield f"{number}: trace diff names {exercise['hint']}", "" if exercise["hint"] in said else said
    yield f"{number}: the patch can be taken off", undo(tree, exercise)
    same = subprocess.run(
        ["diff", "-r", ROOT / "reference", tree / "reference"], capture_output=True, text=True
    )
    yield f"{number}: without it the copy is the source", same.stdout
    if built:
        right, said = grade_mending(exercise)
        yield f"{number}: the mended copy passes", "" if right else said


def main():
    exercises, names, results = all_exercises(), make_namespace(Runs()), []
    mended = [exercise for exercise in exercises.values() if exercise["kind"] == "mend"]
    built = mended if "--all" in sys.argv[1:] else mended[:1]
    for exercise in exercises.values():
        try:
            made = (
                prediction(exercise, names)
                if exercise["kind"] == "predict"
                else mending(exercise, exercise in built)
            )
            results += list(made)
        except Problem as problem:
            results.append((exercise["id"], str(problem)))
    failed = [result for result in results if result[1]]
    for what, wrong in failed:
        print(f"FAILED: {what}: {wrong}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
