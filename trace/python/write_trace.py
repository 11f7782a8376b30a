"""Writes a trace from Python, in the format of trace/README.md. Needs numpy only.

    with TraceWriter("DIR", producer="my engine 1.0", reference="transformers") as trace:
        trace.describe("prompt", {"text": ..., "token_ids": [...], "token_texts": [...]})
        trace.begin_step("prefill", first_token=0, token_count=9)
        trace.tensor("lm_head", "token vocabulary", logits)

The folder appears when the `with` block ends without an exception, complete or not at all.
"""

import fnmatch
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np

DTYPES = ("F32", "BF16", "F16", "I64")
TOP_LEVEL = ("reference", "producer", "model", "prompt", "images", "generated")
NUMBERS_AT_ONCE = 1 << 16
SAMPLED_VALUES_PER_LINE = 16


def statistics_of(values):
    """Over all of a flat array: NaN and infinities are counted and left out of the rest."""
    with np.errstate(invalid="ignore"):  # a signalling NaN is no news here
        values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        numbers = dict.fromkeys(("min", "max", "mean", "std"), None) | {"l2": 0}
    else:
        numbers = {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "std": finite.std(),
                   "l2": math.sqrt(float(np.dot(finite, finite)))}
        numbers = {key: float(value) for key, value in numbers.items()}
    return numbers | {
        "zeros": int(np.count_nonzero(finite == 0)), "nonfinite": int(values.size - finite.size)}


def number_texts(values):
    """The shortest decimal that reads back to the same number, for each of a flat array."""
    texts = list(map(str, values))
    if values.dtype != np.int64:
        for place in np.flatnonzero(~np.isfinite(values)):
            value = values[place]
            texts[place] = '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'
    return texts


def sample_stride(size, at_most):
    """Distance of kept numbers: without a factor in common with the size, so that they wander over every
    axis."""
    stride = -(-size // at_most)
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def write_values(file, values, per_line):
    """Numbers with `per_line` of them on each line, a block of lines at a time."""
    lines = max(1, NUMBERS_AT_ONCE // per_line)
    for start in range(0, values.size, lines * per_line):
        texts = number_texts(values[start:start + lines * per_line])
        block = ",\n".join(",".join(texts[i:i + per_line]) for i in range(0, len(texts), per_line))
        file.write(("" if start == 0 else ",\n") + block)


class TraceWriter:
    """values: "all", "sample" (tensors of more than sample_above numbers keep a fixed stride of them) or
    "none". only: globs over tensor names; empty for every tensor. npy: each tensor whole as .npy too. force:
    replace an existing trace, once the new one is complete."""

    def __init__(self, folder, producer, reference=None, only=(), values="all", sample_above=262144,
                 npy=False, force=False):
        if values not in ("all", "sample", "none"):
            raise ValueError(f"values is {values!r}; want 'all', 'sample' or 'none'")
        self.target = Path(folder).resolve()
        self.only, self.values, self.sample_above, self.npy, self.force = tuple(
            only), values, sample_above, npy, force
        self.check_target()
        self.partial = self.target.parent / f".{self.target.name}.partial-{os.getpid()}"
        (self.partial / "tensors").mkdir(parents=True)
        self.description = {"producer": producer}
        if reference is not None:
            self.describe("reference", reference)
        self.steps, self.entries, self.names_of_step = [], [], set()

    def check_target(self):
        if not self.target.exists():
            return
        if not self.force:
            raise FileExistsError(
                f"{self.target}: exists already; choose another name, or force to replace it")
        index = self.target / "trace.json"
        is_trace = index.is_file() and b'"pictor-trace"' in index.open("rb").read(4096)
        if not self.target.is_dir() or (any(self.target.iterdir()) and not is_trace):
            raise FileExistsError(f"{self.target}: is not a trace, so force does not replace it")

    def describe(self, key, value):
        """A top-level field of trace.json: reference, producer, model, prompt, images or generated."""
        if key not in TOP_LEVEL:
            raise ValueError(f"{key!r} is no field of trace.json; want one of {', '.join(TOP_LEVEL)}")
        self.description[key] = value

    def begin_step(self, kind, first_token, token_count):
        """Tensors from here on belong to this step. kind: "prefill" or "decode"."""
        if kind not in ("prefill", "decode"):
            raise ValueError(f"a step is 'prefill' or 'decode', got {kind!r}")
        self.steps.append({"index": len(self.steps), "kind": kind, "first_token": int(first_token),
                           "token_count": int(token_count)})
        self.names_of_step = set()

    def wants(self, name):
        return not self.only or any(fnmatch.fnmatchcase(name, glob) for glob in self.only)

    def tensor(self, name, axes, array, dtype=None, source="", chapter=""):
        """One tensor of the current step. axes: one word per axis. dtype: what the numbers were when
        computed; by default I64 for whole numbers and F32 for the rest."""
        if not self.wants(name):
            return
        array = np.asarray(array)
        if dtype is None:
            dtype = "I64" if array.dtype.kind in "iub" else "F32"
        if dtype not in DTYPES:
            raise ValueError(f"{name}: dtype {dtype!r}; want one of {', '.join(DTYPES)}")
        array = np.asarray(array, dtype=np.int64 if dtype == "I64" else np.float32, order="C")
        axes = axes.split()
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}", name):
            raise ValueError(f"tensor name {name!r}: want letters, digits, '_', '-' and '.'")
        if len(axes) != array.ndim:
            raise ValueError(
                f"{name}: axes {' '.join(axes)!r} for shape {array.shape}; want one word per axis")
        if not self.steps:
            raise ValueError(f"{name}: comes before begin_step")
        if name in self.names_of_step:
            raise ValueError(f"{name}: appears twice in step {len(self.steps) - 1}")
        self.names_of_step.add(name)
        head = {
            "name": name, "step": len(self.steps) - 1, "axes": axes, "shape": list(array.shape),
            "dtype": dtype}
        self.write_tensor(head, array,
                          {key: text for key, text in (("source", source), ("chapter", chapter)) if text})

    def write_tensor(self, head, array, tail):
        stem = f"tensors/{head['step']:03}-{head['name']}"
        flat, per_line = array.reshape(-1), max(1, array.shape[-1] if array.ndim else 1)
        statistics = statistics_of(flat)
        entry, sample = dict(head), {}
        if self.values == "sample" and flat.size > self.sample_above:
            stride = sample_stride(flat.size, self.sample_above)
            kept, per_line = flat[::stride], SAMPLED_VALUES_PER_LINE
            sample = {"sample": {"start": 0, "stride": stride, "count": int(kept.size)}}
        else:
            kept = flat
        if self.values != "none":
            entry["file"] = stem + ".json"
            with open(self.partial / entry["file"], "w", encoding="ascii") as file:
                file.write(json.dumps(head | sample)[:-1] + ', "values": [\n')
                write_values(file, kept, per_line)
                file.write('\n], "statistics": ' + json.dumps(statistics) + "}\n")
        entry |= {"values": "none" if self.values == "none" else "sample" if sample else "all"} | sample
        entry |= {"statistics": statistics} | tail
        if self.npy:
            entry["npy"] = stem + ".npy"
            np.save(self.partial / entry["npy"], array)
        self.entries.append(json.dumps(entry))

    def finish(self):
        """Writes trace.json and renames the folder into place."""
        with open(self.partial / "trace.json", "w", encoding="utf-8") as file:
            file.write('{\n"format": "pictor-trace",\n"version": 1,\n')
            for key in TOP_LEVEL:
                if key in self.description:
                    file.write(f'"{key}": {json.dumps(self.description[key], ensure_ascii=False)},\n')
            file.write('"steps": [\n' + ",\n".join(map(json.dumps, self.steps)) + '\n],\n"tensors": [\n')
            file.write(",\n".join(self.entries) + "\n]\n}\n")
        old = self.partial.with_name(self.partial.name + ".old")
        if self.target.exists():
            self.check_target()
            self.target.rename(old)
        self.partial.rename(self.target)
        shutil.rmtree(old, ignore_errors=True)

    def abandon(self):
        """Removes what has been written."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is not None:
            self.abandon()
            return
        try:
            self.finish()
        except BaseException:
            self.abandon()
            raise
