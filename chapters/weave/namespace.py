"""What an expression in a chapter may name: traces, weights, sizes, facts, numpy and arithmetic."""

import json
import math
import re
import struct

import numpy as np

import sizes
from problem import Problem, near
from traces import MODEL, ROOT, RUNS, BookTrace

FACTS = ROOT / "chapters" / "facts.json"
OLDER_NAMES = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_model.", "vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
)


class Weights:
    """The shipped model's tensors by their hub names, in either naming scheme of the file."""

    def __init__(self):
        self.names = None

    def open(self):
        file = MODEL / "model.safetensors"
        with open(file, "rb") as opened:
            length = struct.unpack("<Q", opened.read(8))[0]
            header = json.loads(opened.read(length))
        self.data, self.names = np.memmap(file, np.uint8, "r", offset=8 + length), {}
        for name, entry in header.items():
            if name != "__metadata__":
                for newer, hub in OLDER_NAMES:
                    if name.startswith(newer):
                        name = hub + name[len(newer) :]
                        break
                self.names[name] = entry

    def __getitem__(self, name):
        if self.names is None:
            self.open()
        if name not in self.names:
            raise Problem(f"the model has no weight {name!r}; {near(name, self.names)}")
        entry = self.names[name]
        start, end = entry["data_offsets"]
        raw = self.data[start:end]
        if entry["dtype"] == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view({"F32": np.float32, "F16": np.float16, "I64": np.int64}[entry["dtype"]])
        return values.reshape(entry["shape"])

    def keys(self):
        if self.names is None:
            self.open()
        return list(self.names)


def preset(name):
    """The released model's sizes, as viz's preset has them: read from its source, so that there is one
    list."""
    file = ROOT / "viz" / "graphs" / "model_sizes.cpp"
    body = re.search(r"^ModelSizes preset_sizes\(.*?^}", file.read_text(), re.M | re.S)
    if body is None:
        raise Problem(f"{file.relative_to(ROOT)}: no function preset_sizes, from which the presets are read")
    common, *branches = re.split(r'preset == "', body.group(0))
    own = next((branch for branch in branches if branch.startswith(name + '"')), "")
    sizes = {}
    for text in (common, own.split("} else")[0]):
        for key, value in re.findall(r"sizes\.(\w+) = ([^;]+);", text):
            if value.isdigit():
                sizes[key] = int(value)
            elif value.startswith("{"):
                sizes[key] = [int(number) for number in re.findall(r"\d+", value)]
    if "d_text" not in sizes or "d_vision" not in sizes:
        raise Problem(f"{file.relative_to(ROOT)}: the sizes of preset {name} were not found")
    sizes["cross_layers"] = list(range(3, sizes["n_text_layers"], 5))
    sizes["n_patches"] = (sizes["tile_size"] // sizes["patch_size"]) ** 2 + 1
    sizes["n_keys"] = sizes["max_tiles"] * sizes["n_patches"]
    sizes["d_vision_output"] = sizes["d_vision"] * (len(sizes["kept_layers"]) + 1)
    return sizes


def facts():
    return json.loads(FACTS.read_text())


def fact(key):
    known = facts()
    if key not in known:
        raise Problem(f"chapters/facts.json has no {key!r}; {near(key, known)}")
    return known[key]["value"]


def json_file(file):
    if not (ROOT / file).is_file():
        raise Problem(f"no such file: {file}")
    return json.loads((ROOT / file).read_text())


def printed(runs, command, piece):
    """What a command prints where the pattern's first group stands; a number when it reads as one."""
    found = re.search(piece, runs.output(command), re.M)
    if found is None:
        raise Problem(f"`{command}` prints nothing like {piece!r}")
    text = found.group(1)
    return (
        int(text)
        if re.fullmatch(r"-?\d+", text)
        else float(text) if re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", text) else text
    )


def make_namespace(runs):
    names = {name: BookTrace(name) for name in RUNS}
    names |= {
        "weights": Weights(),
        "config": json.loads((MODEL / "config.json").read_text()),
        "np": np,
        "fact": fact,
        "preset11b": preset("11b"),
        "preset90b": preset("90b"),
        "pi": math.pi,
        "e": math.e,
        "tokenizer": json.loads((MODEL / "tokenizer.json").read_text()),
        "preprocessor": json.loads((MODEL / "preprocessor_config.json").read_text()),
    }
    names |= {
        "own": sizes.own_sizes(json.loads((MODEL / "config.json").read_text())),
        "parameters": sizes.parameters,
        "cache": sizes.cache,
        "operations": sizes.operations,
        "json_file": json_file,
        "case": lambda case: json_file(f"golden/cases/{case}/case.json"),
        "printed": lambda command, piece: printed(runs, command, piece),
    }
    names |= {name: getattr(np, name) for name in ("sqrt", "exp", "log", "tanh", "cos", "sin")}
    plain = (
        round,
        min,
        max,
        sum,
        len,
        abs,
        int,
        float,
        str,
        list,
        dict,
        set,
        tuple,
        sorted,
        zip,
        range,
        enumerate,
        any,
        all,
        repr,
        reversed,
        map,
        bool,
    )
    names |= {function.__name__: function for function in plain}
    # numpy imports inside its reductions, with the builtins of whoever calls it.
    names["__builtins__"] = {"__import__": __import__}
    return names


def evaluate(expression, names):
    try:
        return eval(compile(expression.strip(), "expression", "eval"), names)
    except Problem:
        raise
    except Exception as error:  # whatever a chapter's expression does wrong is its writer's to read
        raise Problem(f"`{expression.strip()}`: {type(error).__name__}: {error}") from None


def split_format(text):
    """`EXPR | FORMAT` -> its two parts; in a row of a table the bar is written \\|."""
    expression, bar, form = text.replace("\\|", "|").rpartition(" | ")
    return (expression.strip(), form.strip()) if bar else (text.strip(), "")


def shown(value, form):
    """The value as it stands in a sentence."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, np.ndarray):
        raise Problem(
            f"the value is an array of shape {list(value.shape)}; one number or word would be right"
        )
    try:
        if form:
            return format(value, form)
    except ValueError as error:
        raise Problem(f"format {form!r}: {error}") from None
    if isinstance(value, float):
        return format(value, ".6g")
    return str(value).replace("\n", "\\n")
