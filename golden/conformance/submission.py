"""Reads the cases of the kit and what an engine handed in for them. Whatever is wrong is a BadSubmission:
what, and what would be right."""

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "trace" / "python"))
from checkpoint import load_checkpoint, read_safetensors
from load_trace import load_trace

RESULTS = ("refused", "crashed", "nan")
LARGEST_FILE = 1 << 28


class BadSubmission(Exception):
    pass


@dataclass
class Case:
    name: str
    what: str
    checkpoint: object
    inputs: dict
    prefill: int
    prompts: list

    @property
    def token_ids(self):
        return [*map(int, self.inputs["input_ids"]), *map(int, self.inputs["teacher_ids"])]


@dataclass
class Pass:
    """Rows of one run of the model that an engine has told something about."""
    case: Case
    token_ids: tuple
    prefill: int
    rows: np.ndarray                      # indices of the rows below
    values: np.ndarray                    # [row][vocabulary] logits, or [row][k] log-probabilities
    columns: np.ndarray = None            # [k] token ids when `values` are log-probabilities
    ids_if: dict = field(default_factory=dict)  # the prompt's ids under mistakes with templates
    trace: object = None                  # the trace that `values` came out of


def load_cases(folder=HERE / "cases"):
    checkpoints, cases = {}, {}
    for path in sorted(Path(folder).glob("*/case.json")):
        found = json.loads(path.read_text())
        if found["checkpoint"] not in checkpoints:
            checkpoints[found["checkpoint"]] = load_checkpoint(HERE / found["checkpoint"])
        cases[path.parent.name] = Case(path.parent.name, found["what"], checkpoints[found["checkpoint"]],
                                       read_safetensors(path.parent / "inputs.safetensors"), found["prefill"],
                                       found.get("prompts", []))
    return cases


def read_json(path):
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadSubmission(f"{path}: {path.stat().st_size} bytes; want at most {LARGEST_FILE}")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise BadSubmission(f"{path}: {problem}; want JSON") from None


def read_engine(folder):
    path = folder / "engine.json"
    if not path.is_file():
        raise BadSubmission(f"{path}: no such file; want {{\"engine\", \"version\", \"how\", \"dtype\"}}")
    engine = read_json(path)
    for key in ("engine", "version", "how", "dtype"):
        if not isinstance(engine, dict) or not isinstance(engine.get(key), str):
            raise BadSubmission(
                f"{path}: no text under {key!r}; want \"engine\", \"version\", \"how\" and \"dtype\"")
    return engine


def read_submission(folder, cases):
    """engine.json, {case: [Pass]} and {case: (result, why)}."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadSubmission(f"{folder}: no such folder")
    engine, passes, results = read_engine(folder), {}, {}
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        if path.name not in cases:
            raise BadSubmission(f"{path}: no case of this name; want one of {', '.join(cases)}")
        kinds = [
            kind for kind in ("result.json", "logits.npy", "logprobs.json", "trace.json")
            if (path / kind).is_file()]
        told = [kind for kind in kinds if kind != "result.json"]
        if len(told) > 1 or not kinds:
            raise BadSubmission(
                f"{path}: {', '.join(kinds) or 'nothing'}; want one of logits.npy, logprobs.json and a "
                "trace, or how it ended in result.json, or both")
        if "result.json" in kinds:
            results[path.name] = read_result(path / "result.json")
        if told:
            reader = {"logits.npy": read_logits, "logprobs.json": read_logprobs,
                      "trace.json": read_trace}[told[0]]
            passes[path.name] = reader(path, cases[path.name])
    if not passes and not results:
        raise BadSubmission(f"{folder}: no case; want folders named after cases")
    return engine, passes, results


def read_result(path):
    found = read_json(path)
    if not isinstance(found, dict) or found.get("result") not in RESULTS or not isinstance(
            found.get("why"), str):
        raise BadSubmission(f"{path}: want {{\"result\": one of {', '.join(RESULTS)}, \"why\": text}}")
    return found["result"], found["why"]


def read_logits(folder, case):
    path = folder / "logits.npy"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path.stat().st_size} bytes, more than {LARGEST_FILE}")
        logits = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as problem:
        raise BadSubmission(f"{path}: {problem}; want a .npy of float32") from None
    if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f":
        raise BadSubmission(f"{path}: not an array of floats; want float32")
    rows, vocabulary = list(range(len(case.token_ids))), case.checkpoint.text["vocab_size"]
    if (folder / "rows.json").is_file():
        given = read_json(folder / "rows.json")
        good = isinstance(given, list) and all(isinstance(i, int) and 0 <= i < len(rows) for i in given)
        if not good or len(set(given)) != len(given) or not given:
            raise BadSubmission(
                f"{folder / 'rows.json'}: want a list of different numbers from 0 to {len(rows) - 1}")
        rows = given
    if logits.shape != (len(rows), vocabulary):
        raise BadSubmission(
            f"{path}: shape {logits.shape}; want {(len(rows), vocabulary)}: a row for every token of "
            "input_ids and teacher_ids (or of rows.json), a column for every word")
    return [Pass(case, tuple(case.token_ids), case.prefill, np.array(rows), logits.astype(np.float32))]


def read_trace(folder, case):
    try:
        trace = load_trace(folder)
        steps = range(len(trace.steps))
        logits = [trace["lm_head", step] for step in steps if ("lm_head", step) in trace]
        ids = [int(i) for step in steps if ("input_ids", step) in trace for i in trace["input_ids", step]]
        if not ids:
            ids = trace.header["prompt"]["token_ids"] + trace.header.get("generated", {}).get(
                "token_ids", [])[:-1]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as problem:
        raise BadSubmission(f"{folder}: {problem}") from None
    if not logits or len({part.shape[-1] for part in logits if part.ndim == 2}) != 1:
        raise BadSubmission(f"{folder}: no lm_head with its numbers; record with --values all")
    logits = np.concatenate(logits).astype(np.float32)
    known, words = [int(i) for i in case.inputs["input_ids"]], case.checkpoint.text["vocab_size"]
    if ids[:len(known)] != known:
        raise BadSubmission(f"{folder}: the trace's tokens are not those of case {case.name}")
    if any(not 0 <= i < words for i in ids[len(known):]):
        raise BadSubmission(f"{folder}: generated ids outside the vocabulary")
    if logits.shape != (len(ids), words):
        raise BadSubmission(
            f"{folder}: lm_head has shape {logits.shape} over all steps; want {(len(ids), words)}")
    return [Pass(case, tuple(ids), case.prefill, np.arange(len(ids)), logits, trace=trace)]


def read_logprobs(folder, case):
    path = folder / "logprobs.json"
    entries = read_json(path)
    if not case.prompts:
        raise BadSubmission(
            f"{path}: case {case.name} has no prompts in words; log-probabilities are for chat_ cases")
    if not isinstance(entries, list) or not entries:
        raise BadSubmission(f"{path}: want a list of {{\"prompt\", \"images\", \"top\"}}")
    words = case.checkpoint.text["vocab_size"]
    pieces = text_of_tokens(case)
    return [
        read_entry(f"{path}: entry {index}", entry, case, pieces, words)
        for index, entry in enumerate(entries)]


def read_entry(where, entry, case, pieces, words):
    if not isinstance(entry, dict):
        raise BadSubmission(f"{where}: want {{\"prompt\", \"images\", \"top\"}}")
    prompt = next((p for p in case.prompts if entry.get("prompt") in (p["message"], p["rendered"])), None)
    if prompt is None:
        raise BadSubmission(f"{where}: prompt {entry.get('prompt')!r} is none of case {case.name}'s")
    n_images = len(case.inputs.get("pixel_values", ()))
    if entry.get("images", n_images) != n_images:
        raise BadSubmission(f"{where}: images is {entry['images']!r}; the case has {n_images}")
    after = entry.get("after", [])
    if not isinstance(after, list) or not all(isinstance(i, int) and 0 <= i < words for i in after):
        raise BadSubmission(f"{where}: after: want a list of ids below {words}")
    columns, values = [], []
    top = entry.get("top")
    for pair in top if isinstance(top, list) else []:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], (int, float)):
            raise BadSubmission(f"{where}: top: {pair!r}; want [token, log-probability]")
        token = pieces.get(pair[0]) if isinstance(pair[0], str) else pair[0]
        if isinstance(token, int) and 0 <= token < words and math.isfinite(pair[1]) and token not in columns:
            columns.append(token)
            values.append(pair[1])
    if len(columns) < 2:
        raise BadSubmission(
            f"{where}: {len(columns)} known token(s) with a finite log-probability; want at least 2")
    ids = (*prompt["ids"], *after)
    return Pass(case, ids, len(prompt["ids"]), np.array([len(ids) - 1]), np.array([values], np.float32),
                np.array(columns), prompt["ids_if"])


def text_of_tokens(case):
    """Text -> id, for texts that only one token has."""
    table = json.loads((case.checkpoint.folder / "tokenizer.json").read_text())
    letters = byte_letters()
    found, twice = {}, set()
    special = {token["content"]: token["id"] for token in table["added_tokens"]}
    for piece, token in {**table["model"]["vocab"], **special}.items():
        text = piece if piece in special else bytes(letters.get(c, 63)
                                                    for c in piece).decode("utf-8", "replace")
        if text in found or "\ufffd" in text:
            twice.add(text)
        found[text] = token
    return {text: token for text, token in found.items() if text not in twice}


def byte_letters():
    """The letters that byte-level BPE writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
