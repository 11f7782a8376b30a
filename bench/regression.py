"""Is anything slower than it was? Compares what `make bench` wrote with this processor's committed file.

    python3 bench/regression.py [build/bench.json]             exit 1 when a row is slower beyond the spread
    python3 bench/regression.py [build/bench.json] --accept    writes bench/results/PROCESSOR.json

A row's ratio lies between its peer's fastest over our slowest, and its peer's slowest over our fastest. It is
slower when its best ratio now is below its worst one then: what both runs measured does not overlap.
"""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def committed_file(processor, results):
    return results / (re.sub(r"[^A-Za-z0-9]+", "-", processor).strip("-") + ".json")


def ratios(row):
    """(worst, best)"""
    return min(row["theirs"]) / max(row["ours"]), max(row["theirs"]) / min(row["ours"])


def compare(now, then):
    """Sentences about what is slower; and about rows that are gone."""
    faults = []
    for name, old in then["rows"].items():
        if name not in now["rows"]:
            faults.append(f"{name}: was measured then and is not now")
            continue
        best, worst = ratios(now["rows"][name])[1], ratios(old)[0]
        if best < worst:
            faults.append(f"{name}: at best {best:.2f} x its peer, and was at least {worst:.2f} x")
    return faults


def main(arguments, results=RESULTS):
    accept = "--accept" in arguments
    names = [word for word in arguments if word != "--accept"]
    file = Path(names[0]) if names else ROOT / "build" / "bench.json"
    if not file.is_file():
        print(f"regression.py: {file}: is not there; `make bench` writes it", file=sys.stderr)
        return 2
    now = json.loads(file.read_text())
    wanted = committed_file(now["processor"], results)
    if accept:
        wanted.parent.mkdir(exist_ok=True)
        wanted.write_text(json.dumps(now, indent=1) + "\n")
        print(f"{wanted.name}: {len(now['rows'])} rows")
        return 0
    if not wanted.is_file():
        print(f"regression.py: {wanted}: nothing was measured on this processor yet; --accept writes it",
              file=sys.stderr)
        return 2
    then = json.loads(wanted.read_text())
    faults = compare(now, then)
    for fault in faults:
        print(fault)
    print(f"{len(then['rows']) - len(faults)} rows no slower, {len(faults)} slower or gone")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
