"""Opens a trace in numpy.

    from load_trace import load_trace
    trace = load_trace("DIR")
    trace["language_model.layers.3.cross_attn.probs"]        # array [head, token, key] of step 0
    trace["lm_head", 2]                                       # step 2

Tensors are read when they are asked for. `trace.names()` lists them, `trace.entry(name, step)` is what
trace.json says about one, `trace.header` is the rest of trace.json.
"""

import json
from pathlib import Path, PurePosixPath

import numpy as np

NONFINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


class Trace:
    def __init__(self, folder):
        self.folder = Path(folder)
        with open(self.folder / "trace.json", encoding="utf-8") as file:
            self.header = json.load(file)
        found = (self.header.get("format"), self.header.get("version"))
        if found != ("pictor-trace", 1):
            raise ValueError(
                f"{self.folder / 'trace.json'}: format and version are {found}; want ('pictor-trace', 1)")
        self.steps = self.header["steps"]
        self.entries = self.header.pop("tensors")
        self.index = {(entry["name"], entry["step"]): entry for entry in self.entries}

    def names(self, step=0):
        """Names of a step's tensors in the order of computation."""
        return [entry["name"] for entry in self.entries if entry["step"] == step]

    def entry(self, name, step=0):
        if (name, step) not in self.index:
            raise KeyError(f"{self.folder}: no tensor {name!r} in step {step}")
        return self.index[name, step]

    def __contains__(self, key):
        return (key if isinstance(key, tuple) else (key, 0)) in self.index

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, key):
        name, step = key if isinstance(key, tuple) else (key, 0)
        entry = self.entry(name, step)
        if "npy" in entry:
            array = np.load(self.path(entry["npy"]), allow_pickle=False)
        elif entry["values"] == "all":
            array = self.kept_values(entry)
        else:
            raise ValueError(f"{self.folder}: {name} step {step}: the trace keeps only its statistics"
                             + (" and a sample (see sample())" if entry["values"] == "sample" else "")
                             + "; record with --trace-values all")
        if array.size != int(np.prod(entry["shape"], dtype=object)):
            raise ValueError(
                f"{self.folder}: {name} step {step}: {array.size} values for shape {entry['shape']}")
        return array.reshape(entry["shape"])

    def sample(self, name, step=0):
        """Flat positions and values of a tensor that the trace keeps a sample of."""
        entry = self.entry(name, step)
        kept = entry["sample"]
        return kept["start"] + kept["stride"] * np.arange(kept["count"]), self.kept_values(entry)

    def kept_values(self, entry):
        with open(self.path(entry["file"]), encoding="utf-8") as file:
            # A float may be written without a point, and "-0" as an int would lose its sign.
            values = json.load(file, parse_int=int if entry["dtype"] == "I64" else float)["values"]
        if entry["dtype"] == "I64":
            return np.array(values, dtype=np.int64)
        return np.array([NONFINITE[value] if isinstance(value, str) else value for value in values],
                        dtype=np.float32)

    def path(self, file):
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.folder}: file name {file!r} leads out of the trace")
        return self.folder / path


def load_trace(folder):
    return Trace(folder)
