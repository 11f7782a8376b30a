"""The runs that the book follows: recorded once into build/book/NAME, and made again when program, model or
picture is newer."""

import fcntl
import subprocess
import sys
from pathlib import Path

import numpy as np

from problem import Problem, near

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "trace" / "python"))
sys.dont_write_bytecode = True
from load_trace import load_trace

BOOK = ROOT / "build" / "book"
MODEL = ROOT / "models" / "pictor"
PICTURE = "models/pictor/pictures/demo.png"
RUNS = {
    "demo": ["--image", PICTURE, "--prompt", "What is in this image?"],
    "fish": ["--image", PICTURE, "--prompt", "Where is the fish?"],
    "name": ["--prompt", "What is your name?"],
    "person": ["--image", PICTURE, "--prompt", "Describe the famous person."],
    "happening": ["--image", PICTURE, "--prompt", "What's happening in this image?"],
    "hf": ["--image", PICTURE, "--prompt", "What is in this image?", "--reference", "transformers"],
}


def command_of(name):
    return ["build/reference", "run", *RUNS[name], "--trace", f"build/book/{name}", "--trace-npy", "--force"]


def inputs():
    files = [ROOT / "build" / "reference", ROOT / PICTURE, Path(__file__)]
    return files + sorted(
        file for file in MODEL.glob("*.*") if file.suffix in (".json", ".safetensors", ".jinja")
    )


def up_to_date(name):
    header = BOOK / name / "trace.json"
    return header.is_file() and all(header.stat().st_mtime > file.stat().st_mtime for file in inputs())


def make_traces(names=tuple(RUNS)):
    if not (ROOT / "build" / "reference").is_file():
        sys.exit("weave: build/reference is missing: `make` builds it")
    BOOK.mkdir(parents=True, exist_ok=True)
    with open(BOOK / "lock", "w") as lock:  # two suites may ask for the same run at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            if not up_to_date(name):
                run = subprocess.run(command_of(name), cwd=ROOT, capture_output=True, text=True)
                if run.returncode != 0:
                    sys.exit(f"weave: {' '.join(command_of(name))}: exit {run.returncode}: {run.stderr}")


class Step:
    """One step of a run: step 0 is the whole prompt, each later one a single generated token."""

    def __init__(self, trace, number):
        self.trace, self.number = trace, number

    def __getitem__(self, name):
        loaded = self.trace.load()
        if (name, self.number) not in loaded.index:
            names = loaded.names(self.number)
            raise Problem(
                f"{self.trace.name} has no tensor {name!r} in step {self.number}; {near(name, names)}"
            )
        key = (name, self.number)
        if key not in self.trace.kept:
            self.trace.kept[key] = loaded[key]
        return self.trace.kept[key]

    def __contains__(self, name):
        return (name, self.number) in self.trace.load().index


class BookTrace:
    def __init__(self, name):
        self.name, self.loaded, self.kept = name, None, {}

    def load(self):
        if self.loaded is None:
            make_traces([self.name])
            self.loaded = load_trace(BOOK / self.name)
        return self.loaded

    def __getitem__(self, name):
        return Step(self, 0)[name]

    def __contains__(self, name):
        return name in Step(self, 0)

    def step(self, number):
        return Step(self, number)

    @property
    def header(self):
        return self.load().header

    @property
    def n_steps(self):
        return len(self.load().steps)

    @property
    def n_prompt(self):
        return len(self.header["prompt"]["token_ids"])

    @property
    def words(self):
        return self.header["prompt"]["token_texts"] + self.header["generated"]["token_texts"]

    @property
    def ids(self):
        return self.header["prompt"]["token_ids"] + self.header["generated"]["token_ids"]

    @property
    def text(self):
        return self.header["generated"]["text"]

    @property
    def picture(self):
        return self.header["images"][0]

    def find(self, word):
        """Index of the token with that word: the answer is searched before the prompt."""
        words = self.words
        order = list(range(self.n_prompt, len(words))) + list(range(self.n_prompt))
        for wanted in (lambda text: text == word, lambda text: text.strip() == word):
            for index in order:
                if wanted(words[index]):
                    return index
        raise Problem(f"{self.name} has no token {word!r}; {near(word, words)}")

    def row(self, word):
        """The row that predicts the word: the one before it."""
        return (word if isinstance(word, int) else self.find(word)) - 1

    def place(self, row):
        """(step, row inside that step) of a row of the whole run."""
        for number, step in enumerate(self.load().steps):
            if step["first_token"] <= row < step["first_token"] + step["token_count"]:
                return number, row - step["first_token"]
        raise Problem(f"{self.name} has no row {row}; the last is {len(self.words) - 2}")

    def at(self, name, row):
        """That row of a tensor with a token axis: [token, ...] and [head, token, key] alike."""
        step, inside = self.place(row)
        axes = self.load().entry(name, step)["axes"]
        return np.take(Step(self, step)[name], inside, axis=axes.index("token"))
