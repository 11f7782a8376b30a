"""Measures the C++ program on held-out scenes: the same weights under the rules of both references, and under
the commonest mistakes of ports.

    python evaluate_reference.py [--scenes 320] [--mutants] [--tidy 500] [--conversations 50] [--pairs 100]
                                 [--photographs FILE...] [--examples ../pictor/pictures] [--pointing 200]

Answers: `reference run` is asked four questions about each held-out scene in the chat format, greedily, and
is right when it says exactly the true answer. --mutants: the same questions to copies of the program in which
one line of reference/ is wrong, taken from tests/mutants. --tidy: descriptions of scenes drawn as the card's
list has them. --conversations: eight turns each, in which the program hears its own answers. --pairs: two
pictures in one prompt. --photographs: pictures that show nothing known, whole and in quarters. --pointing: a
traced run is given the true description as if it had said it, so that every object's word counts and both
rules are judged on the same words; the row of cross-attention before a word must have its strongest patch
inside the object's box (half a patch of margin), for every layer and head and for the mean over heads. Needs
Python with numpy and Pillow; the same seed asks the same questions.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import numpy  # noqa: F401
    from PIL import Image
except ImportError as error:
    raise SystemExit(f"evaluate_reference: {error}: install numpy and Pillow "
                     "(Debian: python3-numpy python3-pil)") from None

import dialogs
import scenes
import varied
from heldout import write_heldout
from measure import Answers, PatchGrid, Pointing, object_words, print_answers, print_pointing

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "trace" / "python"))
from load_trace import load_trace

REFERENCES = ("meta", "transformers")
USER = ("<|start_header_id|>user<|end_header_id|>\n\n{picture}{question}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n")
TURNS = 8
# The commonest mistakes of ports, by their names in tests/mutants; README.md of golden/conformance says who
# made which.
MISTAKES = ["kept states are outputs under Meta's rules", "no row mask after attention",
            "grids wide before high", "cross-attention gates without tanh", "RoPE pairs neighbours",
            "cross-attention without q_norm"]


class Program:
    """`reference run` with the options that stay the same."""

    def __init__(self, path, model, rule):
        self.command = [str(path), "run", "--model", str(model), "--threads", "1", "--reference", rule]

    def run(self, images, *options, standard_input=None):
        """-> what it printed; a failure ends the evaluation with the program's own words."""
        command = [*self.command, *(part for image in images for part in ("--image", str(image))), *options]
        result = subprocess.run(command, capture_output=True, text=True, input=standard_input)
        if result.returncode != 0:
            raise SystemExit(f"evaluate_reference: {' '.join(command)}\n"
                             f"ended with {result.returncode}: {result.stderr.strip()}")
        return result.stdout.strip()

    def answer(self, image, turns):
        """The greedy answer to the last of a dialog's turns, after the true answers to those before it."""
        if len(turns) == 1:
            return self.run([image] if image else [], "--prompt", turns[0][0])
        text = "<|begin_of_text|>"
        for index, (question, answer) in enumerate(turns):
            text += USER.format(picture="<|image|>" if image and index == 0 else "", question=question)
            text += answer + "<|eot_id|>" if index + 1 < len(turns) else ""
        return self.run([image] if image else [], "--raw", "--prompt", text)


def progress(what, done, total):
    if sys.stderr.isatty():
        print(f"\r{what} {done} of {total} ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def measure_answers(program, folder, records, mistakes=None):
    """-> Answers to all questions about these scenes; wrong ones are appended to `mistakes`."""
    answers = Answers()
    asked = [(record["file"], question) for record in records for question in record["questions"]]

    def answer(task):
        file, question = task
        return program.answer(folder / file if question["picture"] else None, question["turns"])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (said, (file, question)) in enumerate(zip(pool.map(answer, asked), asked), 1):
            last, true = question["turns"][-1]
            answers.add(question["kind"], said == true)
            if mistakes is not None and said != true:
                mistakes.append(f"{file} {last}\n  true: {true}\n  said: {said}")
            progress("question", done, len(asked))
    return answers


def measure_examples(program, folder):
    """-> Answers to every question about the pictures that ship with the model."""
    answers = Answers()
    for record in json.loads((folder / "scenes.json").read_text()):
        objects = [scenes.SceneObject(thing["kind"], thing["colour"], thing["row"], thing["column"])
                   for thing in record["objects"]]
        for turn in dialogs.every_turn(objects):
            said = program.answer(folder / record["file"], [(turn.question, turn.answer)])
            answers.add(turn.kind, said == turn.answer)
            if said != turn.answer:
                print(f"{record['file']} {turn.question}\n  true: {turn.answer}\n  said: {said}")
    return answers


def mutant_programs(names, model, rule):
    """Yields (mutant's name, Program) while a copy of the program with that fault stands in build/mutants."""
    sys.path.insert(0, str(ROOT / "tests" / "mutants"))
    from every_mutant import MUTANTS
    from program import apply, build, make_tree, undo
    tree = make_tree("answers", ROOT / "build" / "objects")
    for mutant in (next(mutant for mutant in MUTANTS if mutant.name == name) for name in names):
        change = apply(tree, mutant)
        if change is None:
            raise SystemExit(f"evaluate_reference: {mutant.name}: {mutant.file} no longer holds "
                             f"{mutant.before!r} once")
        message = build(tree, mutant.include)
        if message:
            raise SystemExit(f"evaluate_reference: {mutant.name} does not compile: {message}")
        yield mutant.name, Program(tree / "build" / "reference", model, rule)
        undo(tree, change[1])


def measure_conversations(program, folder, n_conversations, seed):
    """-> Answers by number of turn: eight questions in one conversation, which goes on from what was said."""
    rng, answers = random.Random(seed), Answers()
    for done in range(n_conversations):
        image, objects = varied.make_varied(rng)
        image.save(folder / "conversation.png")
        turns = dialogs.make_dialog(rng, objects, TURNS)
        asked = "".join(turn.question + "\n" for turn in turns)
        said = program.run([folder / "conversation.png"], "--chat", standard_input=asked).splitlines()
        if len(said) != TURNS:
            raise SystemExit(f"evaluate_reference: {TURNS} questions got {len(said)} answers: {said}")
        for number, (turn, answer) in enumerate(zip(turns, said), 1):
            answers.add(f"turn {number}", answer == turn.answer)
        progress("conversation", done + 1, n_conversations)
    return answers


def measure_pairs(program, folder, n_pairs, seed):
    """-> Answers about two pictures in one prompt: of what only the first shows, or only the second. Under
    Meta's rules the words that are generated see neither; the rows of the question see the second."""
    rng, answers = random.Random(seed), Answers()
    for done in range(n_pairs):
        files, scenes_of = [folder / "first.png", folder / "second.png"], []
        for file in files:
            image, objects = scenes.make_scene(rng)
            image.save(file)
            scenes_of.append(objects)
        for number, name in enumerate(("first", "second")):
            others = {thing.kind for thing in scenes_of[1 - number]}
            for thing in [thing for thing in scenes_of[number] if thing.kind not in others][:1]:
                for kind, ask in (("where", scenes.ask_where), ("colour", scenes.ask_colour)):
                    question, true = ask(rng, scenes_of[number], thing)
                    answers.add(f"{kind}, {name}", program.run(files, "--prompt", question) == true)
        said = program.run(files, "--prompt", "What is in this image?")
        answers.add("describe second", said == scenes.describe(scenes_of[1]))
        progress("pair", done + 1, n_pairs)
    return answers


def whole_and_quarters(file):
    """-> {what it is: picture}."""
    image = Image.open(file).convert("RGB")
    image.thumbnail((1200, 1200))
    x, y = image.width // 2, image.height // 2
    corners = dict(left_top=(0, 0), right_top=(x, 0), left_bottom=(0, y), right_bottom=(x, y))
    quarters = {name: image.crop((left, top, left + x, top + y)) for name, (left, top) in corners.items()}
    return dict(whole=image, **quarters)


def measure_photographs(program, files):
    """-> Answers to what each photograph shows: right if Pictor says that it knows nothing in it."""
    answers = Answers()
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            for part, image in whole_and_quarters(file).items():
                picture = pathlib.Path(folder, "photograph.png")
                image.save(picture)
                said = program.run([picture], "--prompt", "What is in this image?")
                answers.add("photograph", said == dialogs.NOTHING)
                if said != dialogs.NOTHING:
                    print(f"{file.name} {part}: {said}")
    return answers


def patch_grid(picture):
    """The geometry of an entry of `images` in trace.json."""
    return PatchGrid(picture["tiles"], picture["resized"], picture["size"], picture["tile_size"],
                     picture["patch_size"])


def add_pointing(pointing, trace, record):
    """The words of one description, in one traced run whose prompt ends with it."""
    pieces = trace.header["prompt"]["token_texts"]
    first = len(pieces) - pieces[::-1].index("<|end_header_id|>") + 1  # "\n\n" lies between header and answer
    patches = patch_grid(trace.header["images"][0])
    for name in trace.names():
        layer = int(name.split(".")[2])
        probs = trace[name]                                                 # [head, token, key]
        for token, word, thing in object_words(pieces[first:], record["objects"]):
            pointing.add(layer, word, probs[:, first + token - 1], patches, thing["box"])


def measure_pointing(program, folder, records):
    """-> Pointing over every object's words in the true description of every scene."""
    pointing = Pointing()
    for done, record in enumerate(records, 1):
        question, answer = record["questions"][0]["turns"][0]
        prompt = "<|begin_of_text|>" + USER.format(picture="<|image|>", question=question) + answer
        with tempfile.TemporaryDirectory() as scratch:
            trace = pathlib.Path(scratch) / "trace"
            program.run([folder / record["file"]], "--prompt", prompt, "--raw", "--max-new-tokens", "1",
                        "--trace", str(trace), "--trace-only", "*cross_attn.probs", "--trace-values", "all")
            add_pointing(pointing, load_trace(trace), record)
        progress("scene", done, len(records))
    return pointing


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "reference")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictor")
    parser.add_argument("--scenes", type=int, default=320, help="how many scenes, four questions to each")
    parser.add_argument("--mutants", action="store_true",
                        help="the same questions to the commonest mistakes of ports")
    parser.add_argument("--examples", type=pathlib.Path, help="every question about pictor/pictures")
    parser.add_argument("--tidy", type=int, default=0, help="describe this many scenes of the card's list")
    parser.add_argument("--conversations", type=int, default=0, help="conversations of eight turns")
    parser.add_argument("--pairs", type=int, default=0, help="prompts with two pictures")
    parser.add_argument("--photographs", type=pathlib.Path, nargs="+", default=[],
                        help="pictures of nothing known, each asked about whole and in quarters")
    parser.add_argument("--pointing", type=int, default=0, help="how many scenes to measure pointing on")
    parser.add_argument("--seed", type=int, default=11, help="seed of the held-out scenes")
    parser.add_argument("--mistakes", action="store_true", help="print the wrong answers under Meta's rules")
    parser.add_argument("--means-only", action="store_true",
                        help="pointing of the mean over heads only, not of every head")
    options = parser.parse_args()
    if not options.program.is_file():
        raise SystemExit(f"evaluate_reference: no program {options.program}: "
                         "run make first, or give --program FILE")
    return options


def print_all_answers(options, programs, folder, records):
    mistakes = [] if options.mistakes else None
    columns = {rule: measure_answers(program, folder, records, mistakes if rule == "meta" else None)
               for rule, program in programs.items()}
    print(f"right answers about {len(records)} held-out scenes (seed {options.seed})")
    print_answers(columns)
    print("\n".join(mistakes or []), flush=True)
    if options.mutants:
        broken = {name: measure_answers(program, folder, records)
                  for name, program in mutant_programs(MISTAKES, options.model, "meta")}
        print("the same questions with one line of reference/ wrong, under Meta's rules")
        print_answers(broken)


def main():
    options = parse_options()
    programs = {rule: Program(options.program, options.model, rule) for rule in REFERENCES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        if options.scenes > 0:
            print_all_answers(options, programs, folder, write_heldout(folder, options.scenes, options.seed))
        if options.examples:
            print("\nevery question about the shipped pictures, under Meta's rules")
            print_answers(dict(meta=measure_examples(programs["meta"], options.examples)))
        if options.tidy > 0:
            records = write_heldout(folder, options.tidy, options.seed + 1, tidy=True)
            for record in records:
                record["questions"] = record["questions"][:1]
            print(f"\ndescriptions of {options.tidy} tidy scenes (seed {options.seed + 1})")
            print_answers({rule: measure_answers(program, folder, records)
                           for rule, program in programs.items()})
        if options.conversations > 0:
            print(f"\n{options.conversations} conversations of {TURNS} turns (seed {options.seed + 2})")
            n, seed = options.conversations, options.seed + 2
            print_answers({rule: measure_conversations(program, folder, n, seed)
                           for rule, program in programs.items()})
        if options.pairs > 0:
            print(f"\n{options.pairs} prompts with two pictures (seed {options.seed + 4})")
            print_answers({rule: measure_pairs(program, folder, options.pairs, options.seed + 4)
                           for rule, program in programs.items()})
        if options.photographs:
            print(f"\nnothing known in {len(options.photographs)} pictures, whole and in quarters")
            print_answers({rule: measure_photographs(program, options.photographs)
                           for rule, program in programs.items()})
        if options.pointing > 0:
            records = write_heldout(folder, options.pointing, options.seed + 3, tidy=True)
            print(f"\npointing on {options.pointing} tidy scenes (seed {options.seed + 3}): "
                  "strongest patch in the box, share of attention in it")
            print_pointing({rule: measure_pointing(program, folder, records)
                            for rule, program in programs.items()}, not options.means_only)


if __name__ == "__main__":
    main()
