"""Records a run of Meta's own Llama 3.2-Vision code (llama-models 0.3.0) as a trace, with the same names Pictor uses.

    python trace/record_meta.py --model DIR --inputs FILE.safetensors --trace DIR [--greedy N] [--only GLOB]...

DIR is a checkpoint in transformers' layout; its weights are turned into Meta's. FILE holds what `reference forward`
takes. Meta's forward code runs unchanged, on one CPU in float32; what it imports from fairscale (layers split over
many GPUs) is replaced by the same layers unsplit. A function mode sees every product, norm and attention on the way.

Meta's sizes of the vision side are constants in its code; the modules are built here with the checkpoint's. Things
Meta's attention never holds (scores, probabilities: it calls a fused kernel) are computed here from the kernel's own
arguments, and the context they give is checked against the kernel's.
"""

import argparse
import math
import sys
import types
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record_common import (BAD_INPUT, calling_line, describe_images, describe_model, describe_prompt,
                           generated_mask_row, read_inputs, read_settings, record_step_inputs, rope_settings)

LOWEST = torch.finfo(torch.float32).min


# -- Meta's modules on one CPU ---------------------------------------------------------------------------------------

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
    layers = module("fairscale.nn.model_parallel.layers", ColumnParallelLinear=Linear, RowParallelLinear=Linear,
                    VocabParallelEmbedding=Embedding)
    parallel = module("fairscale.nn.model_parallel", initialize=initialize, layers=layers)
    module("fairscale", nn=module("fairscale.nn", model_parallel=parallel))
    # Cuts pictures into tiles, which is not asked of it here, and would want torchvision.
    module("llama_models.llama3.multimodal.image_transform", VariableSizeImageTransform=lambda size: lambda image: None)

    from llama_models.llama3.multimodal import model as meta

    meta.reduce_from_tensor_model_parallel_region = lambda x: x
    meta.gather_from_tensor_model_parallel_region = lambda x: x
    return meta


def split_layers(text):
    """Indices of the self layers, and for each cross layer the self layer it stands before, as Meta counts them."""
    cross = text["cross_attention_layers"]
    self_layers = [i for i in range(text["num_hidden_layers"]) if i not in cross]
    for index in cross:
        if index + 1 not in self_layers:
            raise ValueError(f"cross-attention layer {index} has no self-attention layer behind it, as Meta's must")
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
    args = meta.ModelArgs(
        dim=d, n_layers=text["num_hidden_layers"] - len(text["cross_attention_layers"]),
        n_heads=text["num_attention_heads"], n_kv_heads=text["num_key_value_heads"], vocab_size=text["vocab_size"],
        # Rounded up to a multiple of d_mlp from just below it: d_mlp.
        multiple_of=d_mlp, ffn_dim_multiplier=(d_mlp - 0.5) / int(2 * (4 * d) / 3), norm_eps=text["rms_norm_eps"],
        rope_theta=rope_settings(text)["theta"], use_scaled_rope=rope_settings(text)["scaled"], max_batch_size=1,
        max_seq_len=max_tokens, vision_chunk_size=vision["image_size"], vision_max_num_chunks=vision["max_num_tiles"],
        vision_num_cross_attention_layers=len(text["cross_attention_layers"]))
    encoder, schedule = meta.VisionEncoder, meta.CrossAttentionTransformerText._init_fusion_schedule
    meta.VisionEncoder = lambda **fixed: encoder(**fixed | dict(
        max_num_tiles=vision["max_num_tiles"], patch_size=vision["patch_size"], width=vision["hidden_size"],
        layers=vision["num_hidden_layers"], heads=vision["attention_heads"],
        mlp_ratio=(vision["intermediate_size"] + 0.5) / vision["hidden_size"],
        n_global_layers=vision["num_global_layers"], return_intermediate=vision["intermediate_layers_indices"]))
    meta.CrossAttentionTransformerText._init_fusion_schedule = lambda self, n: split_layers(text)[1]
    try:
        model = meta.CrossAttentionTransformer(args)
    finally:
        meta.VisionEncoder, meta.CrossAttentionTransformerText._init_fusion_schedule = encoder, schedule
    model.vision_model.patch_size = vision["patch_size"]
    model.vision_model.vision_projection = Linear(vision["vision_output_dim"], d)
    return model.eval()


# -- weights ---------------------------------------------------------------------------------------------------------

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
        if not torch.equal(table[:h, :w].flatten(0, 1), rows[index + 1, : h * w]) or rows[index + 1, h * w:].any():
            raise ValueError("tile embeddings differ between aspect ratios (or absent tiles have some): Meta's code "
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
            raise ValueError(f"Meta wants shape {tuple(parameter.shape)}, the checkpoint gives {tuple(value.shape)}")
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
        filler.fill(module.embedding, tile_table(filler.take(f"{part}embedding.weight"), ratios, tiles)[:, :, None])
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


# -- watching --------------------------------------------------------------------------------------------------------

class Watch(TorchFunctionMode):
    """Sees every torch function Meta's code calls, for it takes products with weights of modules that it never calls.
    `products[id(weight)]` is given the input and the output of that product."""

    def __init__(self):
        super().__init__()
        self.products, self.after_next = {}, {}
        self.attention = None  # what to do with the next scaled_dot_product_attention

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if name == "linear":
            found = self.products.get(id(args[1]))
            if found is not None:
                found(args[0], out)
        elif name == "scaled_dot_product_attention":
            self.attention(args[0], args[1], args[2], kwargs["attn_mask"], out)
        elif name in self.after_next:
            self.after_next.pop(name)(out)
        return out


def attention_parts(query, key, value, mask, context):
    """Scores, masked scores and probabilities of a fused attention, checked against its context."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask.dtype == torch.bool:
        masked = scores.masked_fill(~mask, LOWEST)
    else:
        masked = (scores + mask).clamp(min=LOWEST)
    probs = masked.softmax(-1)
    if not torch.allclose(probs @ value, context, rtol=1e-4, atol=1e-4):
        raise RuntimeError("the recorded probabilities do not give the context of Meta's attention")
    return ("scores", scores), ("masked_scores", masked), ("probs", probs)


class Recording:
    """Everything that is recorded of one model: which weight or module stands for which name of trace/README.md."""

    def __init__(self, model, settings, writer):
        self.model, self.settings, self.writer = model, settings, writer
        self.watch, self.handles = Watch(), []
        self.n_tiles = settings["vision_config"]["max_num_tiles"]
        self.n_keys = 0         # of self-attention: Meta's mask runs over the whole cache
        self.row_mask = None
        self.waiting = {}       # cross layers' keys, which Meta makes before the text runs
        self.attach_vision()
        self.attach_text()

    def put(self, name, axes, tensor, source=None):
        if self.writer.wants(name):
            self.writer.tensor(name, axes, tensor.detach().float().contiguous().numpy(), dtype="F32",
                               source=source or calling_line())

    def on_product(self, weight, found):
        self.watch.products[id(weight)] = found

    def after(self, module, found):
        self.handles.append(module.register_forward_hook(lambda m, args, out: found(out)))

    def before(self, module, found):
        self.handles.append(module.register_forward_pre_hook(lambda m, args: found(args[0])))

    def detach(self):
        for handle in self.handles:
            handle.remove()

    # -- vision

    def tiles(self, tensor, d_head=None):
        rows = tensor.reshape(-1, self.n_tiles, self.rows_per_tile(tensor), tensor.shape[-1])
        return rows if d_head is None else rows.unflatten(-1, (-1, d_head))

    def rows_per_tile(self, tensor):
        """Of [image * tile][row][channel], [image][tile * row][channel] or [.., image][tile][row][channel]."""
        if tensor.ndim >= 4:
            return tensor.shape[-2]
        return tensor.shape[0] * tensor.shape[1] // (self.n_images * self.n_tiles)

    def attach_vision(self):
        encoder, axes = self.model.vision_model.vision_encoder, "image tile patch channel"

        def rows(name):
            return lambda out: self.put(f"vision_model.{name}", axes, self.tiles(out))

        self.after(encoder.conv1, rows("patch_embedding"))
        self.after(encoder.pre_tile_pos_embed, rows("pre_tile_positional_embedding"))
        self.before(encoder.ln_pre, rows("gated_positional_embedding"))
        self.after(encoder.ln_pre, rows("layernorm_pre"))
        for part in ("transformer", "global_transformer"):
            for index, block in enumerate(getattr(encoder, part).resblocks):
                self.attach_vision_block(f"vision_model.{part}.layers.{index}", block)
        self.after(encoder.ln_post, rows("layernorm_post"))
        self.after(encoder.post_tile_pos_embed, rows("post_tile_positional_embedding"))
        self.after(encoder, lambda out: self.put("vision_model", axes, self.tiles(out)))
        self.after(self.model.vision_model, lambda out: self.put("multi_modal_projector", axes, self.tiles(out)))

    def attach_vision_block(self, name, block):
        attention, axes = block.attn, "image tile patch channel"
        by_head = "image tile patch head channel"

        def rows(leaf):
            return lambda out: self.put(f"{name}{leaf}", axes, self.tiles(out))

        def fused(query, key, value, mask, context):
            for leaf, tensor in attention_parts(query, key, value, mask, context):
                self.put(f"{name}.self_attn.{leaf}", "image head query key", tensor)
            self.put(f"{name}.self_attn.context", by_head,
                     self.tiles(context.transpose(1, 2).flatten(2), attention.head_dim))

        self.after(block.ln_1, rows(".input_layernorm"))
        self.before(attention, lambda hidden: setattr(self.watch, "attention", fused))
        for leaf in "qkv":
            self.on_product(getattr(attention, f"w{leaf}").weight, lambda x, out, leaf=leaf: self.put(
                f"{name}.self_attn.{leaf}_proj", by_head, self.tiles(out, attention.head_dim)))
        self.on_product(attention.wo.weight, lambda x, out: rows(".self_attn.o_proj")(out))
        if block.gated:
            self.after(attention, lambda out: rows(".self_attn.gated")(block.gate_attn.tanh() * out))
        self.before(block.ln_2, rows(".residual"))
        self.after(block.ln_2, rows(".post_attention_layernorm"))
        # `hidden += bias` works in place afterwards, but only on fc2's output: fc1's product has its bias already.
        self.on_product(block.mlp.c_fc.weight, lambda x, out: rows(".mlp.fc1")(out))
        self.after(block.mlp.non_linearity, rows(".mlp.activation_fn"))
        self.after(block.mlp, rows(".mlp"))
        if block.gated:
            self.after(block.mlp, lambda out: rows(".mlp.gated")(block.gate_ffn.tanh() * out))
        self.after(block, rows(""))

    # -- text

    def attach_text(self):
        text = self.model.text_model
        self_layers, _ = split_layers(self.settings["text_config"])
        for index, block in zip(self_layers, text.layers):
            self.attach_self_block(f"language_model.layers.{index}", block)
        for index, block in zip(self.settings["text_config"]["cross_attention_layers"], text.cross_attention_layers):
            self.attach_cross_block(f"language_model.layers.{index}", block)
        self.after(text.norm, lambda out: self.put("language_model.norm", "token channel", out[0]))
        self.on_product(text.output.weight, lambda x, out: self.put("lm_head", "token vocabulary", out[0]))

    def rotated_half(self, tensor):
        """[token][head][channel] in rotate-half order, from Meta's."""
        return tensor[..., pair_order(tensor.shape[-1])]

    def attach_text_block(self, name, block):
        def rows(leaf):
            return lambda out: self.put(f"{name}{leaf}", "token channel", out[0])

        mlp = block.feed_forward
        self.after(block.attention_norm, rows(".input_layernorm"))
        self.before(block.ffn_norm, rows(".residual"))
        self.after(block.ffn_norm, rows(".post_attention_layernorm"))

        self.on_product(mlp.w1.weight, lambda x, out: rows(".mlp.gate_proj")(out))

        def up(x, out):  # the activation that follows has no module
            rows(".mlp.up_proj")(out)
            self.watch.after_next["silu"] = rows(".mlp.act_fn")

        self.on_product(mlp.w3.weight, up)

        def down(x, out):
            rows(".mlp.gated")(x)
            rows(".mlp")(out)
            if hasattr(block, "gate_ffwd"):
                rows(".mlp.gated_output")(block.gate_ffwd.tanh() * (self.row_mask * out))

        self.on_product(mlp.w2.weight, down)
        return rows

    def attach_self_block(self, name, block):
        attention, d_head = block.attention, block.attention.head_dim
        rows = self.attach_text_block(name, block)

        def product(leaf, axis, ordered):
            def found(x, out):
                out = out[0].unflatten(-1, (-1, d_head))
                self.put(f"{name}.self_attn.{leaf}", f"token {axis} channel",
                         self.rotated_half(out) if ordered else out)
            return found

        self.on_product(attention.wq.weight, product("q_proj", "head", True))
        self.on_product(attention.wk.weight, product("k_proj", "kv_head", True))
        self.on_product(attention.wv.weight, product("v_proj", "kv_head", False))

        def fused(query, key, value, mask, context):
            self.put(f"{name}.self_attn.rotated_q", "token head channel",
                     self.rotated_half(query[0].transpose(0, 1)))
            new = key[0, :: attention.n_rep, self.n_keys - query.shape[2]: self.n_keys]
            self.put(f"{name}.self_attn.rotated_k", "token kv_head channel", self.rotated_half(new.transpose(0, 1)))
            for leaf, tensor in attention_parts(query, key, value, mask, context):
                self.put(f"{name}.self_attn.{leaf}", "head token key", tensor[0, :, :, : self.n_keys])
            self.put(f"{name}.self_attn.context", "token head channel", context[0].transpose(0, 1))

        # Meta calls this attention's forward past its hooks; the norm before it comes first.
        self.after(block.attention_norm, lambda out: setattr(self.watch, "attention", fused))
        self.on_product(attention.wo.weight, lambda x, out: rows(".self_attn.o_proj")(out))
        self.after(block, rows(""))

    def attach_cross_block(self, name, block):
        attention, d_head = block.attention, block.attention.head_dim
        rows = self.attach_text_block(name, block)
        axes = "key kv_head channel"

        def keep(leaf):
            return lambda x, out: self.waiting.__setitem__(
                (name, leaf), (out[0].unflatten(-1, (-1, d_head)), calling_line()))

        self.on_product(attention.wk.weight, keep("k_proj"))
        self.on_product(attention.wv.weight, keep("v_proj"))
        self.after(attention.k_norm, lambda out: self.waiting.__setitem__(
            (name, "k_norm"), (out[0, :: attention.n_rep].transpose(0, 1), calling_line())))
        self.on_product(attention.wq.weight, lambda x, out: self.put(
            f"{name}.cross_attn.q_proj", "token head channel", out[0].unflatten(-1, (-1, d_head))))

        def queries(out):
            self.put(f"{name}.cross_attn.q_norm", "token head channel", out[0])
            for leaf in ("k_proj", "k_norm", "v_proj"):
                if (name, leaf) in self.waiting:
                    self.put(f"{name}.cross_attn.{leaf}", axes, *self.waiting.pop((name, leaf)))

        def fused(query, key, value, mask, context):
            for leaf, tensor in attention_parts(query, key, value, mask, context):
                self.put(f"{name}.cross_attn.{leaf}", "head token key", tensor[0])
            self.put(f"{name}.cross_attn.context", "token head channel", context[0].transpose(0, 1))

        self.after(attention.q_norm, queries)
        self.after(block.attention_norm, lambda out: setattr(self.watch, "attention", fused))
        self.on_product(attention.wo.weight, lambda x, out: rows(".cross_attn.o_proj")(out))
        self.after(attention, lambda out: rows(".cross_attn.gated")(block.gate_attn.tanh() * out))
        self.after(block, rows(""))


# -- the run ---------------------------------------------------------------------------------------------------------

def additive(mask):
    """Meta's form of the cross-attention mask: 0 where a token may see a tile, the lowest float where not."""
    return torch.where(torch.from_numpy(mask)[None] != 0, 0.0, LOWEST)


def encode_pictures(model, inputs, settings):
    """Tokens of the pictures and each cross layer's keys and values, as compute_vision_tokens_masks makes them."""
    vision = settings["vision_config"]
    grids = [vision["supported_aspect_ratios"][i - 1] for i in inputs["aspect_ratio_ids"]]
    for i, (h, w) in enumerate(grids):
        if inputs["aspect_ratio_ids"][i] < 1 or inputs["aspect_ratio_mask"][i].tolist() != [
                int(tile < h * w) for tile in range(vision["max_num_tiles"])]:
            raise ValueError(f"picture {i}: its aspect_ratio_mask is not that of its aspect_ratio_id; Meta's code "
                             "derives one from the other")
    pixels = torch.from_numpy(inputs["pixel_values"])[None]
    tokens = model.vision_model(pixels, torch.tensor(grids)[None])
    flat = tokens.reshape(1, -1, tokens.shape[-1])
    caches = torch.stack([layer.compute_xattn_kv_cache(flat) for layer in model.text_model.cross_attention_layers])
    return tokens, caches


def put_angles(recording, text, positions):
    """cos and sin as transformers lays them out: each of Meta's complex angles twice, by halves."""
    for leaf, angles in (("cos", text.freqs_cis.real), ("sin", text.freqs_cis.imag)):
        angles = angles[positions]
        recording.put(f"language_model.rotary_emb.{leaf}", "token channel", torch.cat([angles, angles], dim=-1))


def run(model, inputs, settings, greedy, writer):
    recording = Recording(model, settings, writer)
    try:
        with torch.inference_mode(), recording.watch:
            return run_steps(model, recording, inputs, settings, greedy, writer)
    finally:
        recording.detach()


def run_steps(model, recording, inputs, settings, greedy, writer):
    ids = [int(i) for i in inputs["input_ids"]]
    mask = inputs.get("cross_attention_mask")
    has_pictures = "pixel_values" in inputs
    if has_pictures and mask is None:
        raise ValueError("pictures without cross_attention_mask: Meta's code always has one")
    total = len(ids) + max(greedy - 1, 0)
    text = model.text_model
    caches = full_mask = full_rows = None
    generated, start = [], 0
    for step in range(max(greedy, 1)):
        positions = torch.arange(start, len(ids))
        writer.begin_step("prefill" if step == 0 else "decode", start, len(positions))
        record_step_inputs(writer, ids[start:], None if mask is None else mask[start:], inputs if step == 0 else None)
        if has_pictures and step == 0:
            recording.n_images = len(inputs["pixel_values"])
            tokens, caches = encode_pictures(model, inputs, settings)
            # As Meta does, for the prompt and everything that will be generated at once.
            whole = numpy.concatenate([mask] + [generated_mask_row(mask, "meta")] * (total - len(ids)))
            full_mask, full_rows = text._get_xattn_mask(
                num_tokens=total, text_device="cpu", text_dtype=torch.float32, vision_tokens=tokens,
                cross_attention_masks=additive(whole))
        recording.n_keys = len(ids)
        hidden = text.get_partially_trainable_embedding(torch.tensor(ids)[None, positions])
        recording.put("language_model.embed_tokens", "token channel", hidden[0])
        put_angles(recording, text, positions)
        if has_pictures:
            recording.row_mask = full_rows[:, :, positions][:, 0]
        logits = text.forward(
            position_ids=positions, h=hidden, xattn_mask=full_mask[:, :, positions] if has_pictures else None,
            full_text_row_masked_out_mask=full_rows[:, :, positions] if has_pictures else None, xattn_caches=caches,
            text_only_inference=not has_pictures)
        start = len(ids)
        if step < greedy:
            generated.append(int(logits[0, -1].argmax()))
            ids.append(generated[-1])
            mask = mask if mask is None else numpy.concatenate([mask, generated_mask_row(mask, "meta")])
    return generated


def producer(rules="meta"):
    return f"llama-models {version('llama-models')}"


def record(model_folder, inputs_file, writer, greedy=0, rules="meta"):
    """One whole recording into `writer`; returns the generated ids."""
    settings = read_settings(model_folder)
    inputs = read_inputs(inputs_file, settings)
    writer.describe("reference", "meta")
    writer.describe("producer", producer())
    writer.describe("model", describe_model(settings, model_folder))
    writer.describe("prompt", describe_prompt(inputs, model_folder))
    writer.describe("images", describe_images(inputs, settings))
    model = load_model(model_folder, settings, len(inputs["input_ids"]) + greedy)
    generated = run(model, inputs, settings, greedy, writer)
    writer.describe("generated", {"token_ids": generated})
    return generated


def main():
    parser = argparse.ArgumentParser(description="Record a run of Meta's Llama 3.2-Vision code as a trace.")
    parser.add_argument("--model", required=True, help="folder of a checkpoint in transformers' layout")
    parser.add_argument("--inputs", required=True, help="safetensors file as `reference forward` takes it")
    parser.add_argument("--trace", required=True, help="folder to write")
    parser.add_argument("--greedy", type=int, default=0, help="generate exactly this many tokens")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="only tensors of these names")
    parser.add_argument("--values", choices=("all", "sample", "none"), default="sample")
    parser.add_argument("--force", action="store_true", help="replace an existing trace")
    options = parser.parse_args()
    try:
        from write_trace import TraceWriter

        with TraceWriter(options.trace, producer(), only=options.only, values=options.values,
                         force=options.force) as writer:
            record(options.model, options.inputs, writer, options.greedy)
    except BAD_INPUT as problem:
        print(f"record_meta: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
