"""bench/regression.py: what counts as slower. Prints "N passed, N failed"."""
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import regression


def results(ours, theirs=(2.0, 2.2)):
    rows = {"layer": {"ours": list(ours), "theirs": list(theirs)}}
    return {"processor": "A Processor (R) @ 2 GHz", "rows": rows}


def run(folder, now, *more):
    file = folder / "now.json"
    file.write_text(json.dumps(now))
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = regression.main([str(file), *more], folder / "results")
    return status, output.getvalue()


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for what, (status, text), wanted, word in (
            ("no file yet", run(folder, results((1.0, 1.1))), 2, "nothing was measured"),
            ("accepted", run(folder, results((1.0, 1.1)), "--accept"), 0, "A-Processor-R-2-GHz.json: 1 rows"),
            ("the same", run(folder, results((1.0, 1.1))), 0, "1 rows no slower"),
            ("within the spread", run(folder, results((1.15, 1.3))), 0, "1 rows no slower"),
            ("faster", run(folder, results((0.5, 0.6))), 0, "1 rows no slower"),
            ("a slower machine", run(folder, results((2.0, 2.2), (4.0, 4.4))), 0, "1 rows no slower"),
            ("slower", run(folder, results((1.5, 1.6))), 1, "layer: at best 1.47 x its peer, and was"),
            ("gone", run(folder, {**results(()), "rows": {}}), 1, "layer: was measured then")):
            good = status == wanted and word in text
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"FAILED: {what}: exit {status}: {text}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
