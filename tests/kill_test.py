"""Kills, signals and full disks, for every command that writes: nothing looks finished that is not, nothing
that was there is lost, and what is asked to stop leaves nothing behind.

    python tests/kill_test.py [SEED]     prints "N passed, N failed"
"""
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILD = Path(os.environ.get("PICTOR_BUILD", "build")).resolve()
ROOT = Path(__file__).resolve().parents[1]
INPUTS = "golden/cases/1x1/inputs.safetensors"
MODEL = ["--model", "golden/checkpoints/base"]
PICTURE = "models/pictor/pictures/demo.png"
KILLS, STOPS = 50, 20
passed, failed = 0, []


def check(right, what):
    global passed
    if right:
        passed += 1
    else:
        failed.append(what)
        print("FAILED:", what)


def commands(demo):
    """Name of the output, and the command that writes it under a given name."""
    golden = "golden/cases/1x1/meta"
    return {
        "run": lambda out: ["reference", "forward", *MODEL, "--inputs", INPUTS, "--trace", out, "--force"],
        "npy": lambda out: ["trace", "convert", golden, out, "--force"],
        "back": lambda out: ["trace", "convert", f"{demo}/all.safetensors", out, "--force"],
        "all.safetensors": lambda out: ["trace", "convert", golden, out],
        "tiles.safetensors": lambda out: ["reference", "preprocess", PICTURE, "--output", out],
        "diff.html": lambda out: ["trace", "diff", golden, "golden/cases/1x1/transformers", "--html", out],
        "report.html": lambda out: ["viz", "report", f"{demo}/run", "--output", out],
        "model.svg": lambda out: ["viz", "architecture", "--output", out],
        "layer.svg": lambda out: ["viz", "layer", f"{demo}/run", "--layer", "3", "--output", out],
        "heat.png": lambda out: ["viz", "heatmap", f"{demo}/run", "--output", out],
    }


def start(command, **more):
    more = {"stdout": subprocess.DEVNULL, **more}
    return subprocess.Popen([str(BUILD / command[0]), *map(str, command[1:])], cwd=ROOT,
                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def content(path):
    """All bytes of a file, or of each file in a folder; None when nothing is there."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return {str(file.relative_to(path)): file.read_bytes() for file in files}
    return path.read_bytes() if path.exists() else None


def put(path, what):
    if path.is_dir():
        shutil.rmtree(path)
    if isinstance(what, dict):
        for name, data in what.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        path.write_bytes(what)


def whole(name, what):
    """Whether something is complete, of which no two are alike to the byte."""
    if name.endswith(".html"):
        return what is not None and what.rstrip().endswith(b"</html>")
    return False


def aged(what):
    """The same output with a mark of its own: what was there before."""
    if isinstance(what, dict):
        return {file: data + b" " if file.endswith("trace.json") else data for file, data in what.items()} | (
            {} if "trace.json" in what else {"old.npy": b"old"})
    return what + b" "


class Case:
    def __init__(self, folder, name, command, complete, seconds):
        self.folder, self.name, self.path = folder, name, folder / name
        self.command = command(self.path)
        self.new, self.old, self.seconds = complete, aged(complete), seconds

    def prepare(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        put(self.path, self.old)

    def check(self, what, litter_allowed):
        now = content(self.path)
        right = now in (self.old, self.new) or whole(self.name, now)
        check(right, f"{self.name}, {what}: neither the old nor the new")
        others = [entry.name for entry in self.folder.iterdir() if entry != self.path]
        if litter_allowed:  # nobody cleans up after SIGKILL; what it leaves is hidden, named as partial
            others = [entry for entry in others if not (entry.startswith(".") and ".partial-" in entry)]
        check(not others, f"{self.name}, {what}: left {others}")
        return now == self.old

    def stopped(self, number, when, what):
        self.prepare()
        process = start(self.command)
        time.sleep(when)
        process.send_signal(number)
        try:
            code = process.wait(30)
            check(code in (0, 1, 2, -number), f"{self.name}, {what}: exit {code}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            check(False, f"{self.name}, {what}: still running after 30 s")
        self.check(what, number == signal.SIGKILL)

    def full_disk(self):
        self.prepare()
        small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        code = start(self.command, preexec_fn=small).wait(60)
        check(code == 2, f"{self.name}, no room: exit {code}")
        check(self.check("no room", False), f"{self.name}, no room: the old one is gone")
        if self.path.is_file():
            code = start([part if part != self.path else "/dev/full" for part in self.command]).wait(60)
            check(code == 2, f"{self.name} into /dev/full: exit {code}")


def pipe_closes_early(folder):
    """SIGPIPE ends the program as it ends any other, and its trace with it."""
    for command in (["viz", "architecture", "--output", "-"],
                    ["reference", "forward", *MODEL, "--inputs", INPUTS, "--greedy", "3",
                     "--trace", folder / "piped"]):
        reader, writer = os.pipe()
        os.close(reader)
        process = start(command, stdout=writer, restore_signals=True)
        os.close(writer)
        code = process.wait(60)
        check(code in (0, 2, -signal.SIGPIPE), f"{command[:2]}: exit {code} when nobody reads")
        left = [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]
        check(not left, f"{command[:2]}: left {left} when nobody reads")


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="pictor-kill-") as folder:
        folder = Path(folder)
        demo, cases = folder / "demo", []
        demo.mkdir()
        golden = ["trace", "convert", "golden/cases/1x1/meta", demo / "all.safetensors"]
        assert start(golden).wait() == 0
        question = ["reference", "run", "--image", PICTURE, "--prompt", "What is in this image?",
                    "--max-new-tokens", "3", "--trace", demo / "run", "--trace-only", "*.cross_attn.probs",
                    "--trace-only", "language_model.layers.3.*"]
        assert start(question).wait() == 0
        for name, command in commands(demo).items():
            place = folder / ("of " + name)
            place.mkdir()
            begun = time.monotonic()
            code = start(command(place / name)).wait()
            check(code in (0, 1), f"{name}: exit {code}")  # 1: the two traces differ
            cases.append(Case(place, name, command, content(place / name), time.monotonic() - begun))
        for number, times in ((signal.SIGKILL, KILLS), (signal.SIGINT, STOPS), (signal.SIGTERM, STOPS)):
            for turn in range(times):
                case = cases[turn % len(cases)]
                case.stopped(number, dice.uniform(0, 1.1 * case.seconds), f"{number.name} {turn}")
        for case in cases:
            case.full_disk()
        pipe_closes_early(demo)
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
