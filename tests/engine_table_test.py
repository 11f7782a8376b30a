"""What is told about other engines is what was measured: TABLE.md is what write_table.py makes of table.json,
and every row, word of the rule and number of ENGINES.md's short table is that of its engines there.

    python3 tests/engine_table_test.py
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KIT = ROOT / "golden" / "conformance"
sys.path.insert(0, str(KIT / "engines"))
sys.dont_write_bytecode = True

from write_table import number, write_table

HEADING = "| engine | kept vision states |"
WORDS = {
    "kept": {"inputs": "inputs", "outputs": "outputs", "last": "the last, for each"},
    "row_mask": {"meta": "no attention, no MLP", "transformers": "no MLP only", "none": "attention and MLP"},
    "decode": {"meta": "see none", "repeat": "see the last", "all": "see all, absent tiles too"},
}
FIGURE = re.compile(r"\w*\d[\w.-]*\w|\d")  # a number, or a word with one in it: 1e-6, 0.7.10, float16


def rows_of(readme):
    """The cells of each row, without the marks of bold type."""
    lines = readme[readme.index(HEADING):].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.replace("**", "").strip("|").split("|")] for line in lines]


def engines_of(row, table):
    """The first entry of each version that the row names; a second one (another cache) is in TABLE.md
    only."""
    words = set(re.findall(r"[\w.-]*\w", row[0]))
    found = {}
    for entry in table:
        engine = entry["report"]["engine"]
        if {engine["engine"], engine["version"]} <= words:
            found.setdefault(engine["version"], entry)
    return list(found.values())


def rule_words(entry, field):
    rule = entry["report"]["rule"]
    if any(other["field"] == field for other in rule["cannot_be_told_from"]):
        return "cannot be told"
    return WORDS[field][next(each["value"] for each in rule["fields"] if each["field"] == field)]


def causes_told(entry):
    """What table.json says in words about where an engine is away from the rule."""
    report = entry["report"]
    return [cause["says"] for cause in entry["causes"]] + [cause["sentence"] for cause in report["causes"]
                                                           ] + [report["verdict"], *entry["notes"]]


def without_repeats(cells):
    return ", ".join(dict.fromkeys(cell for cell in cells if cell != "-"))


def problems_of(readme, table):
    """What ENGINES.md says otherwise than table.json."""
    problems, told = [], []
    cases = len(table[0]["report"]["cases"])
    if f"of {cases} cases" not in readme:
        problems.append(f"ENGINES.md does not say that errors are the worst of {cases} cases")
    for row in rows_of(readme):
        entries = engines_of(row, table)
        told += [entry["name"] for entry in entries]
        versions = FIGURE.findall(row[0])
        if len(entries) != len(versions):
            problems.append(f"{row[0]}: table.json has {len(entries)} of its {len(versions)} versions")
        wanted = [without_repeats(rule_words(entry, field) for entry in entries) for field in WORDS]
        wanted += [without_repeats(number(entry["released"]["error"]) for entry in entries),
                   without_repeats(number(entry.get("patched", {}).get("error")) for entry in entries)]
        for said, measured in zip(row[1:4] + row[5:7], wanted):
            if said != measured:
                problems.append(f"{row[0]}: ENGINES.md says '{said}'; table.json '{measured}'")
        known = set(FIGURE.findall(json.dumps([causes_told(entry) for entry in entries])))
        problems += [
            f"{row[0]}: table.json has no {each}" for each in FIGURE.findall(row[4]) if each not in known]
    named = {(entry["report"]["engine"]["engine"], entry["report"]["engine"]["version"]) for entry in table}
    if len(told) != len(named) or len(set(told)) != len(told):
        problems.append(f"ENGINES.md tells of {sorted(told)}; table.json of {sorted(named)}")
    return problems


def changed_digits(readme):
    """ENGINES.md with one digit of its table changed, for every digit."""
    start = readme.index(HEADING)
    for at in range(start, readme.index("\n\n", start)):
        if readme[at].isdigit():
            yield readme[:at] + str(
                (int(readme[at]) + 1) % 10) + readme[at + 1:], readme[start:at + 1].splitlines()[-1]


def main():
    readme, table = (KIT / "ENGINES.md").read_text(), json.loads((KIT / "table.json").read_text())
    checks = {
        "TABLE.md is what write_table.py makes of table.json": (
            KIT / "TABLE.md").read_text() == write_table(table)}
    checks |= dict.fromkeys(problems_of(readme, table), False) or {"ENGINES.md's table is table.json's": True}
    checks |= {f"a changed digit is not noticed: {where}": bool(problems_of(changed, table))
               for changed, where in changed_digits(readme)}
    for what, good in checks.items():
        if not good:
            print(f"FAILED: {what}")
    failed = sum(not good for good in checks.values())
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
