"""A slice of the 11B at full width: one layer of each kind, synthesized, and run on the shipped picture,
which at this tile size is one tile.

    python3 tests/slice_test.py        needs 1.2 GB of disk for a minute; prints "N passed, N failed"

The same numbers as numpy makes, an overwrite rule that keeps strangers' folders, no half-made folder, a
bounded share of memory that is not mapped from the file.
"""
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "build" / "reference"
# 0.87 GB were measured; a copy of one text layer as float32 more (0.9 GB) would exceed this.
MOST_ANONYMOUS = 1.5e9


def reference(*words):
    return subprocess.run([REFERENCE, *map(str, words)], capture_output=True, text=True)


def anonymous_peak(command):
    """The most bytes that are mapped from no file, looked at every 20 ms; and what the run returned."""
    run = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    most = 0
    while run.poll() is None:
        try:
            lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
        except OSError:
            break
        for line in lines:
            if line.startswith("RssAnon:"):
                most = max(most, int(line.split()[1]) * 1024)
        time.sleep(0.02)
    output, errors = run.communicate()
    return most, run.returncode, output, errors


class Checks:
    passed = failed = 0

    def check(self, good, what):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        if not good:
            print(f"FAILED: {what}")


def check_folder_rules(checks, folder):
    again = reference("synthesize", "--slice", "--vocabulary", 512, "--out", folder)
    checks.check(again.returncode == 2 and "exists already" in again.stderr, again.stderr)
    stranger = folder.parent / "stranger"
    stranger.mkdir()
    (stranger / "config.json").write_text('{"model_type": "mllama"}')
    forced = reference("synthesize", "--slice", "--force", "--out", stranger)
    checks.check(forced.returncode == 2 and (stranger / "config.json").is_file(), forced.stderr)
    small = reference("synthesize", "--slice", "--vocabulary", 100, "--out", folder.parent / "small")
    checks.check(small.returncode == 2 and "--vocabulary 100: the tokenizer in" in small.stderr, small.stderr)
    huge = reference("synthesize", "--preset", "90b", "--f32", "--layers", "512,512,1,1", "--out",
                     folder.parent / "huge")
    checks.check(huge.returncode == 2 and "GB of the disk are free" in huge.stderr, huge.stderr)
    left = sorted(path.name for path in folder.parent.iterdir())
    checks.check(left == ["slice", "stranger"], f"left behind: {left}")


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "slice"
        made = reference("synthesize", "--slice", "--vocabulary", 512, "--out", folder)
        checks.check(made.returncode == 0, made.stderr)
        inspected = reference("inspect", "--model", folder)
        checks.check(inspected.returncode == 0 and "unexpected   none" in inspected.stdout, inspected.stdout)
        numpy = subprocess.run([sys.executable, ROOT / "golden/synthetic_values.py", folder, "--ends"],
                               capture_output=True, text=True)
        checks.check(numpy.returncode == 0, numpy.stdout + numpy.stderr)
        check_folder_rules(checks, folder)
        picture = ROOT / "models/pictor/pictures/demo.png"
        most, status, output, errors = anonymous_peak([
            REFERENCE, "run", "--quiet", "--model", folder, "--image", picture, "--prompt", "What is it?",
            "--max-new-tokens", 3])
        checks.check(status == 0 and output and not errors, errors)
        print(f"most memory that is no page of a file: {most / 1e9:.2f} GB")
        checks.check(0.2e9 < most < MOST_ANONYMOUS, f"anonymous memory: {most}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return checks.failed > 0


if __name__ == "__main__":
    sys.exit(main())
