#!/usr/bin/env python3
"""Scores an engine by what it computed for the cases of the kit: by whose rule, and with which mistakes.

    python3 golden/conformance/score.py RUN            a report for people
    python3 golden/conformance/score.py RUN --json     the same for machines
    python3 golden/conformance/score.py RUN... --table one line of a Markdown table for each

Exit 0: it conforms, in every case, to Meta's rule or to transformers' as released (the report says to which);
1: it differs, or some cases were not tried; 2: the submission cannot be read. Needs numpy only.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are tiny
sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np

import layers
import search
from rules import CONFORMING, META, NUMBER_FIELDS, RELEASED, RULE_FIELDS, describe
from submission import BadSubmission, load_cases, read_submission

SIXTEEN_BIT = {
    "bfloat16": "bfloat16", "bf16": "bfloat16", "float16": "float16", "f16": "float16", "fp16": "float16"}


def declared(engine):
    """The 16-bit type that engine.json names, or None."""
    words = engine["dtype"].lower().replace(",", " ").replace("-", " ").replace(";", " ").split()
    return next((SIXTEEN_BIT[word] for word in words if word in SIXTEEN_BIT), None)


def rule_name(rules, evidence):
    """The released rule that gives the same numbers in all that was submitted, or None."""
    fits = [name for name, released in RELEASED.items()
            if all(getattr(released, f) == getattr(rules, f) for f in RULE_FIELDS)]
    if not fits:
        plain = search.replace(rules,
                               **{f: getattr(META, f) for f in rules.differing(META) if f not in RULE_FIELDS})
        fits = [
            name for name, released in RELEASED.items() if evidence.distance(plain, released) < search.EXACT]
    return fits[0] if fits else None


def as_value(field, value):
    return {"field": field, "value": value, "sentence": describe(field, value)}


def rms(errors):
    return float(np.sqrt((errors**2).mean())) if len(errors) else None


def case_reports(cases, passes, results, evidence, best, nearest, tolerance):
    """For each case of the kit: what came of it, the error under the nearest rule and under the whole
    hypothesis."""
    reports = {}
    for name in cases:
        if name not in passes:
            reports[name] = {"result": "not submitted"}
        elif evidence.nan_rows[name] and not len(evidence.errors(best)[name]):
            reports[name] = {"result": "nan", "why": "no row is finite"}
        else:
            before, after = evidence.errors(nearest)[name], evidence.errors(best)[name]
            good = after.max() <= tolerance[name]
            reports[name] = {
                "result": "explained" if good else "unexplained", "rows": len(after),
                "error_under_rule": rms(before), "error": rms(after), "worst_row": float(after.max()),
                "tolerance": tolerance[name]}
            if not good and passes[name][0].trace is not None:
                reports[name]["first_away"] = layers.first_away(
                    passes[name][0], evidence.predictions,
                    RELEASED | {"the nearest rule": nearest, "the rule and causes above": best},
                    tolerance[name])
            if evidence.nan_rows[name]:
                reports[name] |= {"result": "nan", "why": f"{evidence.nan_rows[name]} row(s) are not finite"}
        if name in results:
            reports[name] |= {"result": results[name][0], "why": results[name][1]}
    return reports


def causes_of(evidence, best, equal):
    """Each change that is no part of the rule, with the error when it alone is taken back."""
    found = []
    for field in best.differing(META):
        if field in RULE_FIELDS:
            continue
        without = search.replace(best, **{field: getattr(META, field)})
        others = [as_value(f, v) for f, v in equal if f == field]
        shown = {
            n: (rms(evidence.errors(without)[n]), rms(e)) for n, e in evidence.errors(best).items() if len(e)}
        name = max(shown, key=lambda n: shown[n][0] / max(shown[n][1], search.FLOOR))
        found.append(as_value(field, getattr(best, field)) | {
            "most_seen_in": name, "error_without": shown[name][0], "error_with": shown[name][1],
            "as_well_explained_by": others})
    return found


def score(folder, cases, predictions):
    engine, passes, results = read_submission(folder, cases)
    report = {"engine": engine, "cases_tried": len(passes | results), "cases_of_the_kit": len(cases)}
    evidence = search.Evidence(passes, predictions)
    if not any(each.finite.any() for each in evidence.passes):
        kinds = sorted({result for result, _ in results.values()} | ({"nan"} if passes else set()))
        tolerance = dict.fromkeys(cases, search.EXACT)
        return report | {
            "verdict": " and ".join(kinds), "conforms": False, "rule": None, "causes": [], "residual": None,
            "cases": case_reports(cases, {}, results, evidence, META, META, tolerance)
            | {n: {"result": "nan", "why": "no row is finite"} for n in passes}}
    best = search.find(evidence)
    nearest = search.replace(META, **{f: getattr(best, f) for f in RULE_FIELDS})
    tolerance = dict.fromkeys(cases, search.EXACT)
    sixteen = declared(engine)
    if sixteen:
        tolerance |= {n: max(search.EXACT, search.NOISE_FACTOR * noise)
                      for n, noise in search.noise_16_bit(evidence, best, sixteen).items()}
    for name, noise in search.noise_of_roundings(evidence, best).items():
        # the engine's sums have an order of their own, as the kit's have
        tolerance[name] = max(tolerance[name], 2 * noise)
    equal, unseen = search.alternatives(evidence, best)
    reports = case_reports(cases, passes, results, evidence, best, nearest, tolerance)
    return report | verdict(engine, evidence, best, reports, equal, unseen, sixteen, report)


def verdict(engine, evidence, best, reports, equal, unseen, sixteen, counts):
    name = rule_name(best, evidence)
    causes = causes_of(evidence, best, equal)
    hidden = [
        c for c in causes
        if c["field"] in NUMBER_FIELDS and not (sixteen or "cache" in engine["dtype"].lower())]
    faults = [c for c in causes if c["field"] not in NUMBER_FIELDS]
    left = [n for n, r in reports.items() if r.get("worst_row", 0) > r.get("tolerance", 0)]
    broken = sorted({r["result"] for r in reports.values()} & {"refused", "crashed", "nan"})
    said = []
    if left:
        said.append(f"not explained in {len(left)} of the cases")
    if faults:
        said.append(f"{len(faults)} known cause(s)")
    if hidden:
        said.append(f"hidden {hidden[0]['value'].removesuffix('_attention')}")
    rule = "follows " + name if name else "follows no released rule"
    said = [
        rule if not left else rule.replace("follows", "nearest to") if name else "near no released rule",
        *said]
    said += [f"{kind} in {sum(r['result'] == kind for r in reports.values())}" for kind in broken]
    right = name in CONFORMING and not (left or faults or hidden or broken)
    whole = counts["cases_tried"] == counts["cases_of_the_kit"]
    if right and not whole:
        said.append(f"but only {counts['cases_tried']} of the {counts['cases_of_the_kit']} cases were tried")
    return {"verdict": "; ".join(said), "conforms": right and whole,
            "rule": {"name": name, "fields": [as_value(f, getattr(best, f)) for f in RULE_FIELDS],
                     "cannot_be_told_from": [as_value(f, v) for f, v in equal if f in RULE_FIELDS]},
            "causes": causes, "residual": evidence.worst(best),
            "would_not_show": [as_value(f, v) for f, v in unseen], "cases": reports}


def number(value):
    return "-" if value is None else f"{value:.2g}"


def print_report(report):
    engine = report["engine"]
    print(f"{engine['engine']} {engine['version']} ({engine['dtype']}): {report['verdict']}")
    print(
        f"{report['cases_tried']} of {report['cases_of_the_kit']} cases; errors in standard deviations of "
        f"the logits\n"
    )
    if report["rule"]:
        print("rule")
        for each in report["rule"]["fields"]:
            print(f"  {each['field']:9} {each['sentence']}")
        for each in report["rule"]["cannot_be_told_from"]:
            print(f"  what was submitted cannot tell this from: {each['sentence']}")
    for cause in report["causes"]:
        print(
            f"cause: {cause['sentence']}\n  {cause['most_seen_in']}: error {number(cause['error_without'])} "
            f"without it, "
            f"{number(cause['error_with'])} with it")
        for other in cause["as_well_explained_by"]:
            print(f"  explains it as well: {other['sentence']}")
    print("\ncase             result         under rule   explained   worst row")
    for name, case in report["cases"].items():
        print(
            f"{name:16} {case['result']:14} {number(case.get('error_under_rule')):>10} "
            f"{number(case.get('error')):>11} "
            f"{number(case.get('worst_row')):>11}{'   ' + case['why'] if 'why' in case else ''}")
    for name, case in report["cases"].items():
        if "first_away" in case:
            print(f"\n{name}: {layers.sentence(case['first_away'])}")
    if report.get("would_not_show"):
        print("\nnot tested, since it would not show in what was submitted: " +
              "; ".join(each["sentence"] for each in report["would_not_show"]))


def table_row(report):
    engine, rule = report["engine"], report["rule"]
    causes = "; ".join(cause["sentence"] for cause in report["causes"]) or "none"
    kept = rule["fields"][0]["value"] if rule else "-"
    rows = rule["fields"][1]["value"] if rule else "-"
    decode = rule["fields"][2]["value"] if rule else "-"
    return (
        f"| {engine['engine']} {engine['version']} | {engine['dtype']} | {report['verdict']} | {kept} | "
        f"{rows} | "
        f"{decode} | {causes} | {number(report['residual'])} |")


def main(predictions=None):
    parser = argparse.ArgumentParser(description="Which rule does an engine follow in Llama 3.2-Vision?")
    parser.add_argument("runs", nargs="+", metavar="RUN",
                        help="folder with engine.json and a folder for each case")
    parser.add_argument("--json", action="store_true", help="a JSON object (several runs: a list)")
    parser.add_argument("--table", action="store_true", help="a Markdown table")
    options = parser.parse_args()
    cases, predictions = load_cases(), predictions or search.Predictions()
    try:
        reports = [score(run, cases, predictions) for run in options.runs]
    except BadSubmission as problem:
        print(f"score: {problem}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(reports if len(reports) > 1 else reports[0], indent=1))
    elif options.table:
        print("| engine | dtype | verdict | kept states | row mask | decoding | causes | worst row left |")
        print("|---|---|---|---|---|---|---|---|")
        print("\n".join(table_row(report) for report in reports))
    else:
        for report in reports:
            print_report(report)
    return 0 if all(report["conforms"] for report in reports) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `score.py RUN | head` ends without a word
    sys.exit(main())
