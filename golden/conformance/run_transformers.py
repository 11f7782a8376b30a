"""An example of a submission: transformers, as released, on every case, teacher-forced.

    python golden/conformance/run_transformers.py RUN [--dtype float32|bfloat16|float16] [--trace]

With --trace the cases are recorded by trace/python/record_transformers.py instead (tokens of decode steps are
then its own).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "trace" / "python")]
from checkpoint import read_safetensors
from make_cases import interval_mask
from record_common import generated_mask_row, read_settings
from record_transformers import load_model, producer, record
from write_trace import TraceWriter


def inputs_of(case, folder, settings):
    """The tensors of a case; where the engine is to make the mask, transformers' rule for it."""
    inputs = {
        name: numpy.array(value) for name, value in read_safetensors(folder / "inputs.safetensors").items()}
    if "pixel_values" in inputs and "cross_attention_mask" not in inputs:
        grids = [picture["tiles"] for picture in case["pictures"]]
        inputs["cross_attention_mask"] = interval_mask(inputs["input_ids"].tolist(),
                                                       settings["image_token_index"], grids,
                                                       settings["vision_config"]["max_num_tiles"])
    return inputs


def teacher_forced(model, inputs, rules="transformers"):
    """Logits after every token of input_ids and teacher_ids, the latter fed one by one with a cache. rules:
    whose mask rows they get."""
    mask = inputs.get("cross_attention_mask")
    arguments = {"input_ids": inputs["input_ids"]}
    for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask", "cross_attention_mask"):
        if name in inputs:
            arguments[name] = inputs[name]
    arguments = {name: torch.from_numpy(value)[None] for name, value in arguments.items()}
    if "pixel_values" in arguments:
        arguments["pixel_values"] = arguments["pixel_values"].to(next(model.parameters()).dtype)
    with torch.inference_mode():
        out = model(**arguments, use_cache=True)
        rows = [out.logits[0]]
        for token in inputs["teacher_ids"].tolist():
            more = {} if mask is None else {
                "cross_attention_mask": torch.from_numpy(generated_mask_row(mask, rules))[None]}
            out = model(input_ids=torch.tensor([[token]]), past_key_values=out.past_key_values,
                        use_cache=True, **more)
            rows.append(out.logits[0])
    return torch.cat(rows).float().numpy()


def main():
    parser = argparse.ArgumentParser(description="transformers' submission to the conformance kit")
    parser.add_argument("run", help="folder to write")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    import transformers

    run = Path(options.run)
    run.mkdir(parents=True)
    (run / "engine.json").write_text(
        json.dumps({
            "engine": "transformers", "version": transformers.__version__,
            "how": "run_transformers.py, eager attention", "dtype": options.dtype}))
    for path in sorted((HERE / "cases").glob("*/case.json")):
        case, name = json.loads(path.read_text()), path.parent.name
        checkpoint = HERE / case["checkpoint"]
        inputs = inputs_of(case, path.parent, read_settings(checkpoint))
        if options.trace:
            from safetensors.numpy import save_file

            file = run / f"{name}.safetensors"
            save_file(inputs, file)
            with TraceWriter(run / name, producer(), only=["input_ids", "lm_head"]) as writer:
                record(checkpoint, file, writer, case["decode"] + 1, dtype=getattr(torch, options.dtype))
            file.unlink()
        else:
            (run / name).mkdir()
            numpy.save(run / name / "logits.npy",
                       teacher_forced(load_model(checkpoint, getattr(torch, options.dtype)), inputs))


if __name__ == "__main__":
    sys.exit(main())
