"""Breaks one line at a time, and looks who notices: of reference/ the goldens, and whether `trace diff` names
the step; of trace/ and viz/ their tests.

    python3 tests/mutants/run.py                     every mutant: some minutes on two cores
    python3 tests/mutants/run.py --room viz          those of viz/; or trace, or model
    python3 tests/mutants/run.py --only 'tanh GELU'  the mutants whose names hold these words

`make mutants` builds what this needs: the three programs and the tests. The table goes to standard output,
and to build/mutants/report.md and report.json; the last line is "N passed, N failed". Exit 1 when a mutant
survives or does not compile, or when `trace diff` names the right step or the right cause less often than
RIGHT_SHARE and CAUSE_SHARE ask.
"""

import argparse
import json
import math
import os
import queue
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from causes import CAUSES
from edited_models import EDITED, make_edited_models
from every_mutant import ROOMS
from mutant import RUN_TENSORS, RUNS
from program import (ROOT, SCRATCH, apply, build, compare, make_tree, record_case, record_run, run_suite,
                     run_test, set_aside, undo)

RIGHT_SHARE = 0.9   # of all mutants of the model, those that no tensor can show included
CAUSE_SHARE = 0.95  # of the mutants that have a word in causes.py
GOLDEN = ROOT / "golden" / "cases"


def all_cases():
    names = sorted(path.parent.name for path in GOLDEN.glob("*/case.json"))
    return [f"{name} {rule}" for name in names for rule in ("meta", "transformers")]


def golden_of(case):
    name, rule = case.split()
    return GOLDEN / name / rule


def policy_of(case):
    return json.loads((GOLDEN / case.split()[0] / "case.json").read_text())["tolerances"]


def baseline(case, own_mask=False):
    """The folder of the unbroken program's trace."""
    return SCRATCH / "unbroken" / (case.replace(" ", "-") + ("-own-mask" if own_mask else ""))


def places(trace):
    """(name, step) -> its place in the order of computation."""
    entries = json.loads((trace / "trace.json").read_text())["tensors"]
    return {(entry["name"], entry["step"]): place for place, entry in enumerate(entries)}


def first_fault(report, base):
    """The first tensor of `base` that the run lacks or has otherwise: {tensor, step, error in units of its
    spread}."""
    order = places(base)
    faults = [{"tensor": entry["name"], "step": entry["step"], "error": "missing"}
              for entry in report["only_b"]]
    different = report["first_different"]
    if different:
        error = different["relative_error"] if different["compared"] else different.get("problem", "")
        faults.append({
            "tensor": different["name"], "step": different["step"],
            "error": "infinite" if error is None else error})
    return min(faults, key=lambda fault: order.get((fault["tensor"], fault["step"]), math.inf), default=None)


def error_text(fault):
    error = fault["error"]
    return error if isinstance(error, str) else f"{error:.2g} std"


def place_text(fault):
    return fault["tensor"] + (f" of step {fault['step']}" if fault["step"] else "")


def expected_text(mutant):
    step = "" if mutant.step == 0 else " of a decode step" if mutant.step < 0 else f" of step {mutant.step}"
    return mutant.breaks + step if mutant.breaks else "-"


def catch_by_case(tree, mutant, case, own_mask, trace):
    """What the golden case says of the broken program; None when it notices nothing."""
    shutil.rmtree(trace, ignore_errors=True)
    status, message = record_case(tree, case, own_mask, trace)
    by = case + (" (its own mask)" if own_mask else "")
    if status != 0:
        last = message.splitlines()[-1] if message else f"exit {status}"
        return {"by": by, "refused": last}
    status, report, message = compare("check", trace, golden_of(case), policy_of(case))
    if status == 0:
        return None
    if report is None:
        return {"by": by, "refused": message}
    fault = first_fault(report, golden_of(case))
    return {"by": by, **fault} if fault else {
        "by": by, "refused": report.get("generated", "the trace differs")}


def catch_by_test(tree, test):
    message = build(tree, targets=("build/tests",))
    if message:
        return {"by": "the build of the tests", "refused": message}
    status, _ = run_test(tree, test)
    return {"by": f"test '{test}'" if test else "another test of build/tests"} if status != 0 else None


def program_of(mutant):
    """The program that holds the broken line: build/reference for every line of the model."""
    room = mutant.file.split("/")[0]
    if room in ("trace", "viz"):
        return f"build/{room}"
    return "build/viz" if is_tool(mutant) else "build/reference"


def is_tool(mutant):
    """A mutant of trace/ or viz/, of which no golden case can speak."""
    return mutant not in ROOMS["model"]


def catch_by_suite(tree, mutant):
    message = build(tree, targets=(program_of(mutant),))
    if message:
        return {"by": f"the build of {program_of(mutant)}", "refused": message}
    status, _ = run_suite(tree, mutant.suite)
    return {"by": f"tests/{mutant.suite}"} if status != 0 else None


def catch_anywhere(tree, mutant, trace):
    """The mutant got past what was expected to catch it: every case under both rules, then every test."""
    if is_tool(mutant):
        build(tree, targets=("build/trace", "build/viz"))
    for case in [] if is_tool(mutant) else all_cases():
        caught = catch_by_case(tree, mutant, case, False, trace)
        if caught:
            return {**caught, "elsewhere": True}
    caught = catch_by_test(tree, "")
    return {**caught, "elsewhere": True} if caught else None


def ask_for_step(tree, mutant, trace):
    """`trace diff` of the broken run against the golden when that holds the expected tensor, else against the
    unbroken program: the first fault, and the likely cause it names, '' when none."""
    shutil.rmtree(trace, ignore_errors=True)
    if mutant.run:
        record_run(tree, RUNS[mutant.run], RUN_TENSORS, trace)
        base, policy = baseline(mutant.run), ""
    else:
        record_case(tree, mutant.case, mutant.own_mask, trace)
        golden = golden_of(mutant.case)
        base = golden if (mutant.breaks,
                          mutant.step) in places(golden) else baseline(mutant.case, mutant.own_mask)
        policy = policy_of(mutant.case)
    if not (trace / "trace.json").exists():  # an error; some errors leave a trace all the same
        return None, ""
    status, report, _ = compare("diff", trace, base, policy, mutant.case)
    if status != 1:
        return None, ""
    return first_fault(report, base), report["causes"][0]["name"] if report["causes"] else ""


def named_right(mutant, named):
    return named is not None and named["tensor"] == mutant.breaks and (named["step"] == mutant.step
                                                                       or mutant.step < 0 < named["step"])


def examine(tree, mutant):
    """Everything about one mutant, as the report has it."""
    result = {
        "mutant": mutant.name, "file": mutant.file, "before": mutant.before, "after": mutant.after,
        "traps": list(mutant.traps), "expected": expected_text(mutant), "named": None, "cause": "",
        "expected_cause": CAUSES.get(mutant.name, ""), "right": False, "caught": None}
    applied = apply(tree, mutant)
    if applied is None:
        return {
            **result, "problem": f"does not apply: its piece does not appear in {mutant.file} exactly once"}
    line, change = applied
    result["file"] += f":{line}"
    trace = tree / "build" / "broken"
    try:
        message = build(tree, mutant.include, ("build/tests",) if is_tool(mutant) else ("build/reference",))
        if message:
            return {**result, "problem": f"does not compile: {message}"}
        if mutant.case:
            result["caught"] = catch_by_case(tree, mutant, mutant.case, mutant.own_mask, trace)
        if not result["caught"] and mutant.test:
            result["caught"] = catch_by_test(tree, mutant.test)
        if not result["caught"] and mutant.suite:
            result["caught"] = catch_by_suite(tree, mutant)
        if not result["caught"]:
            result["caught"] = catch_anywhere(tree, mutant, trace)
        if not result["caught"]:
            return {**result, "problem": "SURVIVED: no golden case and no test notices it"}
        refused = result["caught"].get("refused", "")
        if (mutant.refuses or refused) and not (mutant.refuses and mutant.refuses in refused):
            expected = f"an error with {mutant.refuses}" if mutant.refuses else "a trace"
            result["note"] = f"ended with: {refused or 'no error'}; expected {expected}"
        if mutant.breaks:
            result["named"], result["cause"] = ask_for_step(tree, mutant, trace)
            result["right"] = named_right(mutant, result["named"])
        return result
    finally:
        shutil.rmtree(trace, ignore_errors=True)
        undo(tree, change)


def caught_text(caught):
    if "tensor" in caught:
        text = f"{caught['by']}: {place_text(caught)}, {error_text(caught)}"
    else:
        text = caught["by"] + (f": {caught['refused'][:160]}" if "refused" in caught else "")
    return text + (", where it was not expected" if caught.get("elsewhere") else "")


def named_text(result):
    if result["expected"] == "-":
        return "no tensor can show it"
    if result["right"]:
        return f"trace diff names {place_text(result['named'])}, as expected"
    named = place_text(result["named"]) if result["named"] else "nothing"
    return f"trace diff names {named}; EXPECTED {result['expected']}"


def cause_text(result):
    if result["cause"] == result["expected_cause"]:
        return f"; cause: {result['cause']}" if result["cause"] else ""
    return f"; cause: {result['cause'] or 'none'}" + (f", EXPECTED {result['expected_cause']}"
                                                      if result["expected_cause"] else
                                                      ", which has no word for it")


def print_result(result):
    mark = "FAILED" if "problem" in result else "ok" if result["right"] or result[
        "expected"] == "-" else "MISNAMED"
    print(f"{mark:<9}{result['mutant']}  ({result['file']})")
    if "problem" in result:
        print(f"         {result['problem']}")
    else:
        print(f"         {caught_text(result['caught'])}; {named_text(result)}{cause_text(result)}")
    if "note" in result:
        print(f"         {result['note']}")
    sys.stdout.flush()


def control(mutants):
    """The unbroken program, its sources to be broken compiled as the mutants will be: it must pass everything
    they are held against."""
    make_edited_models()
    tree = make_tree("tree-0", ROOT / "build" / "objects")
    for source in sorted({mutant.file for mutant in mutants if mutant.file.endswith(".cpp")}):
        for part in set_aside(tree, source):
            part.with_name(part.name + ".aside").unlink()
    model = [mutant for mutant in mutants if not is_tool(mutant)]
    programs = {program_of(mutant) for mutant in mutants if mutant.suite}
    message = build(tree, targets=("build/reference", "build/tests", *sorted(programs)))
    faults = [f"it does not compile: {message}"] if message else []
    wanted = [] if faults or not model else [(case, False) for case in all_cases()] + sorted({
        (m.case, True) for m in mutants if m.own_mask})
    for case, own_mask in wanted:
        caught = catch_by_case(tree, None, case, own_mask, baseline(case, own_mask))
        faults += [caught_text(caught)] if caught else []
    for run in [] if faults else sorted({mutant.run for mutant in mutants if mutant.run}):
        status, message = record_run(tree, RUNS[run], RUN_TENSORS, baseline(run))
        faults += [f"run '{run}': {message}"] if status != 0 else []
    for test in [] if faults else sorted({mutant.test for mutant in mutants if mutant.test}):
        status, n_passed = run_test(tree, test)
        faults += [f"test '{test}': exit {status}, {n_passed} passed; want 1"
                   ] if status != 0 or n_passed != 1 else []
    for suite in [] if faults else sorted({mutant.suite for mutant in mutants if mutant.suite}):
        status, words = run_suite(tree, suite)
        faults += [f"tests/{suite}: exit {status}: {' '.join(words)}"] if status != 0 else []
    return tree, faults


def examine_all(mutants, n_jobs, first_tree):
    trees = queue.Queue()
    trees.put(first_tree)
    for number in range(1, n_jobs):
        trees.put(make_tree(f"tree-{number}", first_tree / "build" / "objects"))

    def job(mutant):
        tree = trees.get()
        try:
            return examine(tree, mutant)
        finally:
            trees.put(tree)

    results = []
    with ThreadPoolExecutor(n_jobs) as workers:
        for result in workers.map(job, mutants):
            print_result(result)
            results.append(result)
    return results


def markdown(results, summary):
    lines = [
        "# Mutants", "", *summary, "",
        "| mutant | where | caught by | error | `trace diff` names | expected | | likely cause | expected |",
        "|---|---|---|---|---|---|---|---|---|"]
    for result in results:
        caught = result["caught"] or {"by": result.get("problem", "")}
        by = f"{caught['by']}: {place_text(caught)}" if "tensor" in caught else caught["by"] + (
            f": {caught['refused']}" if "refused" in caught else "")
        cells = [
            result["mutant"], result["file"], by,
            error_text(caught) if "tensor" in caught else "",
            place_text(result["named"]) if result["named"] else "-", result["expected"], "FAILED" if "problem"
            in result else "ok" if result["right"] else "" if result["expected"] == "-" else "misnamed",
            result["cause"] or "-", result["expected_cause"] or "-"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description="Breaks one line at a time; the goldens and the tests must notice.")
    parser.add_argument("--room", choices=ROOMS, action="append", default=[],
                        help="mutants of the model (reference/), of trace/ or of viz/; may be repeated")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS",
                        help="mutants whose names hold these words; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="so many at a time")
    arguments = parser.parse_args()
    mutants = [
        mutant for room in arguments.room or ROOMS for mutant in ROOMS[room]
        if not arguments.only or any(words in mutant.name for words in arguments.only)]
    if not mutants:
        sys.exit(
            f"run.py: no mutant's name holds {' or '.join(arguments.only)}; the lists are in tests/mutants/")

    print("Control: the unbroken program against all golden cases, and the tests that mutants name")
    tree, faults = control(mutants)
    if faults:
        print("\n".join(f"  {fault}" for fault in faults))
        print("The unbroken program fails, so nothing can be said of broken ones.\n0 passed, 1 failed")
        sys.exit(1)
    print("  passes\n")

    results = examine_all(mutants, max(1, arguments.jobs), tree)
    n_caught, n_right = sum("problem" not in result for result in results), sum(result["right"]
                                                                                for result in results)
    least = 0 if arguments.only else math.ceil(
        RIGHT_SHARE * sum(not is_tool(mutant) for mutant in mutants))
    summary = [
        f"{n_caught} of {len(results)} mutants are caught; `trace diff` names the right step of {n_right}" +
        (f" (at least {least} wanted)." if least else ".")]
    with_word = [result for result in results if result["expected_cause"]]
    by_cause = sum(result["cause"] == result["expected_cause"] for result in with_word)
    least_causes = 0 if arguments.only else math.ceil(CAUSE_SHARE * len(with_word))
    summary += [
        "",
        f"Of the {len(with_word)} mutants for which its list of causes has a word it says that word first "
        f"for {by_cause}"
        + (f" (at least {least_causes} wanted)." if least_causes else ".")]
    (SCRATCH / "report.md").write_text(markdown(results, summary))
    (SCRATCH / "report.json").write_text(
        json.dumps({"summary": " ".join(filter(None, summary)), "mutants": results}, indent=1) + "\n")
    for tree in [EDITED, SCRATCH / "unbroken", *SCRATCH.glob("tree-*")]:
        shutil.rmtree(tree)
    n_failed = len(results) - n_caught + (n_right < least) + (by_cause < least_causes)
    print(
        f"\n{summary[0]}\n{summary[-1]}\nThe whole table: build/mutants/report.md\n{n_caught} passed, "
        f"{n_failed} failed"
    )
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
