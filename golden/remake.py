"""Makes every golden again, from nothing, in a scratch folder, and compares it with the committed one.

    python golden/remake.py [SCRATCH]        default build/golden-remade; `make golden` calls it

Checkpoints, inputs, pictures and token ids must be the same bytes; traces, and the logits of the conformance
kit, must agree within tolerances.json, since another processor adds up in another order. Prints a line per
part, then "N passed, N failed"; exit 1 on any failure.
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "golden" / "conformance"))

import numpy

from checkpoint import read_metadata, read_safetensors

MAKERS = [
    "make_checkpoints.py", "make_cases.py", "make_picture_cases.py", "make_tokenizer_cases.py",
    "make_walks.py", "conformance/make_checkpoints.py", "conformance/make_cases.py"]


def remake(scratch):
    """The makers write beside themselves, so they run as copies."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "golden").mkdir(parents=True)
    for folder in ("golden", "golden/walks", "golden/conformance", "golden/conformance/engines"):
        (scratch / folder).mkdir(exist_ok=True)
        for script in (ROOT / folder).glob("*.py"):
            shutil.copy(script, scratch / folder)
    shutil.copytree(ROOT / "trace", scratch / "trace", ignore=shutil.ignore_patterns("*.cpp", "*.h"))
    for room in ("models", "chapters"):
        (scratch / room).symlink_to(ROOT / room)
    for maker in MAKERS:
        print(f"running {maker}", flush=True)
        subprocess.run([sys.executable, str(scratch / "golden" / maker)], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def same_trace(remade, committed):
    case = committed.parent / "case.json"
    tolerances = json.loads(case.read_text()).get("tolerances") if case.is_file() else None
    policy = ROOT / "golden" / (tolerances or "tolerances.json")
    run = subprocess.run([ROOT / "build" / "trace", "diff", remade, committed, "--policy", policy],
                         capture_output=True, text=True)
    if run.returncode != 0:
        print(run.stdout + run.stderr)
    return run.returncode == 0


def same_logits(remade, committed):
    """What the oracles compute for a case of the conformance kit."""
    allowed = json.loads((ROOT / "golden" / "tolerances.json").read_text())["lm_head"]["atol"]
    if not remade.is_file() or read_metadata(remade) != read_metadata(committed):
        return False
    found, wanted = read_safetensors(remade), read_safetensors(committed)
    return found.keys() == wanted.keys() and all(
        found[who].shape == wanted[who].shape and bool((numpy.abs(found[who] - wanted[who]) <= allowed).all())
        for who in wanted)


def compare(scratch):
    results = {}
    traces = sorted(path.parent for room in ("cases/*", "walks")
                    for path in (ROOT / "golden").glob(f"{room}/*/trace.json"))
    for committed in traces:
        name = committed.relative_to(ROOT)
        results[str(name)] = same_trace(scratch / name, committed)
    for committed in sorted((ROOT / "golden").rglob("*")):
        name = committed.relative_to(ROOT)
        if not committed.is_file() or any(trace in committed.parents
                                          for trace in traces) or len(name.parts) < 3:
            continue
        if committed.suffix in (".md", ".py") or "__pycache__" in name.parts:
            continue
        if name.parts[1] == "conformance" and name.parts[2] not in ("cases", "checkpoints"):
            continue  # its table, which `make engines` makes
        remade = scratch / name
        results[str(name)] = same_logits(remade, committed) if name.name == "expected.safetensors" else (
            remade.is_file() and filecmp.cmp(remade, committed, shallow=False))
    return results


def main():
    scratch = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "golden-remade").resolve()
    remake(scratch)
    results = compare(scratch)
    for name, same in results.items():
        if not same:
            print(f"differs: {name}")
    failed = sum(not same for same in results.values())
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
