"""The real model's shape, Pictor in float32 arithmetic beside transformers in BF16 with sdpa, each by itself.

    python bench/compare_11b.py [--slice] [--tokens N] [--answer N] [--repeat N] [--output FILE]

Synthesizes the 11B (21.3 GB) into build/bench-11b when disk and memory have room for it; else, or with
--slice, eight of its layers at full width and with its whole vocabulary. One picture of four tiles. A ratio
above 1 means that Pictor is faster. `make bench-11b` calls it; the numbers go into build/bench-11b.json, too.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "build" / "reference"
WHOLE_BYTES = 21.4e9  # of the checkpoint; transformers holds as much in memory and a gigabyte beside it

# What the other process runs: times of loading, of each prefill and of each answer.
THEIRS = """
import json, os, sys, time
import torch
from safetensors.torch import load_file
from transformers import MllamaForConditionalGeneration
folder, inputs_file, steps, repeat, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.set_num_threads(threads)
start = time.perf_counter()
model = MllamaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16,
                                                       attn_implementation="sdpa")
model.eval()
result = {"load": time.perf_counter() - start, "prefill": [], "decode": []}
inputs = {name: tensor[None] for name, tensor in load_file(inputs_file).items()}
if "pixel_values" in inputs:
    inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
    mask = {"cross_attention_mask": inputs["cross_attention_mask"][:, -1:]}
else:
    mask = {}
with torch.inference_mode():
    for _ in range(repeat):
        start = time.perf_counter()
        state = model(**inputs, use_cache=True)
        result["prefill"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(steps):
            state = model(input_ids=state.logits[:, -1:].argmax(-1), past_key_values=state.past_key_values,
                          use_cache=True, **mask)
        result["decode"].append(time.perf_counter() - start)
print(json.dumps(result))
"""


def watched(command):
    """Seconds, what it printed, and the most bytes that were resident and that belonged to no file."""
    command = [str(word) for word in command]
    start = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    most = {"VmHWM": 0, "RssAnon": 0}
    while run.poll() is None:
        try:
            lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
        except OSError:
            break
        for line in lines:
            name, _, value = line.partition(":")
            if name in most:
                most[name] = max(most[name], int(value.split()[0]) * 1024)
        time.sleep(0.05)
    output = run.communicate()[0]
    seconds = time.perf_counter() - start
    if run.returncode != 0:
        sys.exit(f"compare_11b.py: {' '.join(command[:4])}: exit {run.returncode}")
    return seconds, output, most


def make_inputs(folder, config, n_tokens):
    """A prompt with an image token, and one without; the picture's numbers are as large as real ones."""
    random = numpy.random.default_rng(11)
    ids = random.integers(0, 480, n_tokens)
    text = folder / "text.safetensors"
    save_file({"input_ids": ids}, text)
    ids = ids.copy()
    ids[1] = config["image_token_index"]
    mask = numpy.ones((n_tokens, 1, 4), numpy.int64)
    mask[0] = 0
    picture = folder / "picture.safetensors"
    save_file(
        {
            "input_ids": ids, "pixel_values": random.standard_normal((1, 4, 3, 560, 560), numpy.float32),
            "aspect_ratio_ids": numpy.array([6]), "aspect_ratio_mask": numpy.ones((1, 4), numpy.int64),
            "cross_attention_mask": mask}, picture)
    return text, picture


def available_memory():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def choose_layers(wants_slice):
    """Nothing for the whole model, and why not."""
    free, memory = shutil.disk_usage(ROOT / "build").free, available_memory()
    if wants_slice:
        return ["--layers", "4,1,2,1"], "a slice, as asked"
    if (ROOT / "build/bench-11b/whole/config.json").is_file():
        free += WHOLE_BYTES
    if free < 1.2 * WHOLE_BYTES or memory < WHOLE_BYTES + 1e9:
        return ["--layers", "4,1,2,1"], (
            f"a slice: the 11B needs {1.2 * WHOLE_BYTES / 1e9:.0f} GB of disk and "
            f"{WHOLE_BYTES / 1e9 + 1:.0f} GB "
            f"of memory, {free / 1e9:.0f} and {memory / 1e9:.0f} are free")
    return [], "the 11B"


def measure(folder, inputs, steps, repeat, threads):
    """Seconds of both, one after the other, so that neither has the other's memory beside it."""
    ours_wall, ours, ours_memory = watched([ROOT / "build/bench", "model", folder, inputs, steps, repeat])
    theirs_wall, theirs, theirs_memory = watched([
        sys.executable, "-c", THEIRS, folder, inputs, steps, repeat, threads])
    ours, theirs = json.loads(ours), json.loads(theirs)
    return {
        "ours": {**ours, "wall": ours_wall, "memory": ours_memory},
        "theirs": {**theirs, "wall": theirs_wall, "memory": theirs_memory}}


def row(rows, name, ours, theirs):
    ratio = theirs / ours if theirs else None
    rows[name] = {"ours": ours, "theirs": theirs, "ratio": ratio}
    print(f"{name:<44} {ours:9.2f} {theirs or float('nan'):9.2f} {ratio or float('nan'):7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", action="store_true", help="do not make the whole 11B")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--answer", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=2, help="prefills and answers in each process")
    parser.add_argument("--output", type=Path, default=ROOT / "build/bench-11b.json")
    arguments = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    os.environ.update(OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

    layers, what = choose_layers(arguments.slice)
    scratch = ROOT / "build/bench-11b"
    folder = scratch / ("slice-" + layers[1].replace(",", "-") if layers else "whole")
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"{what}; {threads} threads; {arguments.tokens} tokens, one picture of 4 tiles", flush=True)
    if not (folder / "config.json").is_file():
        subprocess.run([REFERENCE, "synthesize", "--preset", "11b", *layers, "--out", folder], check=True)
    config = json.loads((folder / "config.json").read_text())
    text, picture = make_inputs(scratch, config, arguments.tokens)

    rows, steps = {}, arguments.answer - 1
    print(f"{'':<44} {'Pictor s':>9} {'peer s':>9} {'ratio':>7}")
    measured = {}
    for name, inputs in (("text", text), ("picture", picture)):
        measured[name] = measure(folder, inputs, steps, arguments.repeat, threads)
    both = [measured["text"][who] for who in ("ours", "theirs")]
    row(rows, "text alone: the prompt is read", *(min(times["prefill"]) for times in both))
    row(rows, "text alone: each further token", *(min(times["decode"]) / steps for times in both))
    both = [measured["picture"][who] for who in ("ours", "theirs")]
    row(rows, "with a picture: the prompt is read", *(min(times["prefill"]) for times in both))
    row(rows, "with a picture: each further token", *(min(times["decode"]) / steps for times in both))

    forward = [REFERENCE, "forward", "--model", folder, "--inputs", picture, "--greedy", arguments.answer,
               "--threads", threads]
    ours, _, ours_memory = watched(forward)
    theirs, _, theirs_memory = watched([sys.executable, "-c", THEIRS, folder, picture, steps, 1, threads])
    row(rows, "the run, from start to last word", ours, theirs)
    recorded, _, recorded_memory = watched([*forward, "--trace", scratch / "trace", "--force"])
    row(rows, "the same, recorded", recorded, None)
    rows["the same, recorded"]["cost"] = recorded / ours
    print(f"recording costs {recorded / ours:.2f} x the run")
    for who, memory in (("Pictor", ours_memory), ("Pictor, recorded", recorded_memory),
                        ("transformers", theirs_memory)):
        print(f"{who}: {memory['VmHWM'] / 1e9:.1f} GB resident at most, of which "
              f"{memory['RssAnon'] / 1e9:.2f} GB are no page of a file")
    result = {"what": what, "threads": threads, "tokens": arguments.tokens, "answer": arguments.answer,
              "rows": rows, "processes": measured,
              "memory": {"ours": ours_memory, "recorded": recorded_memory, "theirs": theirs_memory}}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
