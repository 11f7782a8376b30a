"""The whole model in numpy float32, under any `Rules`. Held to golden/cases by tests/conformance_test.py.

    projected = vision(checkpoint, inputs, rules)                       [image][tile][patch][channel], or None
    logits = text(checkpoint, token_ids, n_prefill, projected, mask, rules)   [token][vocabulary]

Prompt and teacher-forced tokens run in one pass: a row depends only on rows before it, so what a cache
changes (positions, masks and roundings of generated tokens) is told by a row's place alone.
"""

import math

import numpy as np

from arithmetic import Layer, gelu, rounded, softmax
from masks import packed_tiles, seen_tiles

LOWEST = np.finfo(np.float32).min
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


# -- vision --------------------------------------------------------------------------------------------------

def seen_pixels(checkpoint, inputs, rules):
    """pixel_values as the engine made them from the same 8-bit picture; absent tiles stay 0."""
    pixels = inputs["pixel_values"]
    present = (inputs["aspect_ratio_mask"] != 0)[:, :, None, None, None]
    mean, std = checkpoint.mean, checkpoint.std
    if rules.normalise != "config":
        colours = pixels * std[:, None, None] + mean[:, None, None]
        mean, std = {"clip": (CLIP_MEAN, CLIP_STD), "half": (np.float32([0.5] * 3),) * 2,
                     "none": (np.zeros(3, np.float32), np.ones(3, np.float32))}[rules.normalise]
        pixels = np.where(present, (colours - mean[:, None, None]) / std[:, None, None], 0)
    if rules.colours == "bgr":
        colours = pixels * std[:, None, None] + mean[:, None, None]
        pixels = np.where(present, (colours[:, :, ::-1] - mean[:, None, None]) / std[:, None, None], 0)
    if rules.tile_order == "columns":
        pixels = pixels.copy()
        for image, grid in enumerate(grids(checkpoint, inputs)):
            order = np.arange(math.prod(grid)).reshape(grid).T.ravel()
            pixels[image, : len(order)] = pixels[image, order]
    return pixels.astype(np.float32)


def grids(checkpoint, inputs):
    ratios = checkpoint.vision["supported_aspect_ratios"]
    return [ratios[int(i) - 1] for i in inputs["aspect_ratio_ids"]]


def aspect_ids(checkpoint, inputs, rules):
    ids = inputs["aspect_ratio_ids"]
    ratios = checkpoint.vision["supported_aspect_ratios"]
    if rules.aspect_id == "swapped":
        return np.array([1 + ratios.index([w, h]) for h, w in grids(checkpoint, inputs)])
    return {"given": ids, "off": ids * 0, "one_less": ids - 1, "first": ids * 0 + 1,
            "last": ids * 0 + len(ratios)}[rules.aspect_id]


def patches_of(layer, pixels, vision, rules):
    """Convolution with kernel = stride = patch: every patch times the kernel."""
    size = vision["patch_size"]
    images, tiles, colours, height, width = pixels.shape
    cut = pixels.reshape(images, tiles, colours, height // size, size, width // size, size)
    cut = cut.transpose(0, 1, 3, 5, 2, 4, 6).reshape(images, tiles, -1, colours * size * size)
    kernel = layer["patch_embedding.weight"]
    if rules.patch_axes == "column_row":
        kernel = kernel.transpose(0, 1, 3, 2)
    return layer.keep(rounded(cut, rules.linear_inputs) @ kernel.reshape(len(kernel), -1).T)


def embedded(checkpoint, inputs, rules, layer):
    """Patches with the class token in front and every position embedding, normalised:
    [image][tile][patch][channel]."""
    vision, ids = checkpoint.vision, aspect_ids(checkpoint, inputs, rules)
    tiles, d = vision["max_num_tiles"], vision["hidden_size"]
    hidden = patches_of(layer, rounded(seen_pixels(checkpoint, inputs, rules), rules.compute), vision, rules)
    hidden = add_tile_embedding(layer, "pre_tile_positional_embedding", hidden, ids, rules.pre_tile)
    classes = np.broadcast_to(layer["class_embedding"], (*hidden.shape[:2], 1, d))
    hidden = np.concatenate([classes, hidden], axis=2)
    part = layer.at("gated_positional_embedding.")
    gate = part.gate("gate", "raw" if rules.position_gate == "raw" else "tanh")
    rest = np.float32(1) - gate
    if rules.position_gate == "plain":
        rest = np.float32(1)
    if rules.position_gate == "swapped":
        gate, rest = rest, gate
    hidden = layer.keep(hidden + layer.keep(rest * part["embedding"]))
    if rules.position_gate != "no_tiles":
        rows = part["tile_embedding.weight"][ids].reshape(len(ids), tiles, -1, d)
        hidden = layer.keep(hidden + layer.keep(gate * rows))
    if rules.layernorm_pre == "on":
        hidden = layer.layer_norm(hidden, "layernorm_pre", vision_eps(vision, rules))
    return hidden


def add_tile_embedding(layer, name, hidden, ids, gate):
    rows = layer[f"{name}.embedding.weight"][ids].reshape(len(ids), hidden.shape[1], 1, -1)
    return layer.keep(hidden + layer.keep(rows * layer.gate(f"{name}.gate", gate)))


def vision_eps(vision, rules):
    return vision.get("norm_eps", 1e-5) if rules.vision_eps == "config" else float(rules.vision_eps)


def vision_bias(present, n_patches, n_rows, rules):
    """[image][query][key], 0 or the lowest float. Meta hides only what BOTH sides pad or lack."""
    padding = np.broadcast_to(np.arange(n_rows) >= n_patches, (*present.shape, n_rows))
    absent = np.broadcast_to(~present[:, :, None], padding.shape)
    images, tiles = present.shape
    void = (padding | absent).reshape(images, -1)
    if rules.vision_mask == "none":
        hidden = np.zeros((images, 1, tiles * n_rows), bool)
    elif rules.vision_mask == "pad_by_pad":
        hidden = void[:, :, None] & void[:, None, :]
    elif rules.vision_mask == "tiles":
        absent = absent.reshape(images, -1)
        hidden = absent[:, :, None] & absent[:, None, :]
    elif rules.vision_mask == "own_tile":
        tile = np.arange(tiles).repeat(n_rows)
        hidden = np.broadcast_to(tile[:, None] != tile[None, :], (images, len(tile), len(tile)))
    else:
        keys = {
            "keys": void, "tile_keys": absent.reshape(images, -1),
            "padding_keys": padding.reshape(images, -1)}
        hidden = keys[rules.vision_mask][:, None, :]
    return np.where(hidden, LOWEST, np.float32(0))


def vision_layer(layer, hidden, bias, vision, gated, rules):
    """hidden [image][row][channel]; returns the same."""
    heads = 16 if rules.vision_heads == "16" else vision["attention_heads"]
    d, eps = hidden.shape[-1], vision_eps(vision, rules)
    scale = {"head": math.sqrt(d // heads), "width": math.sqrt(d), "none": 1}[rules.vision_scale]

    def by_head(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    normed = layer.layer_norm(hidden, "input_layernorm", eps)
    query, key, value = (by_head(layer.linear(normed, f"self_attn.{leaf}_proj")) for leaf in "qkv")
    scores = layer.keep(query @ key.swapaxes(-1, -2) / np.float32(scale))
    probs = layer.keep(softmax(np.maximum(scores + bias[:, None], LOWEST)))
    context = layer.keep(probs @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
    branch = layer.linear(context, "self_attn.o_proj")
    kind = "full" if rules.global_gate == "off" else rules.global_gate
    hidden = layer.keep(hidden + (layer.gated("gate_attn", kind, branch) if gated else branch))
    inner = layer.linear(layer.layer_norm(hidden, "post_attention_layernorm", eps), "mlp.fc1", bias=True)
    branch = layer.linear(layer.keep(gelu(inner, rules.gelu)), "mlp.fc2", bias=True)
    return layer.keep(hidden + (layer.gated("gate_ffn", kind, branch) if gated else branch))


def vision(checkpoint, inputs, rules):
    """The projector's output, [image][tile][patch][channel]; None without pictures."""
    return vision_parts(checkpoint, inputs,
                        rules)["multi_modal_projector"] if "pixel_values" in inputs else None


def vision_parts(checkpoint, inputs, rules):
    """Tensors of the vision side under their names in a trace."""
    settings, layer = checkpoint.vision, Layer(checkpoint, "vision_model.", rules)
    hidden = embedded(checkpoint, inputs, rules, layer)
    images, tiles, n_patches, d = hidden.shape
    parts = {"vision_model.layernorm_pre": hidden}
    n_rows = n_patches if rules.padding_rows == "none" else -(-n_patches // 8) * 8
    hidden = np.concatenate([hidden, np.zeros((images, tiles, n_rows - n_patches, d), np.float32)], axis=2)
    bias = vision_bias(inputs["aspect_ratio_mask"] != 0, n_patches, n_rows, rules)
    hidden = hidden.reshape(images, -1, d)
    states = [hidden]
    for index in range(settings["num_hidden_layers"]):
        hidden = vision_layer(layer.at(f"transformer.layers.{index}."), hidden, bias, settings, False, rules)
        parts[f"vision_model.transformer.layers.{index}"] = hidden.reshape(images, tiles, n_rows, d)
        states.append(hidden)
    if rules.layernorm_post == "on":
        hidden = layer.layer_norm(hidden, "layernorm_post", vision_eps(settings, rules))
    ids = aspect_ids(checkpoint, inputs, rules)
    hidden = add_tile_embedding(layer, "post_tile_positional_embedding",
                                hidden.reshape(images, tiles, n_rows, d), ids,
                                rules.post_tile).reshape(images, -1, d)
    for index in range(settings["num_global_layers"]):
        hidden = vision_layer(layer.at(f"global_transformer.layers.{index}."), hidden, bias, settings, True,
                              rules)
        parts[f"vision_model.global_transformer.layers.{index}"] = hidden.reshape(images, tiles, n_rows, d)
    indices = settings["intermediate_layers_indices"]
    kept = {"inputs": [states[i] for i in indices], "outputs": [states[i + 1] for i in indices],
            "last": [states[-1]] * len(indices)}[rules.kept]
    stacked = np.concatenate(kept, -1) if rules.interleave == "states" else np.stack(kept, -1).reshape(
        *hidden.shape[:2], -1)
    ends = [stacked, hidden] if rules.interleave == "kept_first" else [hidden, stacked]
    out = np.concatenate(ends, -1).reshape(images, tiles, n_rows, -1)[:, :, :n_patches]
    parts["vision_model"] = out
    parts["multi_modal_projector"] = Layer(checkpoint, "", rules).linear(
        out, "multi_modal_projector", bias=rules.projector_bias == "on")
    return parts


# -- text ----------------------------------------------------------------------------------------------------

def rope_angles(checkpoint, positions, rules):
    """cos and sin, [token][d_head / 2]; angles in float32, as both references have them."""
    rope = checkpoint.rope()
    d_head = checkpoint.text["hidden_size"] // checkpoint.text["num_attention_heads"]
    theta = rope["theta"] if rules.rope_theta == "config" else float(rules.rope_theta)
    unread = rules.rope_style != "both" and "rope_parameters" in checkpoint.text
    if unread:
        theta = 500000.0 if rules.rope_style == "older_500000" else 10000.0
    if rules.rope_scaling == "fixed":
        rope = {"factor": 8.0, "low": 1.0, "high": 4.0, "length": 8192}
    frequency = 1 / theta ** (np.arange(0, d_head, 2) / d_head)
    # how often a channel turns over the original length
    turns = rope["length"] * frequency / (2 * math.pi)
    smooth = np.clip((turns - rope["low"]) / (rope["high"] - rope["low"]), 0, 1)
    if rules.rope_scaling == "linear":
        smooth = smooth * 0
    elif rules.rope_scaling == "none" or unread:
        smooth = smooth * 0 + 1
    elif rules.rope_scaling == "no_smoothing":
        smooth = np.where(turns < rope["high"], 0.0, 1.0)
    frequency = (frequency * smooth + frequency / rope["factor"] * (1 - smooth)).astype(np.float32)
    angles = positions.astype(np.float32)[:, None] * frequency
    return rounded(np.cos(angles), rules.compute), rounded(np.sin(angles), rules.compute)


def rotate(x, cos, sin, pairs):
    """x [token][head][channel]."""
    cos, sin = cos[:, None], sin[:, None]
    if pairs == "neighbours":
        first, second = x[..., 0::2], x[..., 1::2]
        out = np.stack([first * cos - second * sin, second * cos + first * sin], -1)
        return out.reshape(x.shape)
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attend(layer, query, key, value, bias, kept, kv_heads):
    """query [token][head][channel], key and value [key][kv head][channel], bias [token][key] ->
    [token][width].

    kept: what a cache rounds keys and values to; rows of the prompt use the rounded ones too.
    "float16_attention": some kernels take queries in the cache's type, too, and return it; sums between are
    float32.
    """
    whole, kept = kept.endswith("_attention"), kept.removesuffix("_attention")
    query = rounded(query, kept) if whole else query
    n_heads, n_kv = query.shape[1], key.shape[1]
    heads = np.arange(n_heads) % n_kv if kv_heads == "dealt" else np.arange(n_heads) // (n_heads // n_kv)
    key, value = rounded(key, kept), rounded(value, kept)
    scores = layer.keep(
        query.swapaxes(0, 1) @ key[:, heads].transpose(1, 2, 0) / np.float32(math.sqrt(query.shape[-1])))
    probs = layer.keep(softmax(np.maximum(scores + bias, LOWEST)))
    context = layer.keep(probs @ value[:, heads].swapaxes(0, 1))
    context = rounded(context, kept) if whole else context
    return context.swapaxes(0, 1).reshape(len(query), -1)


class Text:
    """One pass over prompt and generated tokens."""

    def __init__(self, checkpoint, token_ids, n_prefill, projected, visible, present, rules):
        self.settings, self.rules, self.n_prefill = checkpoint.text, rules, n_prefill
        self.checkpoint, self.ids, self.projected = checkpoint, np.asarray(token_ids), projected
        self.eps = self.settings["rms_norm_eps"] if rules.rms_eps == "config" else float(rules.rms_eps)
        self.cross_eps = self.eps if rules.cross_norm_eps == "config" else float(rules.cross_norm_eps)
        self.head_eps = self.eps if rules.head_norm_eps == "config" else float(rules.head_norm_eps)
        n = len(self.ids)
        generated = np.arange(n) >= n_prefill
        shift = {"next": 0, "one_more": 1, "one_less": -1, "from_zero": 0}[rules.decode_position]
        positions = np.arange(n) + shift * generated
        if rules.decode_position == "from_zero":
            positions[n_prefill:] = 0
        self.cos, self.sin = rope_angles(checkpoint, positions, rules)
        self.causal = np.where(np.arange(n)[None] > np.arange(n)[:, None], LOWEST, np.float32(0))
        self.generated = generated
        if projected is not None:
            self.see(visible, present)

    def see(self, visible, present):
        """bias [token][key] and the row mask; rows that see nothing take the softmax over every key (TRAP:
        both references do)."""
        n_patches = self.projected.shape[2]
        keys = visible.reshape(len(visible), -1).repeat(n_patches, axis=1)
        if self.rules.cross_mask == "causal":
            keys = np.arange(keys.shape[1])[None] <= np.arange(len(keys))[:, None]
            keys = keys | self.generated[:, None]
        self.sees = keys.any(1)
        others = present.repeat(n_patches) if self.rules.empty_rows == "present" else True
        self.cross_bias = np.where(keys | ~self.sees[:, None] & others, np.float32(0), LOWEST)

    def run(self, parts=None):
        layer = Layer(self.checkpoint, "language_model.", self.rules)
        hidden = self.embed(layer)
        for index in range(self.settings["num_hidden_layers"]):
            at = layer.at(f"layers.{index}.")
            if index not in self.settings["cross_attention_layers"]:
                hidden = self.self_layer(at, hidden)
            elif self.projected is not None:
                hidden = self.cross_layer(at, hidden)
            elif self.rules.without_picture == "queries":
                hidden = self.cross_layer_of_queries(at, hidden)
            elif self.rules.without_picture == "mlp":
                hidden = layer.keep(hidden + layer.keep(
                    at.gate("cross_attn_mlp_gate", "tanh") * self.mlp(at, hidden, self.cross_eps)))
            if parts is not None:
                parts[f"language_model.layers.{index}"] = hidden
        hidden = layer.rms_norm(hidden, layer["norm.weight"], self.eps)
        return Layer(self.checkpoint, "", self.rules).linear(hidden, "lm_head")

    def embed(self, layer):
        rows = layer["embed_tokens.weight"]
        hidden = rows[self.ids]
        image = self.ids == self.checkpoint.image_token
        if self.rules.image_row != "own":
            n_words = self.settings["vocab_size"]
            hidden[image] = {"zero": np.float32(0), "last_word": rows[n_words - 1],
                             "next": rows[n_words + 1]}[self.rules.image_row]
        return hidden

    def heads(self, layer, x, name):
        d_head = self.settings["hidden_size"] // self.settings["num_attention_heads"]
        return layer.linear(x, name).reshape(*x.shape[:-1], -1, d_head)

    def self_layer(self, layer, hidden):
        rules = self.rules
        normed = layer.rms_norm(hidden, layer["input_layernorm.weight"], self.eps)
        query, key, value = (self.heads(layer, normed, f"self_attn.{leaf}_proj") for leaf in "qkv")
        query, key = (layer.keep(rotate(x, self.cos, self.sin, rules.rope_pairs)) for x in (query, key))
        context = attend(layer, query, key, value, self.causal, rules.self_cache, rules.kv_heads)
        hidden = layer.keep(hidden + layer.linear(context, "self_attn.o_proj"))
        return layer.keep(hidden + self.mlp(layer, hidden, self.eps))

    def mlp(self, layer, hidden, eps):
        normed = layer.rms_norm(hidden, layer["post_attention_layernorm.weight"], eps)
        gate = layer.linear(normed, "mlp.gate_proj")
        if self.rules.text_activation == "gelu":
            active = gelu(gate)
        else:
            active = gate / (1 + np.exp(-gate))
        gated = layer.keep(layer.keep(active) * layer.linear(normed, "mlp.up_proj"))
        return layer.linear(gated, "mlp.down_proj")

    def head_norm(self, layer, x, name):
        kind, other = getattr(self.rules, name), "k_norm" if name == "q_norm" else "q_norm"
        if kind == "missing":
            return x
        weight = layer[f"cross_attn.{other if kind == 'shared' else name}.weight"]
        return layer.rms_norm(x, np.ones_like(weight) if kind == "ones" else weight, self.head_eps)

    def cross_layer_of_queries(self, layer, hidden):
        """A cross layer that no picture reached: one half of the query heads serves as keys, the other as
        values."""
        normed = layer.rms_norm(hidden, layer["input_layernorm.weight"], self.cross_eps)
        key, value = np.split(self.heads(layer, normed, "cross_attn.q_proj"), 2, axis=1)
        query = self.head_norm(layer, self.heads(layer, normed, "cross_attn.q_proj"), "q_norm")
        # No mask: the prompt sees all of itself, later tokens come alone and see themselves.
        sees = ~self.generated[:, None] & ~self.generated[None] | np.eye(len(hidden), dtype=bool)
        bias = np.where(sees, np.float32(0), LOWEST)
        context = attend(layer, query, self.head_norm(layer, key, "k_norm"), value, bias, "float32",
                         self.rules.kv_heads)
        gate = layer.gate("cross_attn_attn_gate", "tanh")
        hidden = layer.keep(hidden + layer.keep(gate * layer.linear(context, "cross_attn.o_proj")))
        gate = layer.gate("cross_attn_mlp_gate", "tanh")
        return layer.keep(hidden + layer.keep(gate * self.mlp(layer, hidden, self.cross_eps)))

    def cross_layer(self, layer, hidden):
        rules = self.rules
        normed = layer.rms_norm(hidden, layer["input_layernorm.weight"], self.cross_eps)
        query = self.head_norm(layer, self.heads(layer, normed, "cross_attn.q_proj"), "q_norm")
        states = self.projected.reshape(-1, self.projected.shape[-1])
        key = self.head_norm(layer, self.heads(layer, states, "cross_attn.k_proj"), "k_norm")
        value = self.heads(layer, states, "cross_attn.v_proj")
        if rules.cross_rope != "none":
            query = rotate(query, self.cos, self.sin, rules.rope_pairs)
        if rules.cross_rope == "both":
            key = rotate(key, *rope_angles(self.checkpoint, np.arange(len(key)), rules), rules.rope_pairs)
        context = attend(layer, query, key, value, self.cross_bias, rules.cross_cache, rules.kv_heads)
        if rules.empty_rows == "mean":
            mean = attend(layer, query * 0, key, value, self.cross_bias, rules.cross_cache, rules.kv_heads)
            context = np.where(self.sees[:, None], context, mean)
        sees = self.sees[:, None].astype(np.float32)
        if rules.row_mask in ("meta", "attention"):
            context = context * sees
        kinds = {"tanh": "tanh", "raw": "raw", "branch": "branch", "off": "full"}
        branch = layer.linear(context, "cross_attn.o_proj")
        middle = layer.keep(hidden + layer.gated("cross_attn_attn_gate", kinds[rules.attention_gate], branch))
        branch = self.mlp(layer, middle, self.cross_eps)
        if rules.row_mask in ("meta", "transformers"):
            branch = branch * sees
        out = layer.keep(middle + layer.gated("cross_attn_mlp_gate", kinds[rules.mlp_gate], branch))
        if rules.decode == "skip":
            out = np.where(self.generated[:, None], hidden, out)
        return out


def text(checkpoint, token_ids, n_prefill, projected, present, given, rules, parts=None):
    """Logits [token][vocabulary]. present: [image][tile] bool; given: [prompt token][image][tile] bool or
    None."""
    visible = None
    if projected is not None:
        visible = seen_tiles(np.asarray(token_ids), n_prefill, checkpoint.image_token, present, given, rules)
        if rules.cross_tiles == "packed":
            projected = packed_tiles(projected, present)
    return Text(checkpoint, token_ids, n_prefill, projected, visible, present, rules).run(parts)
