"""Whether every mutant still applies, every known mistake and TRAP has one, and every test and case they name
is there.

    python3 tests/mutants/list_test.py

Nothing is built. Prints what is wrong and, last, "N passed, N failed".
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from causes import CAUSES
from every_mutant import KNOWN_MISTAKES, MUTANTS, ROOMS, WITHOUT_MUTANT
from mutant import RUNS

LEAST = {"model": 110, "trace": 60, "viz": 50}


def names_once():
    names = [mutant.name for mutant in MUTANTS]
    yield from (f"two mutants are called '{name}'" for name in sorted(set(names)) if names.count(name) > 1)
    for room, least in LEAST.items():
        if len(ROOMS[room]) < least:
            yield f"{room}: {len(ROOMS[room])} mutants; want {least} or more"


def applies_once():
    for mutant in MUTANTS:
        path = ROOT / mutant.file
        count = path.read_text().count(mutant.before) if path.is_file() else 0
        if count != 1:
            yield (f"{mutant.name}: its piece of {mutant.file} appears there {count} times; "
                   f"want once: {mutant.before}")
        if mutant.before == mutant.after or "\n" in mutant.before + mutant.after:
            yield f"{mutant.name}: want another piece of one line"


def says_what_shows_it():
    cases = {path.parent.name for path in (ROOT / "golden" / "cases").glob("*/case.json")}
    tests = re.findall(r'TEST_CASE\(\s*"([^"]*)"',
                       "".join(path.read_text() for path in (ROOT / "tests").rglob("*_test.cpp")))
    for mutant in MUTANTS:
        if not (mutant.case or mutant.test or mutant.suite):
            yield f"{mutant.name}: names neither a golden case nor a test"
        if mutant.suite and not (ROOT / "tests" / mutant.suite).is_file():
            yield f"{mutant.name}: there is no tests/{mutant.suite}"
        if mutant.case and (mutant.case.split()[0] not in cases
                            or mutant.case.split()[1:] not in (["meta"], ["transformers"])):
            yield f"{mutant.name}: no golden case '{mutant.case}'"
        if mutant.run and mutant.run not in RUNS:
            yield f"{mutant.name}: no run '{mutant.run}'"
        if bool(mutant.breaks) != bool(mutant.run or (mutant.case and not mutant.refuses)):
            yield f"{mutant.name}: a tensor is expected exactly where a case or a run can show one"
        found = sum(name.startswith(mutant.test) for name in tests)
        if mutant.test and found != 1:
            yield f"{mutant.name}: {found} tests begin with '{mutant.test}'; want one"


def known_mistakes_have_mutants():
    names = {mutant.name for mutant in MUTANTS}
    yield from (f"known mistake '{mistake}': no mutant '{name}'" for mistake, name in KNOWN_MISTAKES.items()
                if name not in names)


def traps_have_mutants():
    sources = [
        path for room in ("reference", "base") for path in sorted((ROOT / room).rglob("*"))
        if path.suffix in (".cpp", ".h")]
    marks = {mark for path in sources for mark in re.findall(r"// TRAP\(([a-z0-9_]+)\)", path.read_text())}
    covered = {trap for mutant in MUTANTS for trap in mutant.traps}
    yield from (f"TRAP({mark}) has no mutant, and WITHOUT_MUTANT does not say why"
                for mark in sorted(marks - covered - set(WITHOUT_MUTANT)))
    yield from (f"no TRAP({mark}) in reference/ or base/"
                for mark in sorted((covered | set(WITHOUT_MUTANT)) - marks))
    yield from (f"TRAP({mark}) has a mutant and a reason for none"
                for mark in sorted(covered & set(WITHOUT_MUTANT)))


def causes_are_of_mutants_and_known():
    names = {mutant.name: mutant for mutant in MUTANTS}
    sources = "".join(path.read_text() for path in sorted((ROOT / "trace" / "explaining").glob("*.[ch]*")))
    for name, cause in CAUSES.items():
        if name not in names or not names[name].breaks:
            yield f"cause of '{name}': there is no such mutant, or no tensor shows it"
        if f'"{cause}"' not in sources:
            yield f"{name}: trace/explaining knows no cause '{cause}'"


def main():
    failed = 0
    tests = [names_once, applies_once, says_what_shows_it, known_mistakes_have_mutants, traps_have_mutants,
             causes_are_of_mutants_and_known]
    for test in tests:
        faults = list(test())
        failed += bool(faults)
        print(f"{'FAILED' if faults else 'ok'}: {test.__name__}")
        for fault in faults:
            print(f"  {fault}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
