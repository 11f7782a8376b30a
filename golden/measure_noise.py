"""Measures how far float32 alone moves each kind of tensor, and writes the tolerances of the golden cases.

    python golden/measure_noise.py          writes golden/tolerances.json and golden/tolerances_long.json
    python golden/measure_noise.py --dtypes writes golden/tolerances_bf16.json and golden/tolerances_f16.json

Each case is run again in ways that are the same in exact arithmetic and differ in rounding:
 - the channels of the residual streams and of the MLPs and the pixels of a patch shuffled, weights with them:
 every
   product with a weight sums in another order;
 - RoPE's angles in float64 instead of float32;
 - by Meta's code instead of transformers under Meta's rules: fused attention, complex rotation, unfolded
 convolution.
Noise of a kind of tensor (its name with the layer's number left out) is the largest difference at any
element, layer, step, case and rule, never taken below half a unit in the last place of the kind's largest
number. A tolerance is ten times that, rounded up, as atol; rtol is 0, so that a masked score (the lowest
float) has to be met exactly. The table printed last also shows the third kind alone: how far the two oracles
are apart.

With --dtypes each case's prefill is run by transformers in BF16 and in F16, weights and all, under both
rules, and compared with the same in float32. Noise is again the largest difference per kind; the tolerance is
three times that: rounding to 16 bits at every step is far above anything else that differs, and a wide
tolerance hides faults. The table also shows the noise in units of roundoff (2^-8 for BF16, 2^-11 for F16) of
the tensor's standard deviation, beyond 8 units of each number itself: what `trace diff` goes by on models
that have no file of tolerances.
"""

import json
import math
import re
import sys
from pathlib import Path

import numpy
import torch

GOLDEN = Path(__file__).resolve().parent
sys.path[:0] = [str(GOLDEN), str(GOLDEN.parent / "trace" / "python")]

import record_meta
import record_transformers
from record_common import ArrayWriter, read_inputs, read_settings

N_SHUFFLES = 4
FACTOR = 10
FACTOR_DTYPE = 3
UNITS_OF_VALUE = 8  # what trace diff allows of each number, in units of roundoff
ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
EXACT = ("input_ids", "pixel_values", "aspect_ratio_ids", "cross_attention_mask",
         "full_text_row_masked_out_mask", "language_model.embed_tokens")  # nothing is computed


def kind_of(name):
    """A tensor's name as a glob over layers; also a key of the tolerance file."""
    return re.sub(r"layers\.\d+", "layers.*", name)


class Shuffle:
    """Permutations of the channels that only sums see, for one model."""

    def __init__(self, settings, seed):
        random = numpy.random.default_rng(seed)
        text, vision = settings["text_config"], settings["vision_config"]
        self.text, self.text_mlp = (random.permutation(text[k]) for k in ("hidden_size", "intermediate_size"))
        self.vision, self.vision_mlp = (random.permutation(vision[k])
                                        for k in ("hidden_size", "intermediate_size"))
        self.patch_size = vision["patch_size"]
        self.pixels = random.permutation(3 * self.patch_size**2)
        n_kept = len(vision["intermediate_layers_indices"])
        kept = vision["hidden_size"] + self.vision[:, None] * n_kept + numpy.arange(n_kept)
        self.concat = numpy.concatenate([self.vision, kept.reshape(-1)])

    def apply(self, model):
        for name, parameter in model.named_parameters():
            rows, columns = self.axes_of(name)
            value = parameter.detach()
            if columns is self.vision and name.endswith("embedding.weight"):  # [id][tile * (patch *) channel]
                value = value.unflatten(-1, (-1, len(columns)))[..., columns].flatten(1)
            elif columns is not None:
                value = value[..., columns]
            if name.endswith("patch_embedding.weight"):
                value = value.flatten(1)[:, self.pixels].unflatten(1, value.shape[1:])
            parameter.data = (value if rows is None else value[rows]).contiguous()

    def shuffle_pixels(self, pixels, order):
        """[image, tile, colour, row, column] with the pixels of each patch in another order."""
        patch, n = self.patch_size, pixels.shape[-1] // self.patch_size
        patches = pixels.reshape(*pixels.shape[:3], n, patch, n, patch).transpose(0, 1, 3, 5, 2, 4, 6)
        moved = patches.reshape(*patches.shape[:4], -1)[..., order].reshape(patches.shape)
        return numpy.ascontiguousarray(moved.transpose(0, 1, 4, 2, 5, 3, 6).reshape(pixels.shape))

    def inputs(self, inputs):
        if "pixel_values" not in inputs:
            return inputs
        return inputs | {"pixel_values": self.shuffle_pixels(inputs["pixel_values"], self.pixels)}

    def axes_of(self, name):
        """Permutations of the first and the last axis of a parameter."""
        is_vision = ".vision_model." in name
        stream, mlp = (self.vision, self.vision_mlp) if is_vision else (self.text, self.text_mlp)
        parts = name.split(".")
        leaf = parts[-2] if parts[-1] in ("weight", "bias") else parts[-1]
        if leaf in ("q_norm", "k_norm") or "gate" in parts[-1]:
            return None, None
        if leaf == "multi_modal_projector":
            return self.text, self.concat if parts[-1] == "weight" else None
        if parts[-1] == "bias" or "norm" in leaf or leaf == "class_embedding":
            return (mlp if leaf == "fc1" else stream), None
        if leaf in ("o_proj", "patch_embedding"):
            return stream, None
        if leaf in ("fc1", "gate_proj", "up_proj"):
            return mlp, stream
        if leaf in ("fc2", "down_proj"):
            return stream, mlp
        return None, stream  # q, k, v, embeddings, lm_head

    def undo(self, name, array):
        """A recorded tensor with its channels where they were."""
        if name == "pixel_values":
            return self.shuffle_pixels(array, numpy.argsort(self.pixels))
        order = self.order_of(name)
        if order is None:
            return array
        out = numpy.empty_like(array)
        out[..., order] = array
        return out

    def order_of(self, name):
        leaf = name.split(".")[-1]
        if name in EXACT[:-1] or name == "lm_head" or "rotary_emb" in name:
            return None
        if name == "vision_model":
            return self.concat
        if name == "multi_modal_projector" or name.startswith("language_model."):
            stream, mlp = self.text, self.text_mlp
        else:
            stream, mlp = self.vision, self.vision_mlp
        if leaf in ("fc1", "activation_fn", "gate_proj", "up_proj", "act_fn"):
            return mlp
        if leaf == "gated" and ".mlp." in name and mlp is self.text_mlp:
            return mlp
        if "attn." in name and leaf not in ("o_proj", "gated"):
            return None  # inside attention: heads, keys
        return stream


def use_float64_angles(model):
    """RoPE's angles as float64 would have them, cosine and sine rounded to float32 at the end."""
    rotary = next(m for m in model.modules() if type(m).__name__ == "MllamaRotaryEmbedding")

    def forward(x, position_ids):
        angles = position_ids[..., None].double() * rotary.inv_freq.double()
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    rotary.forward = forward


def record(case, rules, change=None, inputs=None, dtype=torch.float32, greedy=None):
    model = record_transformers.load_model(case["checkpoint"], dtype)
    if change is not None:
        change(model)
    writer = ArrayWriter()
    greedy = case["greedy"] if greedy is None else greedy
    ids = record_transformers.run(model, inputs or case["inputs"], greedy, rules, writer)
    return writer.arrays, ids


def difference(a, b):
    """Largest difference, and the largest number; where a mask says no both must."""
    allowed = numpy.abs(a) < 1e30
    if not numpy.array_equal(allowed, numpy.abs(b) < 1e30):
        raise ValueError("masked elements differ")
    a, b = a[allowed].astype(numpy.float64), b[allowed].astype(numpy.float64)
    return (float(numpy.abs(a - b).max()), float(numpy.abs(a).max())) if a.size else (0.0, 0.0)


def widen(noise, base, other, undo=lambda name, array: array):
    for (step, name), array in base.items():
        found, largest = difference(array, undo(name, other[step, name]))
        kind = kind_of(name)
        old = noise.get(kind, (0.0, 0.0))
        noise[kind] = (max(old[0], found), max(old[1], largest))


def measure(case, noise):
    for rules in ("transformers", "meta"):
        base, ids = record(case, rules)
        for seed in range(N_SHUFFLES):
            shuffle = Shuffle(case["settings"], seed)
            other, other_ids = record(case, rules, shuffle.apply, shuffle.inputs(case["inputs"]))
            if ids != other_ids:
                raise ValueError(f"{case['name']}: another order of summation changes the generated ids")
            widen(noise, base, other, shuffle.undo)
        widen(noise, base, record(case, rules, use_float64_angles)[0])


def tolerance(kind, found, largest):
    if kind in EXACT:
        return 0.0
    return rounded_up(FACTOR * max(found, 2.0**-24 * largest))


def rounded_up(noise):
    step = 10.0 ** (math.floor(math.log10(noise)) - 1)
    return float(f"{math.ceil(noise / step) * step:.1e}")


def write_tolerances(path, noise):
    lines = ['"_": ' + json.dumps(f"{FACTOR} x the float32 noise that golden/measure_noise.py measured")]
    for kind, (found, largest) in noise.items():
        lines.append(f'{json.dumps(kind)}: {{"atol": {tolerance(kind, found, largest):g}, "rtol": 0}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read_case(folder):
    case = json.loads((folder / "case.json").read_text())
    checkpoint = GOLDEN / case["checkpoint"]
    settings = read_settings(checkpoint)
    return {"name": folder.name, "checkpoint": checkpoint, "settings": settings, "greedy": case["greedy"],
            "file": folder / case["inputs"], "inputs": read_inputs(folder / case["inputs"], settings)}


def compare_oracles(case, noise, oracles):
    """Meta's code against transformers under Meta's rules."""
    base, ids = record(case, "meta")
    writer = ArrayWriter()
    if record_meta.record(case["checkpoint"], case["file"], writer, case["greedy"]) != ids:
        raise ValueError(f"{case['name']}: the oracles generate other ids")
    if list(writer.arrays) != list(base):
        raise ValueError(f"{case['name']}: the oracles record other tensors")
    widen(noise, base, writer.arrays)
    widen(oracles, base, writer.arrays)


def report(noise, oracles):
    print(f"{'kind':75} {'largest':>9} {'noise':>9} {'oracles':>9} {'atol':>9}")
    for kind, (found, largest) in noise.items():
        between = oracles.get(kind, (float("nan"),))[0]
        print(f"{kind:75} {largest:9.3g} {found:9.2g} {between:9.2g} {tolerance(kind, found, largest):9.2g}")


# A mask leaves the lowest number of its dtype, which is another one in each: it is met where both say no.
def unmasked(array):
    return numpy.where(array < -6e4, numpy.float32(-6e4), array).astype(numpy.float64)


def measure_dtype(case, dtype, noise):
    """noise: kind -> largest difference, and the largest beyond 8 units of the number, in units of the
    spread."""
    for rules in ("transformers", "meta"):
        base, _ = record(case, rules, greedy=1)
        other, _ = record(case, rules, dtype=getattr(torch, dtype), greedy=1)
        for (step, name), array in base.items():
            a, b = unmasked(array), unmasked(other[step, name])
            if numpy.any((a == -6e4) != (b == -6e4)):
                raise ValueError(f"{case['name']}: {name}: masked elements differ")
            found = float(numpy.abs(a - b).max())
            spread = float(a[a > -6e4].std()) if numpy.any(a > -6e4) else 0.0
            beyond = float((numpy.abs(a - b)
                            - UNITS_OF_VALUE * ROUNDOFF[dtype] * numpy.abs(a))[a > -6e4].max(initial=0.0))
            units = beyond / (spread * ROUNDOFF[dtype]) if spread > 0 else 0.0
            old = noise.get(kind_of(name), (0.0, 0.0))
            noise[kind_of(name)] = (max(old[0], found), max(old[1], units))


def write_dtype_tolerances(path, dtype, noise):
    how = (
        f"{FACTOR_DTYPE} x the largest difference between {dtype} and float32 that golden/measure_noise.py "
        f"--dtypes "
        "measured over the prefills of all cases")
    lines = ['"_": ' + json.dumps(how)]
    for kind, (found, _) in noise.items():
        # rtol is for masks alone: the lowest BF16 is 0.4 % from the lowest float.
        rtol = 0.005 if kind.endswith("masked_scores") else 0
        lines.append(f'{json.dumps(kind)}: {{"atol": {rounded_up(FACTOR_DTYPE * found):g}, "rtol": {rtol:g}}}'
                     if found > 0 else f'{json.dumps(kind)}: {{"atol": 0, "rtol": 0}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main_dtypes():
    for dtype, file in (("bfloat16", "tolerances_bf16.json"), ("float16", "tolerances_f16.json")):
        noise = {}
        for folder in sorted((GOLDEN / "cases").iterdir()):
            if folder.name != "long":  # its angles past 8192 are their own story
                measure_dtype(read_case(folder), dtype, noise)
        write_dtype_tolerances(GOLDEN / file, dtype, noise)
        print(f"{dtype}\n{'kind':75} {'noise':>9} {'units':>6} {'atol':>9}")
        for kind, (found, units) in noise.items():
            print(
                f"{kind:75} {found:9.2g} {units:6.1f} {rounded_up(FACTOR_DTYPE * found) if found else 0:9.2g}"
            )


def main():
    if sys.argv[1:] == ["--dtypes"]:
        return main_dtypes()
    for is_long, file in ((False, "tolerances.json"), (True, "tolerances_long.json")):
        noise, oracles = {}, {}
        for folder in sorted((GOLDEN / "cases").iterdir()):
            if (folder.name == "long") != is_long:
                continue
            case = read_case(folder)
            print(folder.name, flush=True)
            measure(case, noise)
            if folder.name != "own_tiles":
                compare_oracles(case, noise, oracles)
        write_tolerances(GOLDEN / file, noise)
        report(noise, oracles)


if __name__ == "__main__":
    main()
