"""What record_transformers.py and record_meta.py share: reading a checkpoint's sizes and a run's exact
inputs."""

import json
import sys
from pathlib import Path

import numpy
from safetensors import SafetensorError
from safetensors.numpy import load_file

BAD_INPUT = (OSError, ValueError, RuntimeError, SafetensorError)  # told in one line, exit 2


def read_settings(folder):
    """config.json as it stands."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; --model wants the folder of a checkpoint")
    return json.loads(path.read_text())


def rope_settings(text):
    """theta and the llama3 scaling, whichever of the two styles of config holds them."""
    rope = dict(text.get("rope_parameters") or text.get("rope_scaling") or {})
    theta = rope.get("rope_theta", text.get("rope_theta", 500000.0))
    scaled = rope.get("rope_type", rope.get("type", "default")) == "llama3"
    return {
        "theta": theta, "scaled": scaled, "factor": rope.get("factor", 8.0),
        "low_freq_factor": rope.get("low_freq_factor",
                                    1.0), "high_freq_factor": rope.get("high_freq_factor", 4.0),
        "original_length": rope.get("original_max_position_embeddings", 8192)}


def describe_picture(folder, vision):
    """How pictures become pixel values; CLIP's mean and std where no file says."""
    path = Path(folder) / "preprocessor_config.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {"mean": found.get("image_mean", [0.48145466, 0.4578275, 0.40821073]),
            "std": found.get("image_std", [0.26862954, 0.26130258, 0.27577711]),
            "rescale_factor": found.get("rescale_factor", 1 / 255), "tile_size": vision["image_size"],
            "max_tiles": vision["max_num_tiles"]}


def describe_model(settings, folder):
    """The field `model` of trace.json."""
    text, vision = settings["text_config"], settings["vision_config"]
    n = vision["image_size"] // vision["patch_size"]
    return {
        "text": {
            "n_vocabulary": text["vocab_size"], "d_model": text["hidden_size"],
            "n_layers": text["num_hidden_layers"], "n_heads": text["num_attention_heads"],
            "n_kv_heads": text["num_key_value_heads"],
            "d_head": text["hidden_size"] // text["num_attention_heads"], "d_mlp": text["intermediate_size"],
            "cross_attention_layers": text["cross_attention_layers"], "rms_norm_eps": text["rms_norm_eps"],
            "rope": rope_settings(text), "max_positions": text.get("max_position_embeddings", 131072)},
        "vision": {
            "d_model": vision["hidden_size"], "n_layers": vision["num_hidden_layers"],
            "n_global_layers": vision["num_global_layers"], "n_heads": vision["attention_heads"],
            "d_head": vision["hidden_size"] // vision["attention_heads"],
            "d_mlp": vision["intermediate_size"], "tile_size": vision["image_size"],
            "patch_size": vision["patch_size"], "max_tiles": vision["max_num_tiles"],
            "kept_layers": vision["intermediate_layers_indices"],
            "aspect_ratios": vision["supported_aspect_ratios"],
            "layer_norm_eps": vision.get("norm_eps", 1e-5), "patches_per_side": n, "n_patches": n * n + 1,
            "n_padded_patches": (n * n + 8) // 8 * 8, "d_output": vision["hidden_size"] *
            (1 + len(vision["intermediate_layers_indices"]))},
        "picture": describe_picture(folder, vision),
        "image_token": settings.get("image_token_index", settings.get("image_token_id")),}


def describe_images(inputs, settings):
    """The field `images` of trace.json, as far as tensors alone can tell."""
    vision = settings["vision_config"]
    ratios = vision["supported_aspect_ratios"]
    return [{"tiles": ratios[i - 1] if i > 0 else [0, 0], "tile_size": vision["image_size"],
             "patch_size": vision["patch_size"], "aspect_ratio_id": int(i)}
            for i in inputs.get("aspect_ratio_ids", [])]


def read_inputs(path, settings):
    """The tensors of `reference forward --inputs`, checked against the checkpoint's sizes."""
    inputs = load_file(path)
    vision = settings["vision_config"]
    tiles, size = vision["max_num_tiles"], vision["image_size"]
    if "input_ids" not in inputs:
        raise ValueError(f"{path}: no input_ids")
    n_tokens = len(inputs["input_ids"])
    n_images = len(inputs["pixel_values"]) if "pixel_values" in inputs else 0
    wanted = {"input_ids": (n_tokens,)}
    if n_images:
        wanted |= {"pixel_values": (n_images, tiles, 3, size, size), "aspect_ratio_ids": (n_images,),
                   "aspect_ratio_mask": (n_images, tiles)}
        if "cross_attention_mask" in inputs:
            wanted["cross_attention_mask"] = (n_tokens, n_images, tiles)
    for name, shape in wanted.items():
        found = inputs[name].shape if name in inputs else None
        if found != shape:
            raise ValueError(f"{path}: {name}: found shape {found}, want {shape}")
        want_type = numpy.float32 if name == "pixel_values" else numpy.int64
        if inputs[name].dtype != want_type:
            raise ValueError(f"{path}: {name}: found {inputs[name].dtype}, want {numpy.dtype(want_type)}")
    n_embeddings = settings["text_config"]["vocab_size"] + 8
    outside = [int(i) for i in inputs["input_ids"] if not 0 <= i < n_embeddings]
    if n_tokens == 0 or outside:
        raise ValueError(
            f"{path}: input_ids: found {outside[:3] or 'none'}, want ids from 0 to {n_embeddings - 1}")
    return {name: inputs[name] for name in wanted}


def generated_mask_row(mask, rules):
    """The cross-attention mask row of a generated token.

    With one picture both references go on looking at it. With several, Meta's last interval ends with the
    prompt, so that generated tokens see no picture; transformers repeats the last row.
    """
    if rules == "meta" and mask.shape[1] > 1:
        return numpy.zeros_like(mask[-1:])
    return mask[-1:]


def record_step_inputs(writer, step_ids, mask_rows, inputs=None, pixel_dtype="F32"):
    """input_ids and masks of one step; with `inputs` (the first step) also the images."""
    writer.tensor("input_ids", "token", numpy.asarray(step_ids, dtype=numpy.int64), dtype="I64", source=None)
    if inputs is not None and "pixel_values" in inputs:
        writer.tensor("pixel_values", "image tile colour row column", inputs["pixel_values"],
                      dtype=pixel_dtype, source=None)
        writer.tensor("aspect_ratio_ids", "image", inputs["aspect_ratio_ids"], dtype="I64", source=None)
    if mask_rows is not None:
        writer.tensor("cross_attention_mask", "token image tile", mask_rows, dtype="I64", source=None)
        sees = (mask_rows != 0).any(axis=(1, 2)).astype(numpy.int64)
        writer.tensor("full_text_row_masked_out_mask", "token", sees, dtype="I64", source=None)


def calling_line():
    """file:line of the reference implementation that is being run, found on the call stack; "" when none
    is."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename.replace("\\", "/")
        for package in ("/llama_models/llama3/", "/transformers/models/mllama/"):
            if package in path:
                return f"{path[path.rindex(package) + 1:]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def token_texts(ids, folder=""):
    """What each token says, when the checkpoint's folder has a tokenizer.json; else its number."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        return [str(i) for i in ids]
    from tokenizers import Tokenizer  # transformers needs this package, too

    tokenizer = Tokenizer.from_file(str(path))
    return [tokenizer.decode([i], skip_special_tokens=False) for i in ids]


def describe_prompt(inputs, folder=""):
    """The field `prompt` of trace.json."""
    ids = inputs["input_ids"].tolist()
    texts = token_texts(ids, folder)
    has_words = (Path(folder) / "tokenizer.json").is_file()
    return {"text": "".join(texts) if has_words else "", "token_ids": ids, "token_texts": texts}


class ArrayWriter:
    """Keeps tensors in memory instead of writing them: {(step, name): array}. For comparisons inside
    Python."""

    def __init__(self):
        self.fields, self.steps, self.arrays = {}, [], {}

    def describe(self, key, value):
        self.fields[key] = value

    def begin_step(self, kind, first_token, token_count):
        self.steps.append((kind, first_token, token_count))

    def tensor(self, name, axes, array, dtype="F32", source=None):
        key = (len(self.steps) - 1, name)
        if key in self.arrays:
            raise ValueError(f"{name}: recorded twice in step {key[0]}")
        if len(axes.split()) != array.ndim:
            raise ValueError(f"{name}: axes '{axes}' for shape {array.shape}")
        self.arrays[key] = numpy.array(array)

    def wants(self, name):
        return True
