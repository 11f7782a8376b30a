"""Records a run of Hugging Face transformers' mllama as a trace, with the same names Pictor uses.

    python trace/python/record_transformers.py --model DIR --inputs FILE.safetensors --trace DIR [--greedy N]
                                        [--rules transformers|meta] [--only GLOB]...
                                        [--values all|sample|none]

FILE holds what `reference forward` takes. transformers' code is not changed: hooks on its modules see what
goes in and comes out, and a function mode around each attention sees the softmax. `--rules transformers` is
the release as it is. `--rules meta` repairs the three places where it parts from Meta's code, from outside:
kept vision states are the INPUTS of their layers, rows that see no picture are zeroed after cross-attention
too, and with several pictures generated tokens see none. Written for 5.23; run with 4.45 and 4.54 too.
"""

import argparse
import inspect
import sys
from pathlib import Path

import numpy
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record_common import (BAD_INPUT, calling_line, describe_images, describe_model, describe_prompt,
                           generated_mask_row, read_inputs, read_settings, record_step_inputs)
from transformers_hooks import Hooks

DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64",
               torch.float64: "F64"}


class Sink:
    """Gives torch tensors to a trace writer."""

    def __init__(self, writer):
        self.writer = writer

    def __call__(self, name, axes, tensor, source=None):
        if not self.writer.wants(name):
            return
        dtype = DTYPE_NAMES[tensor.dtype]
        keep = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        self.writer.tensor(name, axes, tensor.detach().to(keep).cpu().contiguous().numpy(), dtype=dtype,
                           source=source or calling_line())


def load_model(folder, dtype=torch.float32):
    """The checkpoint in `dtype` (BF16 and F16 files are widened), eager attention: sdpa shows no
    probabilities."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model_class = transformers.MllamaForConditionalGeneration
    new = int(transformers.__version__.split(".")[0]) >= 5
    model, report = model_class.from_pretrained(folder, attn_implementation="eager", output_loading_info=True,
                                                **{"dtype" if new else "torch_dtype": dtype})
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            raise ValueError(f"{folder}: {kind.replace('_', ' ')}: {sorted(report[kind])[:5]}")
    return model.eval()


def producer(rules="transformers"):
    import transformers

    return f"transformers {transformers.__version__}" + (" under Meta's rules" if rules == "meta" else "")


def run(model, inputs, greedy, rules, writer):
    """Prefill and greedy decoding with a cache; returns the generated ids."""
    hooks = Hooks(model, Sink(writer), rules).attach()
    try:
        with torch.inference_mode():
            return run_steps(model, inputs, greedy, rules, writer)
    finally:
        hooks.detach()


def run_steps(model, inputs, greedy, rules, writer):
    from transformers import DynamicCache

    ids = [int(i) for i in inputs["input_ids"]]
    mask = inputs.get("cross_attention_mask")
    # Releases before 5 slice the mask by position and want to be told it; the first ones make no cache of
    # their own.
    wants_position = "cache_position" in inspect.signature(type(model).forward).parameters
    cache = DynamicCache() if wants_position else None
    generated, start = [], 0
    for step in range(max(greedy, 1)):
        count = len(ids) - start
        writer.begin_step("prefill" if step == 0 else "decode", start, count)
        record_step_inputs(writer, ids[start:], None if mask is None else mask[start:],
                           inputs if step == 0 else None)
        arguments = {"input_ids": torch.tensor([ids[start:]]), "use_cache": True,
                     "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
        if cache is not None:
            arguments["past_key_values"] = cache
        if mask is not None:
            arguments["cross_attention_mask"] = torch.from_numpy(mask)[None]
        if step == 0 and "pixel_values" in inputs:
            dtype = next(model.parameters()).dtype
            arguments["pixel_values"] = torch.from_numpy(inputs["pixel_values"])[None].to(dtype)
            arguments["aspect_ratio_ids"] = torch.from_numpy(inputs["aspect_ratio_ids"])[None]
            arguments["aspect_ratio_mask"] = torch.from_numpy(inputs["aspect_ratio_mask"])[None]
        if wants_position:
            arguments["cache_position"] = torch.arange(start, len(ids))
        out = model(**arguments)
        cache, start = out.past_key_values, len(ids)
        if step < greedy:
            generated.append(int(out.logits[0, -1].argmax()))
            ids.append(generated[-1])
            mask = mask if mask is None else numpy.concatenate([mask, generated_mask_row(mask, rules)])
    return generated


def record(model_folder, inputs_file, writer, greedy=0, rules="transformers", dtype=torch.float32):
    """One whole recording into `writer`; returns the generated ids."""
    settings = read_settings(model_folder)
    inputs = read_inputs(inputs_file, settings)
    writer.describe("reference", rules)
    writer.describe("producer", producer(rules))
    writer.describe("model", describe_model(settings, model_folder))
    writer.describe("prompt", describe_prompt(inputs, model_folder))
    writer.describe("images", describe_images(inputs, settings))
    generated = run(load_model(model_folder, dtype), inputs, greedy, rules, writer)
    writer.describe("generated", {"token_ids": generated})
    return generated


def main():
    parser = argparse.ArgumentParser(description="Record a run of transformers' mllama as a trace.")
    parser.add_argument("--model", required=True, help="folder of the checkpoint")
    parser.add_argument("--inputs", required=True, help="safetensors file as `reference forward` takes it")
    parser.add_argument("--trace", required=True, help="folder to write")
    parser.add_argument("--greedy", type=int, default=0, help="generate exactly this many tokens")
    parser.add_argument("--rules", choices=("transformers", "meta"), default="transformers")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB",
                        help="only tensors of these names")
    parser.add_argument("--values", choices=("all", "sample", "none"), default="sample")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--force", action="store_true", help="replace an existing trace")
    options = parser.parse_args()
    try:
        from write_trace import TraceWriter

        with TraceWriter(options.trace, producer(options.rules), only=options.only, values=options.values,
                         force=options.force) as writer:
            record(options.model, options.inputs, writer, options.greedy, options.rules,
                   getattr(torch, options.dtype))
    except BAD_INPUT as problem:
        print(f"record_transformers: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
