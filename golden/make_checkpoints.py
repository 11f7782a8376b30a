"""Makes the tiny random checkpoints that the golden cases run on.

Every parameter is random and of a size that matters: gates far from 0, norms far from 1, biases far from 0,
so that a step which forgets one of them is seen. Sizes differ wherever the architecture lets them.

    python golden/make_checkpoints.py            writes golden/checkpoints/NAME for every name
    python golden/make_checkpoints.py base f16   only these

The numbers come from numpy's default_rng with fixed seeds: running it again writes the same bytes.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent / "checkpoints"

TEXT = dict(vocab_size=96, hidden_size=32, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=44, cross_attention_layers=[1, 3], rms_norm_eps=1e-5,
            max_position_embeddings=131072)
VISION = dict(hidden_size=18, num_hidden_layers=5, num_global_layers=2, attention_heads=3,
              intermediate_size=40, image_size=14, patch_size=7, max_num_tiles=4,
              intermediate_layers_indices=[1, 2, 4], norm_eps=1e-5)
# One self-attention layer behind a cross layer that text alone skips: enough for positions past 8192.
LONG_TEXT = dict(vocab_size=24, hidden_size=8, num_hidden_layers=2, num_attention_heads=1,
                 num_key_value_heads=1, intermediate_size=12, cross_attention_layers=[0], rms_norm_eps=1e-5,
                 max_position_embeddings=131072)
LONG_VISION = dict(hidden_size=6, num_hidden_layers=2, num_global_layers=1, attention_heads=2,
                   intermediate_size=10, image_size=14, patch_size=7, max_num_tiles=4,
                   intermediate_layers_indices=[1], norm_eps=1e-5)
# What Meta's code has fixed: factor 8, low 1, high 4, original length 8192.
ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=8192)
ROPE_THETA = 500000.0

# How each checkpoint is written. names: "new" (model.language_model...) or "hub" (language_model.model...).
# shared_tiles: tile embeddings come from one [h][w] table, as the converted released weights do (then Meta's
# code can run them too); otherwise every aspect ratio id has rows of its own, absent tiles included, as the
# format allows.
CHECKPOINTS = {
    "base": dict(names="new", config="new", dtype="F32", shards=1, shared_tiles=True),
    "shards": dict(names="hub", config="old", dtype="F32", shards=3, shared_tiles=True),
    "bf16": dict(names="hub", config="old", dtype="BF16", shards=1, shared_tiles=True),
    "f16": dict(names="new", config="new", dtype="F16", shards=1, shared_tiles=True),
    "own_tiles": dict(names="new", config="new", dtype="F32", shards=1, shared_tiles=False),
    "long": dict(names="new", config="new", dtype="F32", shards=1, shared_tiles=True),
    "small": dict(names="new", config="new", dtype="F32", shards=1, shared_tiles=True),
}
# What feeds a norm in `small`, so that its mean square is near the norm's eps of 1e-5: an eps of 1e-6 then
# shows.
SMALL = {
    "embed_tokens.weight": 0.003, "cross_attn.q_proj.weight": 0.003, "cross_attn.k_proj.weight": 0.003,
    "patch_embedding.weight": 0.002, "class_embedding": 0.003, "positional_embedding.embedding.weight": 0.003,
    "gated_positional_embedding.embedding": 0.003, "tile_embedding.weight": 0.003,
    "layernorm_pre.weight": 0.003, "layernorm_pre.bias": 0.003}
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def aspect_ratios(max_tiles):
    """(h, w) grids of at most max_tiles tiles, in the order of their ids."""
    return [[h, w] for h in range(1, max_tiles + 1) for w in range(1, max_tiles + 1) if h * w <= max_tiles]


class Random:
    def __init__(self, seed):
        self.generator = numpy.random.default_rng(seed)

    def normal(self, *shape, std=1.0, mean=0.0):
        return (mean + std * self.generator.standard_normal(shape)).astype(numpy.float32)

    def linear(self, n_out, n_in, gain=1.0):
        return self.normal(n_out, n_in, std=gain / math.sqrt(n_in))

    def gate(self):
        """Far from 0, and tanh(gate) far from gate."""
        sign = self.generator.choice([-1.0, 1.0])
        return numpy.asarray([sign * self.generator.uniform(0.5, 1.3)], dtype=numpy.float32)


def tile_rows(random, vision, width, std, shared):
    """[aspect ratio id][tile * width]; id 0 stands for no picture."""
    ratios = aspect_ratios(vision["max_num_tiles"])
    tiles = vision["max_num_tiles"]
    rows = random.normal(len(ratios) + 1, tiles, width, std=std)
    if shared:
        table = random.normal(tiles, tiles, width, std=std)
        rows[:] = 0
        for index, (h, w) in enumerate(ratios):
            rows[index + 1, : h * w] = table[:h, :w].reshape(h * w, width)
    return rows.reshape(len(ratios) + 1, tiles * width)


def vision_parameters(random, vision, shared_tiles):
    d, d_mlp, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    n_patches = (vision["image_size"] // patch) ** 2 + 1
    out = {}
    out["class_embedding"] = random.normal(d)
    out["patch_embedding.weight"] = random.linear(d, 3 * patch * patch).reshape(d, 3, patch, patch)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        out[f"{name}.embedding.weight"] = tile_rows(random, vision, d, 0.7, shared_tiles)
        out[f"{name}.gate"] = random.gate()
    out["gated_positional_embedding.embedding"] = random.normal(n_patches, d, std=0.7)
    tiles = tile_rows(random, vision, n_patches * d, 0.7, shared_tiles)
    out["gated_positional_embedding.tile_embedding.weight"] = tiles
    out["gated_positional_embedding.gate"] = random.gate()
    for name in ("layernorm_pre", "layernorm_post"):
        out[f"{name}.weight"] = random.normal(d, std=0.3, mean=1.0)
        out[f"{name}.bias"] = random.normal(d, std=0.3)
    for encoder, n_layers in (("transformer", vision["num_hidden_layers"]),
                              ("global_transformer", vision["num_global_layers"])):
        for layer in range(n_layers):
            prefix = f"{encoder}.layers.{layer}."
            for name in ("q_proj", "k_proj"):
                out[f"{prefix}self_attn.{name}.weight"] = random.linear(d, d, gain=1.2)
            for name in ("v_proj", "o_proj"):
                out[f"{prefix}self_attn.{name}.weight"] = random.linear(d, d)
            for name in ("input_layernorm", "post_attention_layernorm"):
                out[f"{prefix}{name}.weight"] = random.normal(d, std=0.3, mean=1.0)
                out[f"{prefix}{name}.bias"] = random.normal(d, std=0.3)
            out[f"{prefix}mlp.fc1.weight"] = random.linear(d_mlp, d, gain=1.3)
            out[f"{prefix}mlp.fc1.bias"] = random.normal(d_mlp, std=0.4)
            out[f"{prefix}mlp.fc2.weight"] = random.linear(d, d_mlp)
            out[f"{prefix}mlp.fc2.bias"] = random.normal(d, std=0.3)
            if encoder == "global_transformer":
                out[f"{prefix}gate_attn"] = random.gate()
                out[f"{prefix}gate_ffn"] = random.gate()
    return out


def text_parameters(random, text):
    d, d_mlp = text["hidden_size"], text["intermediate_size"]
    d_head = d // text["num_attention_heads"]
    d_kv = text["num_key_value_heads"] * d_head
    out = {}
    out["embed_tokens.weight"] = random.normal(text["vocab_size"] + 8, d)
    for layer in range(text["num_hidden_layers"]):
        prefix = f"layers.{layer}."
        is_cross = layer in text["cross_attention_layers"]
        attention = prefix + ("cross_attn." if is_cross else "self_attn.")
        out[f"{attention}q_proj.weight"] = random.linear(d, d, gain=1.3)
        out[f"{attention}k_proj.weight"] = random.linear(d_kv, d, gain=1.3)
        out[f"{attention}v_proj.weight"] = random.linear(d_kv, d)
        out[f"{attention}o_proj.weight"] = random.linear(d, d)
        if is_cross:
            out[f"{attention}q_norm.weight"] = random.normal(d_head, std=0.3, mean=1.1)
            out[f"{attention}k_norm.weight"] = random.normal(d_head, std=0.3, mean=1.1)
            out[f"{prefix}cross_attn_attn_gate"] = random.gate()
            out[f"{prefix}cross_attn_mlp_gate"] = random.gate()
        out[f"{prefix}input_layernorm.weight"] = random.normal(d, std=0.3, mean=1.0)
        out[f"{prefix}post_attention_layernorm.weight"] = random.normal(d, std=0.3, mean=1.0)
        out[f"{prefix}mlp.gate_proj.weight"] = random.linear(d_mlp, d, gain=1.3)
        out[f"{prefix}mlp.up_proj.weight"] = random.linear(d_mlp, d, gain=1.3)
        out[f"{prefix}mlp.down_proj.weight"] = random.linear(d, d_mlp)
    out["norm.weight"] = random.normal(d, std=0.3, mean=1.0)
    return out


def parameters(text, vision, seed, shared_tiles):
    """Every parameter under the newer names."""
    random = Random(seed)
    d_vision = vision["hidden_size"] * (1 + len(vision["intermediate_layers_indices"]))
    out = {}
    for name, value in vision_parameters(random, vision, shared_tiles).items():
        out[f"model.vision_model.{name}"] = value
    out["model.multi_modal_projector.weight"] = random.linear(text["hidden_size"], d_vision)
    out["model.multi_modal_projector.bias"] = random.normal(text["hidden_size"], std=0.4)
    for name, value in text_parameters(random, text).items():
        out[f"model.language_model.{name}"] = value
    out["lm_head.weight"] = random.linear(text["vocab_size"], text["hidden_size"], gain=2.0)
    return out


def hub_name(name):
    """The same parameter under the names of the released checkpoints."""
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    return name.removeprefix("model.")


def config(text, vision, style, dtype):
    vocabulary = text["vocab_size"]
    tokens = dict(bos_token_id=vocabulary - 4, eos_token_id=[vocabulary - 3, vocabulary - 2],
                  pad_token_id=vocabulary - 1)
    text = dict(text, model_type="mllama_text_model", hidden_act="silu", tie_word_embeddings=False,
                dropout=0.0, use_cache=True, **tokens)
    vision = dict(vision, model_type="mllama_vision_model", hidden_act="gelu", num_channels=3,
                  vision_output_dim=vision["hidden_size"] * (1 + len(vision["intermediate_layers_indices"])),
                  supported_aspect_ratios=aspect_ratios(vision["max_num_tiles"]))
    dtype_name = str(DTYPES[dtype]).removeprefix("torch.")
    if style == "new":
        text["rope_parameters"] = dict(ROPE, rope_theta=ROPE_THETA)
    else:
        text["rope_scaling"] = dict(ROPE)
        text["rope_theta"] = ROPE_THETA
    return {"architectures": ["MllamaForConditionalGeneration"], "model_type": "mllama",
            "dtype" if style == "new" else "torch_dtype": dtype_name,
            "image_token_index": vocabulary, "text_config": text, "vision_config": vision}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_weights(folder, tensors, shards):
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    # Dealt round, so that the parameters of one layer lie in several files.
    place = {name: files[i % shards] for i, name in enumerate(tensors)}
    for file in files:
        part = {name: value for name, value in tensors.items() if place[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": place})


def make(name):
    form = CHECKPOINTS[name]
    text, vision = (LONG_TEXT, LONG_VISION) if name == "long" else (TEXT, VISION)
    seed = {"long": 8192, "own_tiles": 7}.get(name, 32)  # base, shards, bf16 and f16 hold the same numbers
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dtype = DTYPES[form["dtype"]]
    tensors = {}
    for key, value in parameters(text, vision, seed, form["shared_tiles"]).items():
        if name == "small":
            value = value * numpy.float32(
                next((scale for end, scale in SMALL.items() if key.endswith(end)), 1))
        key = hub_name(key) if form["names"] == "hub" else key
        tensors[key] = torch.from_numpy(numpy.ascontiguousarray(value)).to(dtype)
    write_weights(folder, tensors, form["shards"])
    settings = config(text, vision, form["config"], form["dtype"])
    write_json(folder / "config.json", settings)
    tokens = {key: settings["text_config"][key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", tokens)
    write_json(folder / "preprocessor_config.json", {
        "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "MllamaImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711], "max_image_tiles": vision["max_num_tiles"],
        "resample": 2, "rescale_factor": 1 / 255,
        "size": {"height": vision["image_size"], "width": vision["image_size"]}})
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"{name}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} parameters, "
        f"{size // 1000} kB"
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CHECKPOINTS:
        make(wanted)
