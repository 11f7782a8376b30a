"""Runs somebody's own Python script and records what its mllama model computes, with no change to the script.

    python trace/python/record_script.py [--trace DIR] [--only GLOB]... [--values all|sample|none] [--force]
    SCRIPT [ARGUMENT]...

The script loads `transformers.MllamaForConditionalGeneration` and calls it as it likes: by hand or by
`generate`, with functions and modules of its own in place of transformers'. Its first prompt becomes the
prefill of the trace, each later call with the same cache a decode step. Attention is set to eager, since sdpa
shows no probabilities; logits are asked for every token. One prompt at a time (batch size 1). A script that
fails leaves no trace.
"""

import argparse
import runpy
import sys
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record_common import describe_images, describe_model, describe_prompt, record_step_inputs, token_texts
from record_transformers import DTYPE_NAMES, Hooks, Sink, producer
from write_trace import TraceWriter


def say(text):
    print(f"record_script: {text}", file=sys.stderr)


class CannotRecord(Exception):
    """What the script does cannot be recorded; told in one line. The script's own exceptions keep their
    traceback."""


class ScriptRecorder:
    """Stands between a script and its model: every call of the model passes through `call`."""

    def __init__(self, writer):
        self.writer, self.model, self.hooks, self.fed, self.over = writer, None, None, [], False

    def call(self, original, model, args, kwargs):
        start = self.start_of(kwargs)
        if self.over or (self.model is not None and (model is not self.model or start == 0)):
            self.finish("a second prompt begins; only the first one is recorded")
            return original(model, *args, **kwargs)
        ids = args[0] if args else kwargs.get("input_ids")
        if ids is None or ids.shape[0] != 1:
            raise CannotRecord(
                f"the model was called with "
                f"{'no input_ids' if ids is None else f'a batch of {ids.shape[0]}'}; "
                "one prompt of token ids at a time can be recorded")
        # generate asks for the last row; every row holds the same numbers or more
        if "logits_to_keep" in kwargs:
            kwargs["logits_to_keep"] = 0
        if self.model is None:
            self.attach(model)
        self.begin_step(ids[0].tolist(), start, kwargs)
        return original(model, *args, **kwargs)

    @staticmethod
    def start_of(kwargs):
        """How many tokens the cache holds."""
        cache = kwargs.get("past_key_values")
        return 0 if cache is None else int(cache.get_seq_length())

    def attach(self, model):
        if model.config._attn_implementation != "eager":
            say(f"attention was {model.config._attn_implementation}; it is set to eager")
            if not hasattr(model, "set_attn_implementation"):
                raise CannotRecord(
                    "this release of transformers cannot change it; load with attn_implementation='eager'")
            model.set_attn_implementation("eager")
        self.model = model
        self.hooks = Hooks(model, Sink(self.writer), "transformers").attach()

    def begin_step(self, ids, start, kwargs):
        mask = kwargs.get("cross_attention_mask")
        inputs = {"input_ids": numpy.asarray(ids, dtype=numpy.int64)}
        for name, dtype in (("pixel_values", numpy.float32), ("aspect_ratio_ids", numpy.int64)):
            if kwargs.get(name) is not None:
                inputs[name] = kwargs[name][0].detach().float().cpu().numpy().astype(dtype)
        if not self.fed:
            self.describe(inputs)
        self.fed.append(ids)
        self.writer.begin_step("prefill" if len(self.fed) == 1 else "decode", start, len(ids))
        # Some releases are given the whole mask and cut it themselves: its last rows are this step's.
        rows = None if mask is None else mask[0, -len(ids):].cpu().numpy().astype(numpy.int64)
        pixels = kwargs.get("pixel_values")
        record_step_inputs(self.writer, ids, rows, inputs,
                           "F32" if pixels is None else DTYPE_NAMES[pixels.dtype])

    def describe(self, inputs):
        settings, self.folder = self.model.config.to_dict(), self.model.config._name_or_path
        self.writer.describe("reference", "transformers")
        self.writer.describe("producer", producer())
        self.writer.describe("model", describe_model(settings, self.folder))
        self.writer.describe("prompt", describe_prompt(inputs, self.folder))
        self.writer.describe("images", describe_images(inputs, settings))

    def finish(self, why=None):
        """Takes the hooks off; says why when the script is still running."""
        if why and not self.over:
            say(why)
        self.over = True
        if self.hooks is not None:
            self.hooks.detach()
            self.hooks = None
            ids = [i for step in self.fed[1:] for i in step]
            texts = token_texts(ids, self.folder)
            self.writer.describe("generated", {"token_ids": ids, "token_texts": texts})


def run_script(script, arguments, writer):
    """Runs the script as `python SCRIPT ARGUMENT...` would, recording into `writer`."""
    import transformers

    recorder, model_class = ScriptRecorder(writer), transformers.MllamaForConditionalGeneration
    own_call, original = "__call__" in vars(model_class), model_class.__call__
    model_class.__call__ = lambda model, *args, **kwargs: recorder.call(original, model, args, kwargs)
    argv, sys.argv = sys.argv, [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    finally:
        sys.argv = argv
        if own_call:
            model_class.__call__ = original
        else:
            del model_class.__call__
        recorder.finish()
    if recorder.model is None:
        raise CannotRecord(f"{script}: never called a transformers.MllamaForConditionalGeneration")


def main():
    parser = argparse.ArgumentParser(
        description="Run a Python script and record what its mllama model computes.",
        epilog="example: python trace/python/record_script.py --trace mine my_script.py")
    parser.add_argument("--trace", default="trace", help="folder to write (default: trace)")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB",
                        help="only tensors of these names")
    parser.add_argument("--values", choices=("all", "sample", "none"), default="sample")
    parser.add_argument("--force", action="store_true", help="replace an existing trace")
    parser.add_argument("script", metavar="SCRIPT")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not Path(options.script).is_file():
        say(f"{options.script}: no such file")
        return 2
    try:
        writer = TraceWriter(options.trace, "transformers", only=options.only, values=options.values,
                             force=options.force)
    except OSError as problem:
        say(problem)
        return 2
    try:
        with writer:
            run_script(options.script, options.arguments, writer)
    except CannotRecord as problem:
        say(problem)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
