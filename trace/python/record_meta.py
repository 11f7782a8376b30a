"""Records a run of Meta's own Llama 3.2-Vision code (llama-models 0.3.0) as a trace, under Pictor's names.

    python trace/python/record_meta.py --model DIR --inputs FILE.safetensors --trace DIR [--greedy N]
                                       [--only GLOB]...

DIR is a checkpoint in transformers' layout; its weights are turned into Meta's. FILE holds what `reference
forward` takes. Meta's forward code runs unchanged, on one CPU in float32 (meta_model.py builds it). A
function mode sees every product, norm and attention on the way. Things Meta's attention never holds (scores,
probabilities: it calls a fused kernel) are computed here from the kernel's own arguments, and the context
they give is checked against the kernel's.
"""

import argparse
import math
import sys
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record_common import (BAD_INPUT, calling_line, describe_images, describe_model, describe_prompt,
                           generated_mask_row, read_inputs, read_settings, record_step_inputs)
from meta_model import load_model, pair_order, split_layers

LOWEST = torch.finfo(torch.float32).min


# -- watching ------------------------------------------------------------------------------------------------

class Watch(TorchFunctionMode):
    """Sees every torch function Meta's code calls, for it takes products with weights of modules that it
    never calls. `products[id(weight)]` is given the input and the output of that product."""

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
    """Everything that is recorded of one model: the name in trace/README.md of each weight and module."""

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
        """Of [image * tile][row][channel], [image][tile * row][channel] or [..,
        image][tile][row][channel]."""
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
        self.after(self.model.vision_model,
                   lambda out: self.put("multi_modal_projector", axes, self.tiles(out)))

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
        # `hidden += bias` works in place afterwards, but only on fc2's output: fc1's product has its bias
        # already.
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
        for index, block in zip(self.settings["text_config"]["cross_attention_layers"],
                                text.cross_attention_layers):
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
            self.put(f"{name}.self_attn.rotated_k", "token kv_head channel",
                     self.rotated_half(new.transpose(0, 1)))
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


# -- the run -------------------------------------------------------------------------------------------------

def additive(mask):
    """Meta's form of the cross-attention mask: 0 where a token may see a tile, the lowest float where not."""
    return torch.where(torch.from_numpy(mask)[None] != 0, 0.0, LOWEST)


def encode_pictures(model, inputs, settings):
    """Tokens of the pictures and each cross layer's keys and values, as compute_vision_tokens_masks makes
    them."""
    vision = settings["vision_config"]
    grids = [vision["supported_aspect_ratios"][i - 1] for i in inputs["aspect_ratio_ids"]]
    for i, (h, w) in enumerate(grids):
        if inputs["aspect_ratio_ids"][i] < 1 or inputs["aspect_ratio_mask"][i].tolist() != [
                int(tile < h * w) for tile in range(vision["max_num_tiles"])]:
            raise ValueError(
                f"picture {i}: its aspect_ratio_mask is not that of its aspect_ratio_id; Meta's code "
                "derives one from the other")
    pixels = torch.from_numpy(inputs["pixel_values"])[None]
    tokens = model.vision_model(pixels, torch.tensor(grids)[None])
    flat = tokens.reshape(1, -1, tokens.shape[-1])
    caches = torch.stack([
        layer.compute_xattn_kv_cache(flat) for layer in model.text_model.cross_attention_layers])
    return tokens, caches


def put_angles(recording, text, positions):
    """cos and sin as transformers lays them out: each of Meta's complex angles twice, by halves."""
    for leaf, angles in (("cos", text.freqs_cis.real), ("sin", text.freqs_cis.imag)):
        angles = angles[positions]
        recording.put(f"language_model.rotary_emb.{leaf}", "token channel", torch.cat([angles, angles],
                                                                                      dim=-1))


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
        record_step_inputs(writer, ids[start:], None if mask is None else mask[start:],
                           inputs if step == 0 else None)
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
            full_text_row_masked_out_mask=full_rows[:, :, positions] if has_pictures else None,
            xattn_caches=caches, text_only_inference=not has_pictures)
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
    parser.add_argument("--only", action="append", default=[], metavar="GLOB",
                        help="only tensors of these names")
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
