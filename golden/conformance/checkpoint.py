"""A checkpoint in numpy: both naming schemes, both styles of config, F32, BF16 and F16. Needs numpy only."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}


def read_safetensors(path):
    """{name: array}; BF16 is widened to float32, F16 is left to the caller."""
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: {name}: dtype {entry['dtype']}; want one of {', '.join(DTYPES)}")
        start, end = entry["data_offsets"]
        array = np.frombuffer(data[8 + size + start:8 + size + end], dtype=DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = array.reshape(entry["shape"])
    return tensors


def read_metadata(path):
    """The texts in a .safetensors file's header."""
    data = Path(path).read_bytes()
    return json.loads(data[8:8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})


def write_safetensors(path, tensors, metadata=None):
    """float32, float16 and int64 arrays; a (array, "BF16") pair keeps the upper half of each float32."""
    header, parts, offset = {"__metadata__": metadata} if metadata else {}, [], 0
    for name, value in tensors.items():
        array, dtype = value if isinstance(value, tuple) else (value, None)
        array = np.ascontiguousarray(array)
        if dtype == "BF16":
            array = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        else:
            dtype = {np.dtype(np.float32): "F32",
                     np.dtype(np.float16): "F16",
                     np.dtype(np.int64): "I64"}[array.dtype]
        data = array.tobytes()
        header[name] = {
            "dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def trace_name(name):
    """A parameter's name without what the two schemes differ in: language_model.layers.0...,
    lm_head.weight."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model.model."):
        return "language_model." + name.removeprefix("language_model.model.")
    return name.removeprefix("model.")


@dataclass
class Checkpoint:
    folder: Path
    text: dict      # text_config
    vision: dict    # vision_config
    image_token: int
    mean: np.ndarray
    std: np.ndarray
    weights: dict   # float32 under trace_name

    def rope(self):
        found = dict(self.text.get("rope_parameters") or self.text.get("rope_scaling") or {})
        return {"theta": float(found.get("rope_theta", self.text.get("rope_theta", 500000.0))),
                "factor": found["factor"], "low": found["low_freq_factor"], "high": found["high_freq_factor"],
                "length": found["original_max_position_embeddings"]}

    def __hash__(self):
        return hash(self.folder)


def load_checkpoint(folder):
    folder = Path(folder)
    settings = json.loads((folder / "config.json").read_text())
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, array in read_safetensors(file).items():
            weights[trace_name(name)] = array.astype(np.float32)
    picture = json.loads((folder / "preprocessor_config.json").read_text())
    return Checkpoint(folder, settings["text_config"], settings["vision_config"],
                      settings["image_token_index"], np.array(picture["image_mean"], np.float32),
                      np.array(picture["image_std"], np.float32), weights)
