"""The forward pass of training: what transformers' modules compute under Meta's rules, with less work.

transformers' modules are made to be read and to serve every caller; a training step spends most of its
time between their matrix products. These functions read the same parameters and compute the same numbers
(a test holds the two together in float32). What they leave out:

- the seven padding rows of every tile all start as zeros and have no position, so they stay equal to each
  other through every layer: one row stands for a tile's seven, and as a key it counts seven times;
- the bfloat16 copy of every matrix is made once a step, not once a call (float32 where the processor has no
  bfloat16 instructions);
- the additive masks of vision and of cross-attention are two more channels of queries and keys.

Pictures come with a whole row of T tokens of text each, in which several dialogs lie one after the other;
a token sees the tokens of its own dialog only. RoPE knows distances alone, so a dialog may start anywhere.
"""
import math

import torch
import torch.nn.functional as F

from model import MAX_TILES, PATCH, PATCHES_PER_SIDE

ROWS = 1 + PATCHES_PER_SIDE**2                                  # of one tile: the class token and the patches
# The type of matrix products: without bfloat16 instructions they are slower in bfloat16 than in float32.
FAST_DTYPE = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
PAD_ROWS = -ROWS % 8                                            # every tile is padded to a multiple of 8 rows
FORBIDDEN = -30000.0
QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")


class Attend(torch.autograd.Function):
    """-> (softmax(q k^T + bias) v, that softmax) for [n, rows, width]; the queries are scaled already; bias
    is a constant."""

    @staticmethod
    def forward(context, query, key, value, bias, heads):
        scores = torch.bmm(query, key.transpose(1, 2))
        if bias is not None:
            shape = scores.shape
            scores = scores.view(-1, heads, *shape[1:]).add_(bias).view(shape)
        probs = scores.softmax(-1)
        context.save_for_backward(query, key, value, probs)
        context.set_materialize_grads(False)                    # probs rarely have one
        return torch.bmm(probs, value), probs

    @staticmethod
    def backward(context, grad, more_grad_probs):
        query, key, value, probs = context.saved_tensors
        grad = query.new_zeros(*query.shape[:2], value.shape[2]) if grad is None else grad.contiguous()
        grad_value = torch.bmm(probs.transpose(1, 2), grad)
        grad_probs = torch.bmm(grad, value.transpose(1, 2))
        if more_grad_probs is not None:
            grad_probs += more_grad_probs
        grad_scores = torch._softmax_backward_data(grad_probs, probs, -1, probs.dtype)
        grad_query, grad_key = torch.bmm(grad_scores, key), torch.bmm(grad_scores.transpose(1, 2), query)
        return grad_query, grad_key, grad_value, None, None


def split_heads(rows, heads):
    """[B, rows, heads * width] -> [B, heads, rows, width]."""
    return rows.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(rows, batch):
    """[B * heads, rows, width] -> [B, rows, heads * width]."""
    return rows.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)


def matrices(model, dtype):
    """Every parameter that is a matrix, in the type of the matrix products; gradients flow back to the
    float32 one."""
    return {name: value.to(dtype) if value.ndim > 1 else value for name, value in model.named_parameters()}


class Lean:
    """One step's view of a model: `Lean(model, dtype)` when the parameters have just changed."""

    def __init__(self, model, dtype=FAST_DTYPE):
        self.model, self.dtype = model, dtype
        self.weights = matrices(model, dtype)
        self.looks = []                                         # [B, heads, T, keys] of each cross-attention
        self.vision_config, self.text_config = model.config.vision_config, model.config.text_config

    def get(self, *path):
        return self.weights[".".join(map(str, path))]

    def linear(self, rows, *path, bias=False):
        added = self.get(*path, "bias").to(self.dtype) if bias else None
        return F.linear(rows, self.get(*path, "weight"), added)

    def layer_norm(self, rows, *path):
        weight, bias = self.get(*path, "weight").to(rows.dtype), self.get(*path, "bias").to(rows.dtype)
        return F.layer_norm(rows, weight.shape, weight, bias, self.vision_config.norm_eps)

    def rms_norm(self, rows, *path):
        weight = self.get(*path, "weight").to(rows.dtype)
        return F.rms_norm(rows, weight.shape, weight, self.text_config.rms_norm_eps)

    # ---- vision ---------------------------------------------------------------------------------------

    def patches(self, pixels):
        """[B, MAX_TILES, 3, TILE, TILE] -> [B, MAX_TILES, patches, width], the convolution as one matrix
        product."""
        n = PATCHES_PER_SIDE
        cut = pixels.unflatten(-1, (n, PATCH)).unflatten(-3, (n, PATCH))     # B, tile, 3, n, PATCH, n, PATCH
        cut = cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(*pixels.shape[:2], n * n, -1).to(self.dtype)
        return F.linear(cut, self.get("model.vision_model.patch_embedding.weight").flatten(1))

    def tile_vector(self, name, aspect_ratio_ids, n_tiles):
        """[B, n_tiles, 1, width] that a gated tile embedding adds."""
        gate = self.get("model.vision_model", name, "gate").tanh().to(self.dtype)
        table = self.get("model.vision_model", name, "embedding.weight")
        return (gate * table[aspect_ratio_ids]).unflatten(-1, (MAX_TILES, 1, -1))[:, :n_tiles]

    def positions(self, aspect_ratio_ids, n_tiles):
        name = "model.vision_model.gated_positional_embedding"
        gate = self.get(name, "gate").tanh().to(self.dtype)
        in_picture = self.get(name, "tile_embedding.weight")[aspect_ratio_ids]
        in_picture = in_picture.unflatten(-1, (MAX_TILES, ROWS, -1))
        return (1 - gate) * self.get(name, "embedding") + gate * in_picture[:, :n_tiles]

    def vision_layer(self, rows, bias, gated, *path):
        heads = self.vision_config.attention_heads
        normed = self.layer_norm(rows, *path, "input_layernorm")
        weight = torch.cat([self.get(*path, "self_attn", name, "weight") for name in QUERY_KEY_VALUE])
        query, key, value = split_heads(F.linear(normed, weight), 3 * heads).chunk(3, 1)
        scaled = query * query.shape[-1]**-.5
        query = torch.cat([scaled, bias[0].expand(*query.shape[:3], -1)], -1).flatten(0, 1)
        key = torch.cat([key, bias[1].expand(*key.shape[:3], -1)], -1).flatten(0, 1)
        attended = join_heads(Attend.apply(query, key, value.flatten(0, 1), None, heads)[0], len(rows))
        attended = self.linear(attended, *path, "self_attn.o_proj")
        if gated:
            attended = attended * self.get(*path, "gate_attn").tanh().to(self.dtype)
        rows = rows + attended
        normed = self.layer_norm(rows, *path, "post_attention_layernorm")
        hidden = F.gelu(self.linear(normed, *path, "mlp.fc1", bias=True))
        hidden = self.linear(hidden, *path, "mlp.fc2", bias=True)
        if gated:
            hidden = hidden * self.get(*path, "gate_ffn").tanh().to(self.dtype)
        return rows + hidden

    def mask_channels(self, tile_mask):
        """Two more channels of queries and keys, [B, 1, MAX_TILES * (ROWS + 1), 2] each.

        A padding row or a row of an absent tile sees none of its like (the product of the first channels);
        anything else sees the row that stands for a tile's padding as often as there are padding rows.
        """
        hidden = (tile_mask == 0).to(self.dtype)[..., None].repeat(1, 1, ROWS + 1)
        hidden[:, :, ROWS] = 1
        copies = torch.zeros_like(hidden)
        copies[:, :, ROWS] = math.log(PAD_ROWS)
        hidden, copies = hidden.flatten(1), copies.flatten(1)
        return (torch.stack([hidden, 1 - hidden], -1)[:, None],
                torch.stack([FORBIDDEN * hidden, copies], -1)[:, None])

    def see(self, pixels, ids, tile_mask):
        """Pictures -> [B, n_tiles * ROWS, text width], what cross-attention looks at.

        pixels [B, n_tiles, 3, TILE, TILE]; ids [B]: of aspect ratios; tile_mask [B, n_tiles]. n_tiles is
        MAX_TILES in the real model; with fewer, absent tiles are left out, which is cheaper but not the same.
        """
        name, (n_pictures, n_tiles) = "model.vision_model", pixels.shape[:2]
        rows = self.patches(pixels) + self.tile_vector("pre_tile_positional_embedding", ids, n_tiles)
        first = self.get(name, "class_embedding").to(self.dtype).expand(n_pictures, n_tiles, 1, -1)
        rows = torch.cat([first, rows], 2) + self.positions(ids, n_tiles)
        rows = F.pad(self.layer_norm(rows, name, "layernorm_pre"), (0, 0, 0, 1)).flatten(1, 2)
        bias = self.mask_channels(tile_mask)
        kept = []
        for index in range(self.vision_config.num_hidden_layers):
            if index in self.vision_config.intermediate_layers_indices:
                kept.append(rows)                               # Meta's rule: the INPUT of the layer
            rows = self.vision_layer(rows, bias, False, name, "transformer.layers", index)
        rows = self.layer_norm(rows, name, "layernorm_post").unflatten(1, (n_tiles, -1))
        rows = (rows + self.tile_vector("post_tile_positional_embedding", ids, n_tiles)).flatten(1, 2)
        for index in range(self.vision_config.num_global_layers):
            rows = self.vision_layer(rows, bias, True, name, "global_transformer.layers", index)
        states = torch.cat([rows, torch.stack(kept, -1).flatten(2)], -1)
        states = states.unflatten(1, (n_tiles, -1))[:, :, :ROWS].flatten(1, 2)
        return self.linear(states, "model.multi_modal_projector", bias=True)

    # ---- text -----------------------------------------------------------------------------------------

    def self_attention(self, rows, rope, mask, *path):
        """rows [S, T, width]: S segments of T tokens; mask [S, 1, T, T] is added to the scores."""
        heads, key_heads = self.text_config.num_attention_heads, self.text_config.num_key_value_heads
        weight = torch.cat([self.get(*path, name, "weight") for name in QUERY_KEY_VALUE])
        rows = split_heads(F.linear(rows, weight), heads + 2 * key_heads)
        turned, value = rows[:, :heads + key_heads], rows[:, heads + key_heads:]
        turned = turned * rope[0] + torch.cat([-turned[..., turned.shape[-1] // 2:],
                                               turned[..., :turned.shape[-1] // 2]], -1) * rope[1]
        query = (turned[:, :heads] * turned.shape[-1]**-.5).flatten(0, 1)
        key, value = (part.repeat_interleave(heads // key_heads, 1).flatten(0, 1)
                      for part in (turned[:, heads:], value))
        attended = join_heads(Attend.apply(query, key, value, mask, heads)[0], len(rows))
        return self.linear(attended, *path, "o_proj")

    def cross_attention(self, rows, states, absent, *path):
        """rows [B, T, width] look at states [B, keys, width]; absent [B, keys, 1] forbids keys of absent
        tiles."""
        heads, key_heads = self.text_config.num_attention_heads, self.text_config.num_key_value_heads
        query = self.rms_norm(split_heads(self.linear(rows, *path, "q_proj"), heads), *path, "q_norm")
        key = self.rms_norm(split_heads(self.linear(states, *path, "k_proj"), key_heads), *path, "k_norm")
        value = split_heads(self.linear(states, *path, "v_proj"), key_heads)
        query = F.pad(query * query.shape[-1]**-.5, (0, 1), value=1.0).flatten(0, 1)
        key = torch.cat([key, FORBIDDEN * absent[:, None].expand(-1, key_heads, -1, -1)], -1)
        key, value = (part.repeat_interleave(heads // key_heads, 1).flatten(0, 1) for part in (key, value))
        attended, probs = Attend.apply(query, key, value, None, heads)
        self.looks.append(probs.unflatten(0, (len(rows), heads)))
        return self.linear(join_heads(attended, len(rows)), *path, "o_proj")

    def text_mlp(self, rows, *path):
        gate, up = F.linear(rows, torch.cat([self.get(*path, name, "weight")
                                             for name in ("gate_proj", "up_proj")])).chunk(2, -1)
        return self.linear(F.silu(gate) * up, *path, "down_proj")

    def cross_layer(self, rows, states, absent, sees, *path):
        attended = self.cross_attention(self.rms_norm(rows, *path, "input_layernorm"), states, absent,
                                        *path, "cross_attn")
        gate = self.get(*path, "cross_attn_attn_gate").tanh().to(self.dtype)
        rows = rows + gate * sees * attended  # Meta's rule: blind rows get nothing from either branch
        hidden = self.text_mlp(self.rms_norm(rows, *path, "post_attention_layernorm"), *path, "mlp")
        return rows + self.get(*path, "cross_attn_mlp_gate").tanh().to(self.dtype) * sees * hidden

    def self_layer(self, rows, rope, mask, *path):
        n_segments, shape = len(mask), rows.shape
        rows = rows.reshape(n_segments, -1, shape[-1])
        normed = self.rms_norm(rows, *path, "input_layernorm")
        rows = rows + self.self_attention(normed, rope, mask, *path, "self_attn")
        rows = rows + self.text_mlp(self.rms_norm(rows, *path, "post_attention_layernorm"), *path, "mlp")
        return rows.reshape(shape)

    def rope(self, n_tokens):
        """(cosines, sines) [T, head width] as transformers' rotary embedding gives them."""
        places = torch.arange(n_tokens)[None]
        cosine, sine = self.model.model.language_model.rotary_emb(torch.zeros(1), places)
        return cosine[0].to(self.dtype), sine[0].to(self.dtype)

    def read(self, batch, states):
        """-> hidden rows [B, T, width] after the final norm, for packed dialogs (see samples.Packed)."""
        name = "model.language_model"
        ids = batch["input_ids"]
        mask = dialog_mask(batch["dialogs"], self.dtype)
        rope = self.rope(mask.shape[-1])
        sees = batch["sees"].to(self.dtype)[..., None]
        absent = (batch["aspect_ratio_mask"] == 0).to(self.dtype)[..., None].expand(-1, -1, ROWS).flatten(1)
        rows = self.get(name, "embed_tokens.weight")[ids]
        for index in range(self.text_config.num_hidden_layers):
            if index in self.text_config.cross_attention_layers:
                rows = self.cross_layer(rows, states, absent[..., None], sees, name, "layers", index)
            else:
                rows = self.self_layer(rows, rope, mask, name, "layers", index)
        return self.rms_norm(rows, name, "norm")

    def logits(self, rows):
        return F.linear(rows, self.get("lm_head.weight"))


def dialog_mask(dialogs, dtype):
    """dialogs [segments, T]: the number of each token's dialog, -1 for padding -> additive mask [segments,
    1, T, T]."""
    causal = torch.ones(dialogs.shape[1], dialogs.shape[1], dtype=torch.bool).tril()
    allowed = (dialogs[:, :, None] == dialogs[:, None, :]) & causal
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, FORBIDDEN)[:, None]
