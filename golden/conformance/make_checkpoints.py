"""Makes the checkpoints of the conformance kit, with the recipe of golden/make_checkpoints.py. Needs torch.

    python golden/conformance/make_checkpoints.py          writes checkpoints/NAME for every name

main     as released: hub names, older style of config, 16 vision heads
heads4   4 vision heads, so that 16 fixed in code are seen
small    hidden states of about 0.003, so that an eps of 1e-6 for 1e-5 changes every number
rope     theta 10000 and llama3 scaling from length 64: constants fixed in code are seen
form-*   the four pairs of naming scheme and style of config
chat     the shipped model's tokenizer and template, for engines that take words and PNG files only

All have what engines are known to take for granted (elsewhere than in the case that asks about it): 16 vision
heads, a vision MLP of 4 x the width, cross-attention layers at a fixed distance, one table of tile
embeddings.
"""

import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent
sys.path.insert(0, str(GOLDEN))

import numpy
import torch

import make_checkpoints as recipe

TEXT = dict(vocab_size=96, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=48, cross_attention_layers=[1, 4], rms_norm_eps=1e-5,
            max_position_embeddings=131072)
VISION = dict(hidden_size=32, num_hidden_layers=5, num_global_layers=2, attention_heads=16,
              intermediate_size=128, image_size=28, patch_size=14, max_num_tiles=4,
              intermediate_layers_indices=[1, 2, 3], norm_eps=1e-5)
FORM_TEXT = dict(TEXT, num_hidden_layers=3, intermediate_size=32, cross_attention_layers=[1], vocab_size=64)
FORM_VISION = dict(VISION, num_hidden_layers=2, num_global_layers=1, intermediate_layers_indices=[1])
CHECKPOINTS = {
    "main": dict(seed=1),
    "heads4": dict(seed=2, heads=4),
    "small": dict(seed=3),
    "rope": dict(seed=4, rope=dict(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                   original_max_position_embeddings=64, theta=10000.0)),
    "form-hub-old": dict(seed=5, text=FORM_TEXT, vision=FORM_VISION),
    "form-hub-new": dict(seed=6, text=FORM_TEXT, vision=FORM_VISION, config="new"),
    "form-new-old": dict(seed=7, text=FORM_TEXT, vision=FORM_VISION, names="new"),
    "form-new-new": dict(seed=8, text=FORM_TEXT, vision=FORM_VISION, names="new", config="new"),
    "chat": dict(seed=9, text=dict(TEXT, vocab_size=512)),
}
SMALL = 0.003


def make_small(tensors):
    """Scales what feeds the norms, so that mean squares are about as large as eps."""
    for name in tensors:
        in_vision = name.startswith("model.vision_model.")
        if (in_vision and
            (("embedding" in name and not name.endswith("gate")) or "layernorm_p" in name or "o_proj" in name
             or "fc2" in name) and "post_attention" not in name) or (not in_vision and any(
                 part in name
                 for part in ("embed_tokens", "o_proj", "down_proj", "cross_attn.q_proj", "projector.bias"))):
            tensors[name] = tensors[name] * numpy.float32(SMALL)
        elif "cross_attn.v_proj" in name:  # what is seen counts as much as what is read
            tensors[name] = tensors[name] / numpy.float32(SMALL)
    return tensors


def settings_of(form, text, vision):
    style = form.get("config", "old")
    settings = recipe.config(text, vision, style, "F32")
    if "rope" in form:
        rope = dict(form["rope"], rope_type="llama3")
        theta = rope.pop("theta")
        if style == "new":
            settings["text_config"]["rope_parameters"] = dict(rope, rope_theta=theta)
        else:
            settings["text_config"].update(rope_scaling=rope, rope_theta=theta)
    return settings


def write_chat_files(folder, settings):
    """Tokenizer, template and ids of the shipped model; 512 pieces, the special ones from 480 on."""
    shipped = GOLDEN.parent / "models" / "pictor"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        shutil.copy(shipped / name, folder / name)
    generation = json.loads((shipped / "generation_config.json").read_text())
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        settings["text_config"][key] = generation[key]
    recipe.write_json(folder / "generation_config.json", generation)


def make(name):
    form = CHECKPOINTS[name]
    text, vision = dict(form.get("text", TEXT)), dict(form.get("vision", VISION))
    vision["attention_heads"] = form.get("heads", vision["attention_heads"])
    folder = HERE / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = recipe.parameters(text, vision, 100 + form["seed"], shared_tiles=True)
    if name == "small":
        tensors = make_small(tensors)
    renamed = {}
    for key, value in tensors.items():
        key = key if form.get("names") == "new" else recipe.hub_name(key)
        renamed[key] = torch.from_numpy(numpy.ascontiguousarray(value))
    recipe.write_weights(folder, renamed, 1)
    settings = settings_of(form, text, vision)
    tokens = {key: settings["text_config"][key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    recipe.write_json(folder / "generation_config.json", tokens)
    if name == "chat":
        write_chat_files(folder, settings)
    recipe.write_json(folder / "config.json", settings)
    recipe.write_json(folder / "preprocessor_config.json", {
        "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.45, 0.55, 0.4], "image_processor_type": "MllamaImageProcessor",
        "image_std": [0.3, 0.22, 0.35], "max_image_tiles": vision["max_num_tiles"], "resample": 2,
        "rescale_factor": 1 / 255, "size": {"height": vision["image_size"], "width": vision["image_size"]},
        **({"processor_class": "MllamaProcessor"} if name == "chat" else {})})
    print(f"{name}: {sum(path.stat().st_size for path in folder.iterdir()) // 1000} kB")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CHECKPOINTS:
        make(wanted)
