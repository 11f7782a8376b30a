"""Measures the C++ program on held-out scenes, under the rules of both references: same weights, two rules.

    python evaluate_reference.py [--questions 120] [--pointing 200] [--seed 11] [--means-only]

Answers: `reference run` is asked every question of held-out scenes in the chat format, greedily, and is
right when it says exactly the true answer. Pointing: a traced run is given the true description as if it
had said it, so that every object's word counts and both rules are judged on the same words; the row of
cross-attention before a word must have its strongest patch inside the object's box (half a patch of
margin), for every layer and head and for the mean over heads. Needs Python with numpy and Pillow; the same seed
asks the same questions.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
    import PIL
except ImportError as error:
    raise SystemExit(f"evaluate_reference: {error}: install numpy and Pillow (Debian: python3-numpy python3-pil)")

from heldout import write_heldout
from measure import Answers, PatchGrid, Pointing, object_words, print_answers, print_pointing
from scenes import question_kind

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "trace" / "python"))
from load_trace import load_trace

REFERENCES = ("meta", "transformers")
DESCRIPTION_PROMPT = ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|image|>{question}<|eot_id|>"
                      "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}")


class Program:
    """`reference run` with the options that stay the same."""

    def __init__(self, path, model):
        self.command = [str(path), "run", "--model", str(model), "--threads", "1"]

    def run(self, reference, image, prompt, *options):
        """-> what it printed; a failure ends the evaluation with the program's own words."""
        command = [*self.command, "--reference", reference, "--image", str(image), "--prompt", prompt, *options]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"evaluate_reference: {' '.join(command)}\nended with {result.returncode}: {result.stderr.strip()}")
        return result.stdout.strip()


def progress(what, done, total):
    if sys.stderr.isatty():
        print(f"\r{what} {done} of {total} ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def measure_answers(program, folder, records, n_questions):
    """-> {reference: Answers} over the first n_questions turns of the scenes."""
    turns = [(folder / record["file"], *turn) for record in records for turn in record["turns"]][:n_questions]
    answers = {reference: Answers() for reference in REFERENCES}
    for done, (image, question, true_answer) in enumerate(turns, 1):
        for reference in REFERENCES:
            said = program.run(reference, image, question)
            answers[reference].add(question_kind(question), said == true_answer)
        progress("question", done, len(turns))
    return answers


def patch_grid(picture):
    """The geometry of an entry of `images` in trace.json."""
    return PatchGrid(picture["tiles"], picture["resized"], picture["size"], picture["tile_size"], picture["patch_size"])


def add_pointing(pointing, trace, record):
    """The words of one description, in one traced run whose prompt ends with it."""
    pieces = trace.header["prompt"]["token_texts"]
    first = len(pieces) - pieces[::-1].index("<|end_header_id|>") + 1       # "\n\n" lies between header and answer
    patches = patch_grid(trace.header["images"][0])
    for name in trace.names():
        layer = int(name.split(".")[2])
        probs = trace[name]                                                 # [head, token, key]
        for token, word, thing in object_words(pieces[first:], record["objects"]):
            pointing.add(layer, word, probs[:, first + token - 1], patches, thing["box"])


def measure_pointing(program, folder, records):
    """-> {reference: Pointing} over every object's words in the true description of every scene."""
    pointing = {reference: Pointing() for reference in REFERENCES}
    for done, record in enumerate(records, 1):
        question, answer = record["turns"][0]
        prompt = DESCRIPTION_PROMPT.format(question=question, answer=answer)
        for reference in REFERENCES:
            with tempfile.TemporaryDirectory() as scratch:
                trace = pathlib.Path(scratch) / "trace"
                program.run(reference, folder / record["file"], prompt, "--raw", "--max-new-tokens", "1", "--trace",
                            str(trace), "--trace-only", "*cross_attn.probs", "--trace-values", "all")
                add_pointing(pointing[reference], load_trace(trace), record)
        progress("scene", done, len(records))
    return pointing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "reference")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictor")
    parser.add_argument("--questions", type=int, default=120, help="how many questions, four to a scene")
    parser.add_argument("--pointing", type=int, default=200, help="how many scenes to measure pointing on")
    parser.add_argument("--seed", type=int, default=11, help="seed of the held-out scenes")
    parser.add_argument("--means-only", action="store_true", help="pointing of the mean over heads only, not of every head")
    options = parser.parse_args()
    if not options.program.is_file():
        raise SystemExit(f"evaluate_reference: no program {options.program}: run make first, or give --program FILE")

    program = Program(options.program, options.model)
    n_scenes = max(1, (options.questions + 3) // 4, options.pointing)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        records = write_heldout(folder, n_scenes, options.seed)
        if options.questions > 0:
            print(f"right answers to {options.questions} held-out questions (seed {options.seed})")
            print_answers(measure_answers(program, folder, records, options.questions))
        if options.pointing > 0:
            print(f"\npointing on {options.pointing} held-out scenes (seed {options.seed}): "
                  "strongest patch in the box, share of attention in it")
            print_pointing(measure_pointing(program, folder, records[:options.pointing]), not options.means_only)


if __name__ == "__main__":
    main()
