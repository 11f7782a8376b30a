"""Checks trace folders against trace/schema.json, and what a schema cannot say: files, counts, statistics.

    python3 tests/trace/validate_trace.py DIR...

Prints each failure and, last, "N passed, N failed"; exit 1 when anything failed. Needs jsonschema (Debian's
python3-jsonschema will do). A tensor file is read a line at a time, so memory stays at one row.
"""

import json
import math
import re
import sys
from pathlib import Path

import jsonschema

SCHEMA = json.loads(
    (Path(__file__).resolve().parent.parent.parent / "trace" / "schema.json").read_text(encoding="utf-8"))
FIRST_LINE = re.compile(r'^(\{.*"values": \[)$')
LAST_LINE = re.compile(r'^\](, "statistics": \{.*\})?\}$')
NONFINITE = ("NaN", "Infinity", "-Infinity")


def validator_for(part):
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]})


INDEX, TENSOR_FILE = validator_for("index"), validator_for("tensorFile")


def read_json(text):
    def refuse(word):
        raise ValueError(f"{word} is no JSON number")
    return json.loads(text, parse_constant=refuse)


def first_error(validator, document):
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    return error and f"{'/'.join(map(str, error.absolute_path)) or 'document'}: {error.message[:200]}"


class Statistics:
    """Enough to catch a wrong min, max, zeros or nonfinite when all values are there."""

    def __init__(self):
        self.count, self.zeros, self.nonfinite, self.min, self.max = 0, 0, 0, math.inf, -math.inf

    def add(self, values):
        finite = [value for value in values if not isinstance(value, str)]
        self.count += len(values)
        self.zeros += finite.count(0)
        self.nonfinite += len(values) - len(finite)
        if finite:
            self.min, self.max = min(self.min, min(finite)), max(self.max, max(finite))


def read_rows(path):
    """Yields the file without its values (last), and before it each line's list of values."""
    with open(path, encoding="utf-8") as file:
        first = file.readline().rstrip("\n")
        if not FIRST_LINE.match(first):
            raise ValueError('the first line should end with "values": [')
        for line in file:
            line = line.rstrip("\n")
            if LAST_LINE.match(line):
                if file.read(1):
                    raise ValueError("there is something after the end of the tensor")
                yield read_json(first + line)
                return
            if line:
                yield read_json("[" + line.removesuffix(",") + "]")
    raise ValueError("the file ends before its values do")


def check_values(values, dtype):
    for value in values:
        good = type(value) is int if dtype == "I64" else type(value) in (int, float) or value in NONFINITE
        if not good:
            raise ValueError(f"value {value!r} in a tensor of {dtype}")


def check_tensor_file(folder, entry):
    path = folder / entry["file"]
    seen = Statistics()
    size = math.prod(entry["shape"])
    row = 16 if entry["values"] == "sample" else entry["shape"][-1] if entry["shape"] else 1
    wanted = entry["sample"]["count"] if entry["values"] == "sample" else size
    document = None
    for part in read_rows(path):
        if isinstance(part, dict):
            document = part
            continue
        check_values(part, entry["dtype"])
        seen.add(part)
        if len(part) != row and seen.count != wanted:
            raise ValueError(f"a line of {len(part)} values; an innermost row has {row}")
    error = first_error(TENSOR_FILE, document)
    if error:
        raise ValueError(error)
    for key in ("name", "step", "axes", "shape", "dtype", "sample", "statistics"):
        if (key in document or key != "statistics") and document.get(key) != entry.get(key):
            raise ValueError(f"{key} is {document.get(key)}; trace.json says {entry.get(key)}")
    if seen.count != wanted:
        raise ValueError(f"{seen.count} values; want {wanted}")
    check_statistics(entry, seen)


def check_statistics(entry, seen):
    stated = entry["statistics"]
    if entry["values"] == "all":
        found = {"zeros": seen.zeros, "nonfinite": seen.nonfinite}
        if seen.count > seen.nonfinite:
            found |= {"min": seen.min, "max": seen.max}
        for key, value in found.items():
            # The file has the shortest decimal of a float32, the statistics that of its double.
            if stated[key] is None or not math.isclose(stated[key], value, rel_tol=1e-6, abs_tol=1e-44):
                raise ValueError(f"statistics: {key} is {stated[key]}; the values say {value}")
    elif seen.count > seen.nonfinite and not (stated["min"] - 1e-6 * abs(stated["min"]) <= seen.min
                                              and seen.max <= stated["max"] + 1e-6 * abs(stated["max"])):
        raise ValueError(f"statistics: the sample reaches from {seen.min} to {seen.max}, outside min and max")


def check_index(folder, index):
    seen = set()
    for place, step in enumerate(index["steps"]):
        if step["index"] != place:
            raise ValueError(f"steps[{place}] has index {step['index']}")
    for entry in index["tensors"]:
        key = entry["name"], entry["step"]
        if key in seen:
            raise ValueError(f"{entry['name']} of step {entry['step']} is listed twice")
        seen.add(key)
        if len(entry["axes"]) != len(entry["shape"]) or entry["step"] >= len(index["steps"]):
            raise ValueError(f"{entry['name']}: axes, shape or step do not fit")
    listed = {entry[key] for entry in index["tensors"] for key in ("file", "npy") if key in entry}
    there = {path.relative_to(folder).as_posix() for path in (folder / "tensors").iterdir()}
    if listed != there:
        raise ValueError(f"files listed and not there: {sorted(listed - there)[:3]}; "
                         f"there and not listed: {sorted(there - listed)[:3]}")


def validate(folder):
    """Yields (what was checked, error or None)."""
    try:
        index = read_json((folder / "trace.json").read_text(encoding="utf-8"))
        error = first_error(INDEX, index)
        if not error:
            check_index(folder, index)
    except (OSError, ValueError) as problem:
        error = str(problem)
    yield folder / "trace.json", error
    for entry in [] if error else index["tensors"]:
        if "file" not in entry:
            continue
        try:
            check_tensor_file(folder, entry)
            yield folder / entry["file"], None
        except (OSError, ValueError) as problem:
            yield folder / entry["file"], str(problem)


def main(folders):
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    passed = failed = 0
    for folder in folders:
        for what, error in validate(Path(folder)):
            if error is None:
                passed += 1
            else:
                failed += 1
                print(f"{what}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
