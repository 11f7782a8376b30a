"""Weaves the book: quotes code by name, numbers by tensor, outputs by running, figures by drawing.

    python3 chapters/weave                    make every chapter again, in place
    python3 chapters/weave 05 cross           only the chapters whose names hold one of these words
    python3 chapters/weave --check            change nothing; exit 1 when anything woven no longer matches
    python3 chapters/weave --traces           record the runs that the chapters follow, and stop

The traces are in build/book; each is made again when the program, the model or the picture is newer.
README.md in this folder lists the directives. The last line is "N passed, N failed".
"""

import argparse
import sys

sys.dont_write_bytecode = True
from blocks import Runs
from chapter import Chapter
from checks import check_book, check_links
from exercises import all_exercises
from namespace import make_namespace
from pages import generated_pages
from problem import Problem, Problems, first_difference
from traces import BOOK, ROOT, make_traces

FOLDER = ROOT / "chapters"


class Context:
    def __init__(self, check, chapter_numbers, root=ROOT):
        self.check, self.chapter_numbers, self.root = check, chapter_numbers, root
        self.runs, self.problems = Runs(), Problems()
        self.names = make_namespace(self.runs)


def write_or_compare(path, text, context):
    old = path.read_text() if path.is_file() else ""
    if context.check:
        if old != text:
            context.problems.add(
                str(path.relative_to(ROOT)),
                1,
                "`make book` would make it otherwise: " + first_difference(old, text),
            )
    elif old != text:
        path.write_text(text)


def weave(words, check):
    paths = sorted(path for path in FOLDER.glob("*.md"))
    numbers = {int(path.name[:2]) for path in paths if path.name[:2].isdigit()}
    context = Context(check, numbers)
    made_whole = ("glossary.md", "tensors.md", "SUMMARY.md")
    chapters = [Chapter(path, context) for path in paths if path.name not in made_whole]
    chosen = [chapter for chapter in chapters if not words or any(word in chapter.name for word in words)]
    make_traces()
    (BOOK / "figures").mkdir(parents=True, exist_ok=True)
    for chapter in chosen:
        chapter.prefetch()
    for chapter in chosen:
        text = chapter.weave()
        if not check and text != "\n".join(chapter.lines):
            chapter.path.write_text(text)
        check_links(chapter, text, chapter.report)
        print(
            f"{chapter.name}: {len(text.split())} words, {chapter.figures} figures, "
            f"{len(chapter.exercises)} exercises"
        )
    if not words:
        try:
            exercises = all_exercises()
        except Problem as problem:
            context.problems.add("chapters/exercises", 1, str(problem))
            exercises = {}
        check_book(chapters, exercises, context.problems)
        for path, text in generated_pages(chapters, context):
            write_or_compare(path, text, context)
    return chosen, context.problems


def main():
    parser = argparse.ArgumentParser(
        prog="weave", description="weaves the book", epilog="Example: python3 chapters/weave 05"
    )
    parser.add_argument("chapters", nargs="*", help="only chapters whose names hold one of these words")
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 when anything no longer matches"
    )
    parser.add_argument(
        "--traces", action="store_true", help="record the runs that the chapters follow, and stop"
    )
    arguments = parser.parse_args()
    if arguments.traces:
        make_traces()
        return 0
    try:
        chosen, problems = weave(arguments.chapters, arguments.check)
    except Problem as problem:
        sys.exit(f"weave: {problem}")
    problems.show()
    wrong = {chapter for chapter, _, _ in problems.found}
    right = [chapter for chapter in chosen if f"chapters/{chapter.name}" not in wrong]
    print(f"{len(right)} passed, {len(problems)} failed")
    return 1 if len(problems) or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
