"""Hooks on transformers' mllama: what each module takes in and gives out, under the names of a trace.

record_transformers.py uses them, and record_script.py beside a script of one's own.
"""

import sys

import torch
from torch.overrides import TorchFunctionMode
from record_common import calling_line


class SoftmaxWatch(TorchFunctionMode):
    """Inside an attention: the sum whose softmax is taken, what the mask was added to, and what comes out."""

    def __init__(self, found):
        super().__init__()
        self.found, self.sum, self.before_sum = found, None, None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name in ("add", "__add__"):
            self.before_sum, self.sum = args[0], out
        elif name == "softmax":
            masked = args[0]
            self.found(self.before_sum if masked is self.sum else masked, masked, out)
        return out


class GateWatch(TorchFunctionMode):
    """Inside a layer: what the layer multiplies with a gate, or with a number made of the gate alone, such as
    its tanh.

    `gates` says for each gate's parameter who takes the product. Nothing is computed here again: a layer that
    forgets the tanh, or the gate, is recorded with what it does.
    """

    def __init__(self, gates):
        super().__init__()
        self.made_of_gate = {id(gate): (gate, found) for gate, found in gates}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        gate = next((self.made_of_gate[id(arg)] for arg in args if id(arg) in self.made_of_gate), None)
        if gate is not None and isinstance(out, torch.Tensor):
            if out.numel() == 1:
                self.made_of_gate[id(out)] = (out, gate[1])  # holding it keeps its id
            elif getattr(function, "__name__", "") in ("mul", "__mul__", "__rmul__", "multiply"):
                gate[1](out)
        return out


def first(value):
    """The tensor of an output, which may be a tensor, a tuple or a ModelOutput."""
    return value if isinstance(value, torch.Tensor) else value[0]


class Hooks:
    """The hooks on one model. `record(name, axes, tensor, source)` takes what they see."""

    def __init__(self, model, record, rules):
        self.record, self.rules, self.handles, self.undo = record, rules, [], []
        named = dict(model.named_modules())
        self.vision = named[next(n for n in named if n.split(".")[-1] == "vision_model")]
        self.projector = named[next(n for n in named if n.split(".")[-1] == "multi_modal_projector")]
        self.text = next(m for m in named.values() if type(m).__name__ == "MllamaTextModel")
        self.lm_head = named[next(n for n in named if n.split(".")[-1] == "lm_head")]
        self.n_tiles = self.vision.config.max_num_tiles
        self.kept_inputs = {}
        self.row_mask = None

    def after(self, module, found):
        self.handles.append(module.register_forward_hook(lambda m, args, out: found(first(out))))

    def before(self, module, found):
        def hook(module, args, kwargs):
            found(args[0] if args else kwargs["hidden_states" if "hidden_states" in
                                              kwargs else "hidden_state"])

        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def watch(self, module, make_mode):
        """Runs the module inside a function mode, a new one for each call."""
        forward = module.forward

        def watched(*args, **kwargs):
            with make_mode():
                return forward(*args, **kwargs)

        module.forward = watched
        self.undo.append(lambda: module.__dict__.pop("forward"))

    def watch_softmax(self, attention, found):
        self.watch(attention, lambda: SoftmaxWatch(found))

    def watch_gates(self, layer, **gates):
        self.watch(layer, lambda: GateWatch([(getattr(layer, gate), found) for gate, found in gates.items()]))

    def attach(self):
        self.attach_vision()
        for kind, encoder in (("transformer", self.vision.transformer),
                              ("global_transformer", self.vision.global_transformer)):
            for index, layer in enumerate(encoder.layers):
                self.attach_vision_layer(f"vision_model.{kind}.layers.{index}", layer)
        self.attach_text()
        for index, layer in enumerate(self.text.layers):
            name = f"language_model.layers.{index}"
            if hasattr(layer, "cross_attn"):
                self.attach_cross_layer(name, layer)
            else:
                self.attach_self_layer(name, layer)
        return self

    def detach(self):
        for handle in self.handles:
            handle.remove()
        for undo in self.undo:
            undo()

    # -- vision ----------------------------------------------------------------------------------------------

    def tiles(self, tensor, heads=None):
        """[image, tile, row, (head,) channel] of whatever shape the module works in."""
        width = tensor.shape[-1]
        rows = tensor.reshape(self.n_images, self.n_tiles, -1, width)
        return rows if heads is None else rows.unflatten(-1, (heads, -1))

    def attach_vision(self):
        vision = self.vision
        axes = "image tile patch channel"

        def patches(out):  # [image * tile][channel][row][column]
            self.n_images = out.shape[0] // self.n_tiles
            rows = out.flatten(2).transpose(1, 2)
            self.record("vision_model.patch_embedding", axes, self.tiles(rows))

        self.after(vision.patch_embedding, patches)
        for name in ("pre_tile_positional_embedding", "gated_positional_embedding", "layernorm_pre",
                     "layernorm_post", "post_tile_positional_embedding"):
            module = getattr(vision, name)
            self.after(module,
                       lambda out, name=name: self.record(f"vision_model.{name}", axes, self.tiles(out)))
        for index in vision.config.intermediate_layers_indices:
            self.before(vision.transformer.layers[index],
                        lambda hidden, index=index: self.kept_inputs.__setitem__(index, hidden))
        if self.rules == "meta":
            self.handles.append(vision.register_forward_hook(lambda m, args, out: self.keep_inputs(out)))
        self.after(vision, lambda out: self.record("vision_model", axes, self.tiles(out)))
        self.after(self.projector, lambda out: self.record("multi_modal_projector", axes, self.tiles(out)))

    def keep_inputs(self, out):
        """Meta's rule: what is kept is the input of each chosen layer, interleaved behind the final state."""
        state = first(out)
        width, n_patches = self.vision.config.hidden_size, state.shape[-2]
        kept = [self.kept_inputs[i] for i in sorted(self.vision.config.intermediate_layers_indices)]
        kept = self.tiles(torch.stack(kept, dim=-1).flatten(-2))[:, :, :n_patches]
        state = torch.cat([state[..., :width], kept.reshape(*state.shape[:-1], -1)], dim=-1)
        if isinstance(out, tuple):
            return (state, *out[1:])
        out["last_hidden_state"] = state
        return out

    def attach_vision_layer(self, name, layer):
        attention, mlp = layer.self_attn, layer.mlp
        heads = attention.num_heads
        row, by_head = "image tile patch channel", "image tile patch head channel"

        def rows(leaf):
            return lambda tensor: self.record(f"{name}{leaf}", row, self.tiles(tensor))

        self.after(layer.input_layernorm, rows(".input_layernorm"))
        for leaf in ("q_proj", "k_proj", "v_proj"):
            self.after(getattr(attention, leaf), lambda out, leaf=leaf: self.record(
                f"{name}.self_attn.{leaf}", by_head, self.tiles(out, heads)))

        def after_softmax(scores, masked, probs):
            for leaf, tensor in (("scores", scores), ("masked_scores", masked), ("probs", probs)):
                self.record(f"{name}.self_attn.{leaf}", "image head query key", tensor)

        self.watch_softmax(attention, after_softmax)
        self.before(attention.o_proj, lambda hidden: self.record(
            f"{name}.self_attn.context", by_head, self.tiles(hidden, heads)))
        self.after(attention.o_proj, rows(".self_attn.o_proj"))
        if layer.is_gated:
            self.watch_gates(layer, gate_attn=rows(".self_attn.gated"), gate_ffn=rows(".mlp.gated"))
        self.before(layer.post_attention_layernorm, rows(".residual"))
        self.after(layer.post_attention_layernorm, rows(".post_attention_layernorm"))
        self.after(mlp.fc1, rows(".mlp.fc1"))
        self.after(mlp.activation_fn, rows(".mlp.activation_fn"))
        self.after(mlp, rows(".mlp"))
        self.after(layer, rows(""))

    # -- text ------------------------------------------------------------------------------------------------

    def attach_text(self):
        self.after(self.text.embed_tokens,
                   lambda out: self.record("language_model.embed_tokens", "token channel", out[0]))
        def angles(module, args, out):
            for leaf, tensor in zip(("cos", "sin"), out):
                self.record(f"language_model.rotary_emb.{leaf}", "token channel", tensor[0])

        self.handles.append(self.text.rotary_emb.register_forward_hook(angles))
        self.after(self.text.norm, lambda out: self.record("language_model.norm", "token channel", out[0]))
        self.after(self.lm_head, lambda out: self.record("lm_head", "token vocabulary", out[0]))
        # Rotated queries and keys are seen where every release makes them: in the module's own function.
        module = sys.modules[type(self.text).__module__]
        original = module.apply_rotary_pos_emb

        def rotate(*args, **kwargs):
            query, key = original(*args, **kwargs)
            self.rotated(query, key)
            return query, key

        module.apply_rotary_pos_emb = rotate
        self.undo.append(lambda: setattr(module, "apply_rotary_pos_emb", original))

    def rotated(self, query, key):
        name = self.current_attention
        self.record(f"{name}.rotated_q", "token head channel", query[0].transpose(0, 1))
        self.record(f"{name}.rotated_k", "token kv_head channel", key[0].transpose(0, 1))

    def attach_text_layer(self, name, layer):
        """What self and cross layers have in common: norms, MLP, residual."""
        def rows(leaf):
            return lambda tensor: self.record(f"{name}{leaf}", "token channel", tensor[0])

        self.after(layer.input_layernorm, rows(".input_layernorm"))
        self.before(layer.post_attention_layernorm, rows(".residual"))
        self.after(layer.post_attention_layernorm, rows(".post_attention_layernorm"))
        self.after(layer.mlp.gate_proj, rows(".mlp.gate_proj"))
        # Computed before up_proj; the trace's order has it after.
        self.after(layer.mlp.act_fn, lambda out: setattr(self, "activated", (out, calling_line())))

        def up(out):
            rows(".mlp.up_proj")(out)
            self.record(f"{name}.mlp.act_fn", "token channel", self.activated[0][0], self.activated[1])

        self.after(layer.mlp.up_proj, up)
        self.before(layer.mlp.down_proj, rows(".mlp.gated"))
        self.after(layer.mlp, rows(".mlp"))
        return rows

    def attach_text_attention(self, name, attention):
        def after_softmax(scores, masked, probs):
            for leaf, tensor in (("scores", scores), ("masked_scores", masked), ("probs", probs)):
                self.record(f"{name}.{leaf}", "head token key", tensor[0])

        self.watch_softmax(attention, after_softmax)
        self.before(attention.o_proj, lambda hidden: self.record(
            f"{name}.context", "token head channel", hidden[0].unflatten(-1, (attention.num_heads, -1))))
        self.after(attention.o_proj, lambda out: self.record(f"{name}.o_proj", "token channel", out[0]))

    def attach_self_layer(self, name, layer):
        attention = layer.self_attn
        self.handles.append(attention.register_forward_pre_hook(
            lambda m, args: setattr(self, "current_attention", f"{name}.self_attn")))
        for leaf, axis in (("q_proj", "head"), ("k_proj", "kv_head"), ("v_proj", "kv_head")):
            self.after(
                getattr(attention, leaf), lambda out, leaf=leaf, axis=axis: self.record(
                    f"{name}.self_attn.{leaf}", f"token {axis} channel", out[0].unflatten(
                        -1, (-1, attention.head_dim))))
        self.attach_text_attention(f"{name}.self_attn", attention)
        rows = self.attach_text_layer(name, layer)
        self.after(layer, rows(""))

    def attach_cross_layer(self, name, layer):
        attention = layer.cross_attn
        d_head = attention.head_dim

        def row_mask(module, args, kwargs):
            mask = kwargs.get("full_text_row_masked_out_mask")
            self.row_mask = None if mask is None else mask[:, 0]  # [1][token][1]

        self.handles.append(layer.register_forward_pre_hook(row_mask, with_kwargs=True))
        self.after(attention.q_proj, lambda out: self.record(
            f"{name}.cross_attn.q_proj", "token head channel", out[0].unflatten(-1, (-1, d_head))))
        self.after(attention.q_norm, lambda out: self.record(
            f"{name}.cross_attn.q_norm", "token head channel", out[0].transpose(0, 1)))
        self.attach_cross_keys(name, attention)
        self.attach_text_attention(f"{name}.cross_attn", attention)
        if self.rules == "meta":  # after the hook that records the context
            self.handles.append(attention.o_proj.register_forward_pre_hook(
                lambda m, args: None if self.row_mask is None else (args[0] * self.row_mask,)))
        rows = self.attach_text_layer(name, layer)
        self.watch_gates(layer, cross_attn_attn_gate=rows(".cross_attn.gated"),
                         cross_attn_mlp_gate=rows(".mlp.gated_output"))
        self.after(layer, rows(""))

    def attach_cross_keys(self, name, attention):
        axes, d_head = "key kv_head channel", attention.head_dim

        def keys(out):
            # Early releases repeat the keys for every query head before they normalise them.
            out = out[0].reshape(attention.num_heads, -1,
                                 d_head) if out.shape[1] == attention.num_heads else out[0]
            out = out[:: out.shape[0] // attention.num_key_value_heads]
            self.record(f"{name}.cross_attn.k_norm", axes, out.transpose(0, 1))
            self.record(f"{name}.cross_attn.v_proj", axes, *self.values)

        def values(out):  # made before the keys are normalised; the trace's order has them after
            self.values = out.reshape(-1, attention.num_key_value_heads, d_head), calling_line()

        self.after(attention.k_proj, lambda out: self.record(
            f"{name}.cross_attn.k_proj", axes, out.reshape(-1, attention.num_key_value_heads, d_head)))
        self.after(attention.v_proj, values)
        self.after(attention.k_norm, keys)
