"""Exercises: what stands in a chapter, and how an answer is graded. `python3 chapters/exercises/grade.py`
is the program."""

import json

from problem import Problem, near
from traces import ROOT

FOLDER = ROOT / "chapters" / "exercises"
NEEDS = {
    "predict": {"id", "kind", "question", "answer", "tolerance", "hint"},
    "mend": {"id", "kind", "question", "patch", "case", "hint"},
}


def all_exercises():
    """id -> exercise, of every file."""
    found = {}
    for file in sorted(FOLDER.glob("*.json")):
        try:
            listed = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise Problem(f"{file.relative_to(ROOT)}: {error}") from None
        for exercise in listed:
            where = f"{file.relative_to(ROOT)}: {exercise.get('id', 'an exercise without id')}"
            wanted = NEEDS.get(exercise.get("kind"))
            if wanted is None:
                raise Problem(f"{where}: kind {exercise.get('kind')!r}; predict or mend would be right")
            if wanted - set(exercise):
                raise Problem(f"{where}: lacks {', '.join(sorted(wanted - set(exercise)))}")
            if exercise["id"].split(".")[0] != file.stem or exercise["id"] in found:
                raise Problem(f"{where}: ids are {file.stem}.1, {file.stem}.2 and so on, each once")
            found[exercise["id"]] = exercise
    return found


def find_exercise(number):
    known = all_exercises()
    if number not in known:
        raise Problem(f"there is no exercise {number!r}; {near(number, known)}")
    return known[number]


def exercise_text(number, names):
    """What the chapter prints."""
    exercise = find_exercise(number)
    question = exercise["question"].strip()
    if exercise["kind"] == "predict":
        return (
            f"**Exercise {number}.** {question}\n\n```text\nmake check-exercise N={number} "
            f"ANSWER=...\n```\n\n"
            f"<details><summary>A hint</summary>\n\n{exercise['hint'].strip()}\n\n</details>\n"
        )
    return (
        f"**Exercise {number}, to be mended.** {question}\n\n```text\nmake exercise N={number}        "
        f"# a broken copy of reference/, in build/exercises/{number}\nmake check-exercise N={number}  "
        f"# builds the copy, runs a golden case, and says what `trace diff` names\n```\n"
    )
