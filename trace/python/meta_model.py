"""Meta's own Llama 3.2-Vision modules (llama-models 0.3.0) on one CPU, with the weights of a checkpoint in
transformers' layout.

Meta's forward code stays as it is. What it imports from fairscale (layers split over many GPUs) is replaced
by the same layers unsplit. Meta's sizes of the vision side are constants in its code; the modules are built
here with the checkpoint's.
"""

import sys
import types
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from record_common import rope_settings


# -- Meta's modules on one CPU -------------------------------------------------------------------------------

class Linear(nn.Module):
    """fairscale's ColumnParallelLinear and RowParallelLinear with one part."""

    def __init__(self, n_in, n_out, bias=True, **ignored):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x):
        return functional.linear(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """fairscale's VocabParallelEmbedding with one part."""

    def __init__(self, n_rows, width, **ignored):
        super().__init__(n_rows, width)


def import_meta():
    """Meta's multimodal/model.py, with stand-ins for fairscale and without its collective operations."""
    def module(name, **members):
        sys.modules[name] = types.ModuleType(name)
        for key, value in members.items():
            setattr(sys.modules[name], key, value)
        return sys.modules[name]

    initialize = module("fairscale.nn.model_parallel.initialize", get_model_parallel_world_size=lambda: 1,
                        get_model_parallel_rank=lambda: 0, get_model_parallel_group=lambda: None)
    layers = module("fairscale.nn.model_parallel.layers", ColumnParallelLinear=Linear,
                    RowParallelLinear=Linear, VocabParallelEmbedding=Embedding)
    parallel = module("fairscale.nn.model_parallel", initialize=initialize, layers=layers)
    module("fairscale", nn=module("fairscale.nn", model_parallel=parallel))
    # Cuts pictures into tiles, which is not asked of it here, and would want torchvision.
    module("llama_models.llama3.multimodal.image_transform",
           VariableSizeImageTransform=lambda size: lambda image: None)

    from llama_models.llama3.multimodal import model as meta

    meta.reduce_from_tensor_model_parallel_region = lambda x: x
    meta.gather_from_tensor_model_parallel_region = lambda x: x
    return meta


def split_layers(text):
    """Indices of the self layers, and for each cross layer the self layer it stands before, as Meta counts
    them."""
    cross = text["cross_attention_layers"]
    self_layers = [i for i in range(text["num_hidden_layers"]) if i not in cross]
    for index in cross:
        if index + 1 not in self_layers:
            raise ValueError(
                f"cross-attention layer {index} has no self-attention layer behind it, as Meta's must")
    return self_layers, [self_layers.index(index + 1) for index in cross]


def check_supported(settings):
    rope = rope_settings(settings["text_config"])
    fixed = dict(factor=8, low_freq_factor=1, high_freq_factor=4, original_length=8192)
    for key, value in fixed.items():
        if rope["scaled"] and rope[key] != value:
            raise ValueError(f"rope {key} is {rope[key]}; Meta's code has {value}")
    if settings["vision_config"].get("norm_eps", 1e-5) != 1e-5:
        raise ValueError(f"norm_eps is {settings['vision_config']['norm_eps']}; Meta's code has 1e-5")


def build(meta, settings, max_tokens):
    """Meta's model with the checkpoint's sizes, parameters still to be filled."""
    text, vision = settings["text_config"], settings["vision_config"]
    check_supported(settings)
    d_mlp, d = text["intermediate_size"], text["hidden_size"]
    args = meta.ModelArgs(dim=d, n_layers=text["num_hidden_layers"] - len(text["cross_attention_layers"]),
                          n_heads=text["num_attention_heads"], n_kv_heads=text["num_key_value_heads"],
                          vocab_size=text["vocab_size"],
                          # Rounded up to a multiple of d_mlp from just below it: d_mlp.
                          multiple_of=d_mlp, ffn_dim_multiplier=(d_mlp - 0.5) / int(2 * (4 * d) / 3),
                          norm_eps=text["rms_norm_eps"], rope_theta=rope_settings(text)["theta"],
                          use_scaled_rope=rope_settings(text)["scaled"], max_batch_size=1,
                          max_seq_len=max_tokens, vision_chunk_size=vision["image_size"],
                          vision_max_num_chunks=vision["max_num_tiles"],
                          vision_num_cross_attention_layers=len(text["cross_attention_layers"]))
    encoder, schedule = meta.VisionEncoder, meta.CrossAttentionTransformerText._init_fusion_schedule
    meta.VisionEncoder = lambda **fixed: encoder(**fixed | dict(
        max_num_tiles=vision["max_num_tiles"], patch_size=vision["patch_size"], width=vision["hidden_size"],
        layers=vision["num_hidden_layers"], heads=vision["attention_heads"], mlp_ratio=(vision[
            "intermediate_size"] + 0.5) / vision["hidden_size"], n_global_layers=vision[
                "num_global_layers"], return_intermediate=vision["intermediate_layers_indices"]))
    meta.CrossAttentionTransformerText._init_fusion_schedule = lambda self, n: split_layers(text)[1]
    try:
        model = meta.CrossAttentionTransformer(args)
    finally:
        meta.VisionEncoder, meta.CrossAttentionTransformerText._init_fusion_schedule = encoder, schedule
    model.vision_model.patch_size = vision["patch_size"]
    model.vision_model.vision_projection = Linear(vision["vision_output_dim"], d)
    return model.eval()


# -- weights -------------------------------------------------------------------------------------------------

def read_weights(folder):
    """Every tensor of the checkpoint as float32 under the newer names."""
    tensors = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        tensors |= load_file(file)
    if not tensors:
        raise ValueError(f"{folder}: no .safetensors file")
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("language_model.lm_head."):
            name = name.removeprefix("language_model.")
        elif name.startswith("language_model.model."):
            name = "model.language_model." + name.removeprefix("language_model.model.")
        elif not name.startswith(("model.", "lm_head.")):
            name = "model." + name
        renamed[name] = tensor.float()
    return renamed


def pair_order(d_head):
    """Where rotate-half's channels lie in Meta's order, in which the two of a pair are neighbours."""
    return torch.arange(d_head).reshape(-1, 2).T.reshape(-1)


def to_meta_pairs(weight, d_head):
    """Rows of a query or key projection, from rotate-half order into Meta's."""
    return weight.unflatten(0, (-1, d_head))[:, torch.argsort(pair_order(d_head))].flatten(0, 1)


def tile_table(rows, ratios, max_tiles):
    """Meta's [h][w] table from the rows gathered per aspect ratio; says so when they do not come from one."""
    rows = rows.unflatten(-1, (max_tiles, -1))
    table = torch.zeros(max_tiles, max_tiles, rows.shape[-1])
    for index, (h, w) in enumerate(ratios):
        table[:h, :w] = rows[index + 1, : h * w].unflatten(0, (h, w))
    for index, (h, w) in enumerate(ratios):
        if not torch.equal(table[:h, :w].flatten(0, 1), rows[index + 1, :h * w]) or rows[index + 1,
                                                                                         h * w:].any():
            raise ValueError(
                "tile embeddings differ between aspect ratios (or absent tiles have some): Meta's code "
                "holds one per place")
    return table


class Filler:
    """Copies named tensors of the checkpoint into Meta's parameters and keeps count of both."""

    def __init__(self, weights):
        self.weights, self.used, self.filled = weights, set(), set()

    def take(self, name):
        if name not in self.weights:
            raise ValueError(f"the checkpoint has no {name}")
        self.used.add(name)
        return self.weights[name]

    def fill(self, parameter, value):
        if parameter.shape != value.shape:
            raise ValueError(
                f"Meta wants shape {tuple(parameter.shape)}, the checkpoint gives {tuple(value.shape)}")
        with torch.no_grad():
            parameter.copy_(value)
        self.filled.add(id(parameter))

    def norm(self, module, name):
        self.fill(module.weight, self.take(f"{name}.weight"))
        if getattr(module, "bias", None) is not None:
            self.fill(module.bias, self.take(f"{name}.bias"))

    linear = norm

    def check(self, model):
        left = sorted(set(self.weights) - self.used)
        empty = [name for name, p in model.named_parameters() if id(p) not in self.filled]
        if left or empty:
            raise ValueError(f"weights left over: {left[:5]}; Meta's parameters never filled: {empty[:5]}")


def fill_vision(filler, encoder, vision):
    name = "model.vision_model."
    ratios, tiles, d = vision["supported_aspect_ratios"], vision["max_num_tiles"], vision["hidden_size"]
    filler.fill(encoder.conv1._linear.weight, filler.take(f"{name}patch_embedding.weight").flatten(1))
    filler.fill(encoder.class_embedding, filler.take(f"{name}class_embedding"))
    for module, part in ((encoder.pre_tile_pos_embed, "pre"), (encoder.post_tile_pos_embed, "post")):
        part = f"{name}{part}_tile_positional_embedding."
        filler.fill(module.embedding,
                    tile_table(filler.take(f"{part}embedding.weight"), ratios, tiles)[:, :, None])
        filler.fill(module.gate, filler.take(f"{part}gate"))
    part = f"{name}gated_positional_embedding."
    filler.fill(encoder.positional_embedding, filler.take(f"{part}embedding"))
    table = tile_table(filler.take(f"{part}tile_embedding.weight"), ratios, tiles)
    filler.fill(encoder.gated_positional_embedding, table.unflatten(-1, (-1, d)))
    filler.fill(encoder.gated_positional_embedding_gate, filler.take(f"{part}gate"))
    filler.norm(encoder.ln_pre, f"{name}layernorm_pre")
    filler.norm(encoder.ln_post, f"{name}layernorm_post")
    for part in ("transformer", "global_transformer"):
        for index, block in enumerate(getattr(encoder, part).resblocks):
            layer = f"{name}{part}.layers.{index}."
            for leaf in "qkvo":
                filler.linear(getattr(block.attn, f"w{leaf}"), f"{layer}self_attn.{leaf}_proj")
            filler.norm(block.ln_1, f"{layer}input_layernorm")
            filler.norm(block.ln_2, f"{layer}post_attention_layernorm")
            filler.linear(block.mlp.c_fc, f"{layer}mlp.fc1")
            filler.linear(block.mlp.c_proj, f"{layer}mlp.fc2")
            if block.gated:
                filler.fill(block.gate_attn, filler.take(f"{layer}gate_attn"))
                filler.fill(block.gate_ffn, filler.take(f"{layer}gate_ffn"))


def fill_text_layer(filler, block, name, attention):
    for leaf in "kvo":
        filler.linear(getattr(block.attention, f"w{leaf}"), f"{name}{attention}.{leaf}_proj")
    filler.linear(block.attention.wq, f"{name}{attention}.q_proj")
    filler.norm(block.attention_norm, f"{name}input_layernorm")
    filler.norm(block.ffn_norm, f"{name}post_attention_layernorm")
    for leaf, theirs in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
        filler.linear(getattr(block.feed_forward, theirs), f"{name}mlp.{leaf}")


def fill_text(filler, model, text):
    name = "model.language_model."
    self_layers, _ = split_layers(text)
    rows = filler.take(f"{name}embed_tokens.weight")
    filler.fill(model.tok_embeddings.weight, rows[: text["vocab_size"]])
    filler.fill(model.learnable_embedding.weight, rows[text["vocab_size"]:])
    filler.norm(model.norm, f"{name}norm")
    filler.linear(model.output, "lm_head")
    for index, block in zip(self_layers, model.layers):
        fill_text_layer(filler, block, f"{name}layers.{index}.", "self_attn")
        for weight in (block.attention.wq.weight, block.attention.wk.weight):
            filler.fill(weight, to_meta_pairs(weight.detach().clone(), block.attention.head_dim))
    for index, block in zip(text["cross_attention_layers"], model.cross_attention_layers):
        layer = f"{name}layers.{index}."
        fill_text_layer(filler, block, layer, "cross_attn")
        for leaf in ("q_norm", "k_norm"):
            filler.norm(getattr(block.attention, leaf), f"{layer}cross_attn.{leaf}")
        filler.fill(block.gate_attn, filler.take(f"{layer}cross_attn_attn_gate"))
        filler.fill(block.gate_ffwd, filler.take(f"{layer}cross_attn_mlp_gate"))


def load_model(folder, settings, max_tokens):
    meta = import_meta()
    torch.set_default_dtype(torch.float32)
    model = build(meta, settings, max_tokens)
    filler = Filler(read_weights(folder))
    fill_vision(filler, model.vision_model.vision_encoder, settings["vision_config"])
    filler.linear(model.vision_model.vision_projection, "model.multi_modal_projector")
    fill_text(filler, model.text_model, settings["text_config"])
    filler.check(model)
    model.setup_cache(1, torch.device("cpu"), torch.float32)
    return model
