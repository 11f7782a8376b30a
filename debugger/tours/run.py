#!/usr/bin/env python3
"""Runs the tours: gdb goes with each to its loop in the demo's run and prints the numbers there.

  python3 debugger/tours/run.py             check them all; the last line is "N passed, N failed"
  python3 debugger/tours/run.py 05 14       these alone
  python3 debugger/tours/run.py --update    write the transcripts NN-stem.txt anew
  --alone                                   a run of the program for each tour (else one for all of them)

Every number that an EQUALS line names is compared with a trace which build/reference records of the same run,
every CHECK line with what was printed, and the whole transcript with the committed one.
"""

import argparse
import difflib
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import tour as tours

QUESTION = ["run", "--image", "models/pictor/pictures/demo.png", "--prompt", "What is in this image?"]
# Chapters in the order in which the program comes to their steps, so that one run serves all.
ORDER = ["08", "02", "01", "09", "10", "11", "12", "13", "03", "00", "04", "05", "06", "07", "15", "21"]
ORDER += ["14", "16"]
MARK = "@@ tour command "


def say(text):
    print(text, flush=True)


def record_trace(names):
    folder = os.path.join(ROOT, "build", "tours", "trace")
    command = [os.path.join(ROOT, "build", "reference")] + QUESTION + ["--trace", folder, "--force"]
    command += ["--trace-values", "all"] + [
        word for name in sorted(names) for word in ("--trace-only", name)
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"run.py: build/reference could not record the demo: {result.stderr.strip()}")
    return tours.Trace(folder)


def run_gdb(chosen, seconds):
    """What each command of these tours printed, in one run of the program. [tour][command]"""
    words = " ".join(f'"{word}"' if " " in word else word for word in QUESTION)
    script = [
        "set disable-randomization off",
        "set pictor-colour off",
        "set width 0",
        "set style enabled off",
        f"set args {words} > /dev/null",
    ]
    for number, command in enumerate(command for tour in chosen for command in tour.commands()):
        script += [f"echo \\n{MARK}{number}\\n", command]
    script.append(f"echo \\n{MARK}end\\n")
    arguments = ["gdb", "-nx", "-q", "-batch", "-x", "debugger/pictor.gdb"]
    arguments += [word for line in script for word in ("-ex", line)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        arguments,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        env=environment,
        errors="replace",
    )
    pieces = result.stdout.split(MARK)[1:]
    outputs = [piece.split("\n", 1)[1] for piece in pieces[:-1]]
    wanted = sum(len(tour.commands()) for tour in chosen)
    if len(outputs) != wanted:
        sys.exit(f"run.py: gdb ended after {len(outputs)} of {wanted} commands:\n{result.stdout[-2000:]}")
    result = []
    for tour in chosen:
        count = len(tour.commands())
        result.append(tours.normalised(outputs[:count], ROOT))
        outputs = outputs[count:]
    return result


def transcript_problem(tour, text):
    try:
        with open(tour.transcript_path, encoding="utf-8") as file:
            committed = file.read()
    except OSError:
        return "there is no transcript yet; run.py --update writes it"
    if committed == text:
        return None
    lines = list(
        difflib.unified_diff(
            committed.splitlines(), text.splitlines(), "committed", "now", lineterm="", n=1
        )
    )
    return "the transcript changed (run.py --update after looking at it):\n" + "\n".join(lines[:30])


def judge(tour, outputs, trace, update):
    text = tours.transcript(tour, outputs)
    results = tours.check(tour, outputs, trace)
    if update:
        with open(tour.transcript_path, "w", encoding="utf-8") as file:
            file.write(text)
    results.append(("transcript", transcript_problem(tour, text)))
    passed = sum(1 for _, problem in results if problem is None)
    say(
        f"{'ok    ' if passed == len(results) else 'FAILED'} {tour.stem}: {passed} of {len(results)} checks"
    )
    for what, problem in results:
        if problem:
            say(f"    {what}\n      " + problem.replace("\n", "\n      "))
    return passed, len(results) - passed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="two digits each; all when there are none")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--seconds", type=int, default=600, help="when to give up")
    options = parser.parse_args()

    for program, target in (("build/reference", "make"), ("build/step/reference", "make debug")):
        if not os.path.exists(os.path.join(ROOT, program)):
            sys.exit(f"run.py: {program} is not there; `{target}` builds it")
    chosen = [tours.Tour(path) for path in sorted(glob.glob(os.path.join(HERE, "[0-9][0-9]-*.gdb")))]
    unplaced = [tour.stem for tour in chosen if tour.stem[:2] not in ORDER]
    if unplaced:
        sys.exit(f"run.py: ORDER does not say when the program comes to {', '.join(unplaced)}")
    if options.chapters:
        unknown = set(options.chapters) - {tour.stem[:2] for tour in chosen}
        if unknown:
            sys.exit(f"run.py: there is no tour of {', '.join(sorted(unknown))}")
        chosen = [tour for tour in chosen if tour.stem[:2] in options.chapters]
    chosen.sort(key=lambda tour: ORDER.index(tour.stem[:2]))

    trace = record_trace(set().union(*[tour.traced() for tour in chosen]))
    groups = [[tour] for tour in chosen] if options.alone else [chosen]
    passed = failed = 0
    for group in groups:
        for tour, outputs in zip(group, run_gdb(group, options.seconds)):
            good, bad = judge(tour, outputs, trace, options.update)
            passed, failed = passed + good, failed + bad
    say(f"largest difference from the trace: {trace.worst:.2f} of what is allowed")
    say(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
