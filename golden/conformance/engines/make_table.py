#!/usr/bin/env python3
"""Runs every engine through the conformance kit, as released and with patches, and writes TABLE.md and
table.json.

    python3 golden/conformance/engines/make_table.py [--venvs DIR] [--runs DIR] [ENGINE...]

Each engine runs in a Python of its own (install.sh makes them) and is scored by score.py, which is told
nothing but what the engine computed. Then the patches of patches/ are tried. A cause is confirmed when the
engine, with every patch but one, is away from Meta's rule, and with all of them within float noise of it, in
each case it can run. A cause that stops the engine in a case is confirmed when that case stops without its
patch and is within float noise with all.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
KIT = HERE.parent
sys.path.insert(0, str(KIT))

import numpy as np

import score
import search
from rules import META
from submission import load_cases, read_submission
from write_table import write_table

ENGINES = json.loads((HERE / "engines.json").read_text())


def run(engine, folder, venvs, causes):
    """One submission of this engine with the patches of these causes; without venvs, the one that is
    there."""
    if venvs is None:
        return
    files = [str(HERE / "patches" / name) for cause in causes for name in cause.get("patches", [])]
    flags = [flag for cause in causes for flag in cause.get("flags", [])]
    command = [
        str(venvs / engine["venv"] / "bin" / "python"),
        str(HERE / engine["script"]),
        str(folder), *engine.get("always", []), *flags]
    done = subprocess.run(command + (["--patched", *files] if files else []), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


def distance_to_meta(folder, cases, predictions):
    """The worst row of all cases against Meta's rule, in standard deviations of the logits; and in which
    case."""
    _, passes, _ = read_submission(folder, cases)
    errors = search.Evidence(passes, predictions).errors(META)
    worst = {name: float(rows.max()) for name, rows in errors.items() if len(rows)}
    name = max(worst, key=worst.get)
    return {"error": worst[name], "case": name}


def outcome(cause, folder, cases, predictions):
    """What a run without this cause's patch comes to: how far away, or that it stopped."""
    broken, stops = read_submission(folder, cases)[2], cause.get("stops", [])
    if stops and all(name in broken for name in stops):
        return {"stopped": broken[stops[0]][0], "case": ", ".join(stops)}
    return distance_to_meta(folder, cases, predictions)


def is_confirmed(cause, without, patched, patched_folder, cases):
    if patched["error"] > search.EXACT:
        return False
    if "stops" in cause:
        _, whole, broken = read_submission(patched_folder, cases)
        return "stopped" in without and all(name in whole and name not in broken for name in cause["stops"])
    return without["error"] > search.EXACT


def farthest(folder, other, cases):
    """The largest difference of any number that two submissions have both of."""
    found = 0.0
    ours, theirs = read_submission(folder, cases)[1], read_submission(other, cases)[1]
    for name in ours.keys() | theirs.keys():
        for a, b in itertools.zip_longest(ours.get(name, []), theirs.get(name, [])):
            same = a and b and a.token_ids == b.token_ids and list(a.columns) == list(b.columns)
            found = max(found, float(np.abs(a.values - b.values).max()) if same else float("inf"))
    return found


def examine(engine, venvs, runs, cases, predictions):
    """The table's entry of one engine."""
    name = engine["name"]
    print(f"{name}: as released", file=sys.stderr)
    run(engine, runs / name, venvs, [])
    report = score.score(runs / name, cases, predictions)
    entry = {"name": name, "report": report, "released": distance_to_meta(runs / name, cases, predictions),
             "notes": engine.get("notes", []), "causes": []}
    if "same_as" in engine:
        entry["same_as"] = {
            "name": engine["same_as"], "farthest": farthest(runs / name, runs / engine["same_as"], cases)}
    causes = engine.get("causes", [])
    if causes:
        print(f"{name}: all patches", file=sys.stderr)
        run(engine, runs / f"{name}-patched", venvs, causes)
        entry["patched"] = distance_to_meta(runs / f"{name}-patched", cases, predictions)
    for index, cause in enumerate(causes):
        others = [other for other in causes if other is not cause]
        folder = runs / f"{name}-without-{index}"
        run(engine, folder, venvs, others)
        without = outcome(cause, folder, cases, predictions)
        confirmed = is_confirmed(cause, without, entry["patched"], runs / f"{name}-patched", cases)
        entry["causes"].append(cause | {"without": without, "confirmed": confirmed})
        print(f"{name}: {cause['says']}: {without} -> {entry['patched']}", file=sys.stderr)
    return entry


def write(output, entry):
    """After each engine, so that what is done is done."""
    path = output / "table.json"
    entries = {each["name"]: each for each in json.loads(path.read_text())} if path.is_file() else {}
    entries[entry["name"]] = entry
    table = [entries[engine["name"]] for engine in ENGINES if engine["name"] in entries]
    path.write_text(json.dumps(table, indent=1) + "\n")
    (output / "TABLE.md").write_text(write_table(table))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("engine", nargs="*", help="names of engines.json; all when none is given")
    parser.add_argument("--venvs", type=Path, default=KIT.parent.parent / "build" / "engines")
    parser.add_argument("--runs", type=Path, default=KIT.parent.parent / "build" / "engines" / "runs")
    parser.add_argument("--reuse", action="store_true", help="score the submissions of --runs, run nothing")
    parser.add_argument("--output", type=Path, default=KIT, help="folder of TABLE.md and table.json")
    options = parser.parse_args()
    cases, predictions = load_cases(), search.Predictions()
    for engine in ENGINES:
        if options.engine and engine["name"] not in options.engine:
            continue
        made = options.runs / engine["name"] if options.reuse else options.venvs / engine["venv"] / "ready"
        if "built_by" in engine and not made.exists():
            print(f"{engine['name']}: {engine['built_by']} was not run; its entry stays as it is",
                  file=sys.stderr)
        else:
            entry = examine(engine, None if options.reuse else options.venvs, options.runs, cases,
                            predictions)
            write(options.output, entry)


if __name__ == "__main__":
    main()
