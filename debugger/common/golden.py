"""A recorded trace as a debugger compares with it: numbers by tensor and step, and what differs."""

import array
import fnmatch
import json
import math
import os

from pictor_debugger.common.layout import shape_text

# Two orders of adding differ by about sqrt(n) 2^-24 of the terms; through all layers by this share of the
# tensor's largest number.
NOISE_OF_LARGEST = 2e-5


class Golden:
    def __init__(self, folder, policy_file):
        path = os.path.join(folder, "trace.json")
        try:
            with open(path, encoding="utf-8") as file:
                self.index = json.load(file)
            if self.index.get("format") != "pictor-trace":
                raise ValueError('its format is not "pictor-trace"')
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder}: cannot be read as a trace: {error}; `build/reference run ... --trace DIR` "
                "records one"
            ) from None
        self.folder = folder
        self.entries = {(entry["name"], entry["step"]): entry for entry in self.index["tensors"]}
        try:
            with open(policy_file, encoding="utf-8") as file:
                self.policy = {
                    glob: rule for glob, rule in json.load(file).items() if isinstance(rule, dict)
                }
        except (OSError, ValueError):
            self.policy = {}
        self._loaded = (None, None, 0.0)

    def tolerance(self, name, largest):
        matching = [glob for glob in self.policy if fnmatch.fnmatchcase(name, glob)]
        rule = self.policy[max(matching, key=lambda glob: len(glob) - glob.count("*"))] if matching else {}
        return max(rule.get("atol", 0.0), NOISE_OF_LARGEST * largest), rule.get("rtol", 0.0)

    def numbers(self, entry):
        """{flat index: number} or a list, and the largest size; (None, 0) without numbers in the trace."""
        key = (entry["name"], entry["step"])
        if self._loaded[0] != key:
            values = None
            if entry.get("file") and entry["values"] != "none":
                with open(os.path.join(self.folder, entry["file"]), encoding="utf-8") as file:
                    content = json.load(file)
                values = [float(v) for v in content["values"]]
                if (
                    entry["dtype"] == "F32"
                ):  # written as the shortest decimal that reads back to the same float
                    values = array.array("f", values).tolist()
                if entry["values"] == "sample":
                    values = dict(zip(sampled_positions(content, entry), values))
            finite = [
                abs(v)
                for v in (values.values() if isinstance(values, dict) else values or [])
                if math.isfinite(v) and v > -3.4e38
            ]
            self._loaded = (key, values, max(finite, default=0.0))
        return self._loaded[1], self._loaded[2]

    def differences(self, name, step, first, block):
        """What differs in block, numbers first ... of a tensor: [(flat index, here, there)] and the tolerance
        used; None when the trace cannot say."""
        entry = self.entries.get((name, step))
        if entry is None:
            return None
        values, largest = self.numbers(entry)
        if values is None:
            return None
        atol, rtol = self.tolerance(name, largest)
        found = []
        for place, here in enumerate(block):
            index = first + place
            if isinstance(values, dict) and index not in values:
                continue
            there = values[index]
            if not same(here, there, atol, rtol):
                found.append((index, here, there))
        return found, atol + rtol * largest


def same(here, there, atol, rtol):
    if here != here or there != there:
        return here != here and there != there
    return here == there or abs(here - there) <= atol + rtol * abs(there)


def sampled_positions(content, entry):
    sample = content.get("sample") or entry.get("sample") or {"start": 0, "stride": 1}
    return range(
        sample["start"], sample["start"] + len(content["values"]) * sample["stride"], sample["stride"]
    )


def place_text(entry, flat):
    """[token 5, head 2] of a flat index."""
    indices = []
    for extent in reversed(entry["shape"]):
        flat, index = divmod(flat, extent) if extent else (0, 0)
        indices.insert(0, index)
    words = entry.get("axes") or []
    if len(words) != len(indices):
        return shape_text(indices)
    return "[" + ", ".join(f"{word} {index}" for word, index in zip(words, indices)) + "]"
