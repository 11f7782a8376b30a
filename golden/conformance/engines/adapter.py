"""What every adapter shares: read the kit's cases, ask one engine for logits, write a submission for
score.py.

A submission is a folder: engine.json says who computed, and each case has a folder with logits.npy, float32
[prompt + decoded tokens, vocabulary], or with result.json when the engine refused the case or crashed on it.
Needs numpy and safetensors only, so that it loads in every engine's own Python.
"""

import argparse
import json
import sys
import traceback
from pathlib import Path

import numpy
from safetensors.numpy import load_file

CONFORMANCE = Path(__file__).resolve().parent.parent


class Refused(Exception):
    """The engine cannot hold this case, and says so (or its code plainly has no place for it)."""


class Case:
    """One case of the kit: exact inputs, and the ids to be fed one by one while decoding."""

    def __init__(self, folder):
        self.name = folder.name
        settings = json.loads((folder / "case.json").read_text())
        self.checkpoint = (CONFORMANCE / settings["checkpoint"]).resolve()
        self.config = json.loads((self.checkpoint / "config.json").read_text())
        self.inputs = load_file(folder / "inputs.safetensors")
        self.ids = [int(i) for i in self.inputs["input_ids"]]
        self.teacher_ids = [int(i) for i in self.inputs.get("teacher_ids", [])]
        self.n_pictures = len(self.inputs["pixel_values"]) if "pixel_values" in self.inputs else 0

    @property
    def image_token(self):
        return self.config["image_token_index"]

    @property
    def grids(self):
        """(h, w) of each picture's tiles."""
        ratios = self.config["vision_config"]["supported_aspect_ratios"]
        return [tuple(ratios[int(i) - 1]) for i in self.inputs["aspect_ratio_ids"]] if self.n_pictures else []


def read_weights(folder):
    """Every tensor of a checkpoint as float32 numpy arrays, under the names it has there."""
    from safetensors import safe_open

    tensors = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(file, framework="pt") as source:
            for name in source.keys():
                tensors[name] = source.get_tensor(name).float()
    return tensors


def write_result(folder, result, why):
    (folder / "result.json").write_text(json.dumps({"result": result, "why": why}, indent=1) + "\n")


def last_line(error):
    """The exception in one line, with the innermost place in the engine's own code."""
    places = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" in frame.filename]
    place = f" ({places[-1].filename.split('site-packages/')[-1]}:{places[-1].lineno})" if places else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{place}"


def run_case(engine, case, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    # Stands until the case is done: what is left of an engine that takes the whole process with it.
    write_result(folder, "crashed", "the process ended inside the engine")
    try:
        logits = numpy.asarray(engine.logits(case), dtype=numpy.float32)
    except Refused as problem:
        write_result(folder, "refused", str(problem))
        return "refused"
    except Exception as problem:  # whatever an engine throws is a result of its own
        write_result(folder, "crashed", last_line(problem))
        return "crashed: " + last_line(problem)
    want = len(case.ids) + len(case.teacher_ids)
    if logits.shape != (want, logits.shape[-1]):
        raise ValueError(f"{case.name}: the adapter gave logits {logits.shape}, want {want} rows")
    numpy.save(folder / "logits.npy", logits)
    (folder / "result.json").unlink()
    return f"{want} rows"


def main(make_engine, description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="folder to write the submission to")
    parser.add_argument("case", nargs="*", help="names of cases; all when none is given")
    parser.add_argument("--cases", type=Path, default=CONFORMANCE / "cases")
    parser.add_argument("--patched", nargs="*", default=[], type=Path, metavar="PATCH",
                        help="files of patches/ to apply to the engine's source as it is imported")
    parser.add_argument(
        "--decode", choices=("released", "meta"), default="released",
        help="mask rows of generated tokens, where no code of the engine but a recipe decides")
    options = parser.parse_args()
    from patching import apply_on_import

    apply_on_import(options.patched)
    engine = make_engine()
    engine.decode = options.decode
    options.run.mkdir(parents=True, exist_ok=True)
    patches = [patch.name for patch in options.patched]
    (options.run / "engine.json").write_text(json.dumps(
        {"engine": engine.name, "version": engine.version, "how": engine.how, "dtype": engine.dtype,
         "patched": patches}, indent=1) + "\n")
    folders = [path.parent for path in sorted(options.cases.glob("*/case.json"))]
    for folder in folders:
        if not options.case or folder.name in options.case:
            outcome = run_case(engine, Case(folder), options.run / folder.name)
            print(f"{engine.name} {engine.version} {' '.join(patches)}: {folder.name}: {outcome}",
                  file=sys.stderr)
