"""An example of a submission: transformers, as released, on every case, teacher-forced.

    python golden/conformance/run_transformers.py RUN [--dtype float32|bfloat16|float16] [--trace]

With --trace the cases are recorded by trace/python/record_transformers.py instead (tokens of decode steps are
then its own).
"""

import argparse
import inspect
import json
import sys
from pathlib import Path

import numpy
import torch
import transformers

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "trace" / "python")]
from checkpoint import read_safetensors
from masks import interval_mask
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
    mask, ids = inputs.get("cross_attention_mask"), inputs["input_ids"].tolist()
    # Releases before 5 want to be told where the tokens stand; the first ones make no cache of their own.
    wants_position = "cache_position" in inspect.signature(type(model).forward).parameters
    cache, rows, start = transformers.DynamicCache() if wants_position else None, [], 0
    pictures = {name: torch.from_numpy(inputs[name])[None]
                for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask") if name in inputs}
    if pictures:
        pictures["pixel_values"] = pictures["pixel_values"].to(next(model.parameters()).dtype)
    for token in [*inputs["teacher_ids"].tolist(), None]:
        arguments = {"input_ids": torch.tensor([ids[start:]]), "past_key_values": cache, "use_cache": True}
        if mask is not None:
            arguments["cross_attention_mask"] = torch.from_numpy(mask)[None]
            mask = numpy.concatenate([mask, generated_mask_row(mask, rules)])
        if wants_position:
            arguments["cache_position"] = torch.arange(start, len(ids))
        with torch.inference_mode():
            out = model(**arguments, **(pictures if start == 0 else {}))
        rows.append(out.logits[0])
        cache, start = out.past_key_values, len(ids)
        ids.append(token)
    return torch.cat(rows).float().numpy()


def main():
    parser = argparse.ArgumentParser(description="transformers' submission to the conformance kit")
    parser.add_argument("run", help="folder to write")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
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
            try:
                logits = teacher_forced(load_model(checkpoint, getattr(torch, options.dtype)), inputs)
            except Exception as error:  # whatever it is: that this release ends so is the result of the case
                why = f"{type(error).__name__}: {error}"
                (run / name / "result.json").write_text(json.dumps({"result": "crashed", "why": why}))
                continue
            numpy.save(run / name / "logits.npy", logits)


if __name__ == "__main__":
    sys.exit(main())
