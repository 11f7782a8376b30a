"""Real traces of the program, from Python: against the schema, through load_trace.py and write_trace.py, and
back.

    python3 tests/python_test.py

Needs the fast build in build/, numpy and jsonschema. Prints each failed check and, last, "N passed, N
failed", which are tests, not checks; exit 1 when anything failed.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = ("numpy", "jsonschema")
DEBIAN_PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).resolve().parent.parent


def ensure_packages():
    """Goes on under Debian's python3 when another one comes first that lacks the packages."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return
    probe = [DEBIAN_PYTHON, "-c", "import " + ", ".join(NEEDED)]
    if Path(DEBIAN_PYTHON).exists() and not os.environ.get("PICTOR_PYTHON_TEST") and subprocess.run(
            probe, stderr=subprocess.DEVNULL).returncode == 0:
        os.environ["PICTOR_PYTHON_TEST"] = "again"  # once is enough
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])
    print(f"{sys.executable} has no {' and no '.join(missing)}, and {DEBIAN_PYTHON} neither; "
          "install python3-numpy and python3-jsonschema")
    print("0 passed, 1 failed")
    sys.exit(1)


if __name__ == "__main__":
    ensure_packages()

sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "trace" / "python"), str(ROOT / "tests" / "trace")]
import numpy as np
from load_trace import load_trace
from validate_trace import validate
from write_trace import TraceWriter

PICTURE = [
    "run", "--image", "models/pictor/pictures/demo.png", "--prompt", "What is in this image?",
    "--max-new-tokens", "2"]
TEXT = ["run", "--prompt", "What is your name?"]
GOLDEN_CASE = [
    "forward", "--model", "golden/checkpoints/base", "--inputs", "golden/cases/2x2/inputs.safetensors",
    "--greedy", "3"]
TINY = np.float32(np.finfo(np.float32).smallest_subnormal)


class Checks:
    """Of one test."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, condition, what):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}")

    def bits(self, found, wanted, what):
        """The same dtype, shape and bits: NaN is NaN, and -0.0 is not 0.0."""
        self.that(found.dtype == wanted.dtype and found.shape == wanted.shape,
                  f"{what}: {found.dtype} {found.shape}; want {wanted.dtype} {wanted.shape}")
        same_nan = found.dtype.kind == "f" and np.array_equal(np.isnan(found), np.isnan(wanted))
        numbers = ~np.isnan(found) if same_nan else slice(None)
        self.that(found[numbers].tobytes() == wanted[numbers].tobytes(), f"{what}: other bits")


def program(name, arguments):
    return subprocess.run([str(ROOT / "build" / name), *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)


def record(checks, folder, arguments):
    result = program("reference", [*arguments, "--trace", folder])
    checks.that(result.returncode == 0,
                f"reference {' '.join(map(str, arguments))}: exit {result.returncode}: {result.stderr}")
    return folder


def check_valid(checks, folder, at_least):
    results = list(validate(folder))
    checks.that(
        len(results) >= at_least, f"{folder}: {len(results)} files validated; want {at_least} or more")
    for what, error in results:
        checks.that(error is None, f"{what}: {error}")


def test_picture_with_sample_values(checks, folder):
    record(checks, folder, [*PICTURE, "--trace-npy"])
    check_valid(checks, folder, 400)
    trace = load_trace(folder)
    kinds = [entry["values"] for entry in trace.entries]
    checks.that(
        kinds.count("sample") > 10 and kinds.count("all") > 100 and kinds.count("none") == 0,
        "a picture has tensors that are sampled and more that are not")
    name = "vision_model.transformer.layers.0.self_attn.probs"
    positions, values = trace.sample(name)
    whole = trace[name]  # from the .npy
    checks.that(list(whole.shape) == trace.entry(name)["shape"], f"{name}: shape {whole.shape}")
    checks.bits(values, whole.reshape(-1)[positions], f"sample of {name}")
    checks.that(np.allclose(whole.sum(axis=-1), 1, atol=1e-5), f"{name}: rows add up to 1")
    checks.that(
        trace.header["images"][0]["tiles"] == [2, 2] and trace.header["images"][0]["size"] == [224, 224],
        "images[0] is what the file is")
    checks.that(trace.header["generated"]["text"] == "I see",
                f"generated text {trace.header['generated']['text']!r}")
    checks.that([step["kind"] for step in trace.steps] == ["prefill", "decode"],
                "one prefill, one decode step")


def test_golden_case_with_all_values(checks, folder):
    record(checks, folder, [*GOLDEN_CASE, "--trace-values", "all", "--trace-npy"])
    check_valid(checks, folder, 400)
    trace = load_trace(folder)
    probs = trace["language_model.layers.1.cross_attn.probs"]
    logits = trace["lm_head", 2]
    checks.that(probs.shape == (4, 11, 20) and probs.dtype == np.float32,
                f"cross_attn.probs is {probs.dtype} {probs.shape}")
    checks.that(logits.shape == (1, 96), f"lm_head of step 2 is {logits.shape}")
    checks.that(trace["input_ids"].dtype == np.int64, "input_ids are whole numbers")
    for entry in trace.entries:
        array = np.load(folder / entry["npy"])
        checks.bits(
            trace.kept_values(entry).reshape(entry["shape"]), array,
            f"{entry['name']} step {entry['step']}: JSON against .npy")
    golden = load_trace(ROOT / "golden/cases/2x2/meta")
    checks.that(np.abs(logits - golden["lm_head", 2]).max() < 1e-4, "lm_head of step 2 is the golden one")


def test_text_only(checks, folder):
    record(checks, folder, TEXT)
    check_valid(checks, folder, 100)
    trace = load_trace(folder)
    checks.that(trace.header["images"] == [] and "pixel_values" not in trace, "no picture in a text")
    checks.that(trace.header["generated"]["text"] == "My name is Pictor.",
                f"generated text {trace.header['generated']['text']!r}")
    checks.that("".join(trace.header["prompt"]["token_texts"]) == trace.header["prompt"]["text"],
                "token_texts make up the text")


def test_no_values(checks, folder):
    record(checks, folder, [*GOLDEN_CASE, "--trace-values", "none"])
    check_valid(checks, folder, 1)
    trace = load_trace(folder)
    checks.that(all(entry["values"] == "none" and "file" not in entry for entry in trace.entries),
                "no values are kept")
    try:
        trace["lm_head"]
        checks.that(False, "asking for values that are not kept is an error")
    except ValueError as error:
        checks.that("--trace-values all" in str(error), f"the error says how to record them: {error}")


def test_npy_without_json(checks, folder, all_values):
    record(checks, folder, [*GOLDEN_CASE, "--trace-values", "none", "--trace-npy"])
    check_valid(checks, folder, 1)
    bare, full = load_trace(folder), load_trace(all_values)
    checks.that(len(bare) == len(full) > 400, f"{len(bare)} tensors; want {len(full)}")
    for entry in full.entries:
        key = entry["name"], entry["step"]
        checks.bits(bare[key], full[key], f"{key}: another run's .npy")


def copy_in_python(source, target, change=None):
    """The trace again, written by write_trace.py; `change` may alter an array."""
    trace = load_trace(source)
    with TraceWriter(target, producer="python_test", reference=trace.header["reference"]) as writer:
        for key in ("model", "prompt", "images", "generated"):
            writer.describe(key, trace.header[key])
        for step in trace.steps:
            writer.begin_step(step["kind"], step["first_token"], step["token_count"])
            for name in trace.names(step["index"]):
                entry = trace.entry(name, step["index"])
                array = trace[name, step["index"]].copy()
                if change is not None:
                    change(name, step["index"], array)
                writer.tensor(name, " ".join(entry["axes"]), array, dtype=entry["dtype"],
                              source=entry["source"], chapter=entry["chapter"])


def test_copy_and_one_changed_value(checks, folder, original):
    exactly = ["--atol", "0", "--rtol", "0"]
    copy_in_python(original, folder / "copy")
    check_valid(checks, folder / "copy", 400)
    diff = program("trace", ["diff", folder / "copy", original, *exactly])
    checks.that(diff.returncode == 0 and " 0 differ" in diff.stdout,
                f"diff of a copy: exit {diff.returncode}: {diff.stdout}{diff.stderr}")

    changed_name = "language_model.layers.3.cross_attn.probs"

    def change(name, step, array):
        if (name, step) == (changed_name, 1):
            array[2, 0, 13] = np.nextafter(array[2, 0, 13], np.float32(2))

    copy_in_python(original, folder / "changed", change)
    diff = program("trace", ["diff", folder / "changed", original, *exactly])
    checks.that(diff.returncode == 1, f"diff of one changed bit: exit {diff.returncode}: {diff.stderr}")
    checks.that(f"First difference: step 1, {changed_name}" in diff.stdout and "at [2, 0, 13]" in diff.stdout,
                f"the place is named: {diff.stdout}")
    report = json.loads(program("trace", ["diff", folder / "changed", original, *exactly, "--json"]).stdout)
    checks.that(report["same"] is False and changed_name in json.dumps(report), "and in the JSON")


def test_numbers_that_JSON_lacks(checks, folder):
    """What write_trace.py writes, load_trace.py and `trace convert` read, bit for bit."""
    arrays = {
        "odd": np.array([[np.nan, np.inf, -np.inf, 0.0], [
            -0.0, TINY, -TINY, np.finfo(np.float32).max], [0.1, 1 / 3, 1e-38, 16777217]], np.float32),
        "whole": np.array([0, -1, 2**53 + 1, np.iinfo(np.int64).max,
                           np.iinfo(np.int64).min], np.int64),
        "bits": np.random.default_rng(7).integers(0, 2**32, (40, 25), np.uint32).view(np.float32),
        "one": np.float32(1.5).reshape(()),
        "empty": np.zeros((0, 3), np.float32),}
    with TraceWriter(folder / "written", producer="python_test", npy=True) as writer:
        writer.begin_step("prefill", first_token=0, token_count=1)
        for name, array in arrays.items():
            writer.tensor(name, " ".join(["row", "column"][:array.ndim]), array)
    check_valid(checks, folder / "written", len(arrays) + 1)
    trace = load_trace(folder / "written")
    for name, array in arrays.items():
        entry = trace.entry(name)
        checks.bits(trace.kept_values(entry).reshape(entry["shape"]), array, f"{name} from JSON")
        checks.bits(trace[name], array, f"{name} from .npy")
    checks.that(trace.entry("odd")["statistics"]["nonfinite"] == 3, "three numbers of odd are not finite")

    only = [argument for name in ("odd", "whole", "bits") for argument in ("--only", name)]
    converted = program("trace", ["convert", folder / "written", folder / "arrays", *only])
    checks.that(converted.returncode == 0, f"trace convert: exit {converted.returncode}: {converted.stderr}")
    for name in ("odd", "whole", "bits"):
        checks.bits(np.load(folder / "arrays" / f"{name}.npy"), arrays[name], f"{name} through trace convert")
    diff = program(
        "trace",
        ["diff", folder / "written", folder / "written", "--only", "odd", "--atol", "0", "--rtol", "0"])
    checks.that(diff.returncode == 1 and "1 of 12" in diff.stdout,
                f"only the NaN is no equal of itself: exit {diff.returncode}: {diff.stdout}")


def test_nothing_is_left_behind(checks, folder):
    names = sorted(path.name for path in folder.iterdir())
    checks.that(names == ["copies", "golden", "none", "npy", "numbers", "picture", "text"],
                f"folders: {names}")


def run_test(test, folders):
    checks = Checks()
    try:
        test(checks, *folders)
    except Exception as error:  # one test's end is not the end of the others
        checks.that(False, f"{test.__name__}: {type(error).__name__}: {error}")
    good = checks.failed == 0 and checks.passed > 0
    print(
        f"{'ok' if good else 'FAILED'}: {test.__name__}, {checks.passed} of {checks.passed + checks.failed} "
        f"checks"
    )
    return good


def main():
    with tempfile.TemporaryDirectory(prefix="pictor-python-test-") as temporary:
        folder = Path(temporary)
        tests = [
            (test_picture_with_sample_values, folder / "picture"),
            (test_golden_case_with_all_values, folder / "golden"),
            (test_text_only, folder / "text"),
            (test_no_values, folder / "none"),
            (test_npy_without_json, folder / "npy", folder / "golden"),
            (test_copy_and_one_changed_value, folder / "copies", folder / "golden"),
            (test_numbers_that_JSON_lacks, folder / "numbers"),
            (test_nothing_is_left_behind, folder),
        ]
        results = [run_test(test, folders) for test, *folders in tests]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
