"""Fuzzes the readers, a target after another, and says how far each has come.

    python3 tests/fuzz/fuzz.py [--minutes N] [--build build/fuzz] [TARGET...]

`make fuzz` builds build/fuzz/fuzzer first. The corpus grows in build/fuzz/corpus/TARGET and is where the next
run begins; tests/fuzz/corpus/TARGET, and files of golden/ and models/, are its seeds. What every run so far
has done stands in build/fuzz/log.jsonl, and is summed up in the table at the end. A crash, a run of over 10
seconds (2 without sanitizers, which slow a run about five times) or one of over 1 GB leaves its input in
build/fuzz/found/TARGET; put it into tests/fuzz/corpus/TARGET with the repair. Exit 1 when there is one.
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
PART = b"\n=part=\n"
SECONDS_A_RUN, MEGABYTES = 10, 1024
CASE = "golden/cases/text_only/meta"
SMALL = "000-language_model.norm.json"


def read(*names):
    return PART.join((ROOT / name).read_bytes() for name in names)


def small_trace():
    """trace.json of a golden case with two tensors, and one tensor's file."""
    index = json.loads(read(f"{CASE}/trace.json"))
    tensor = json.loads(read(f"{CASE}/tensors/{SMALL}"))
    entry = next(each for each in index["tensors"] if each["file"].endswith(SMALL))
    index["tensors"] = [dict(entry, file="tensors/a.json")]
    tensor["file"] = "tensors/a.json"
    return json.dumps(index).encode(), json.dumps(tensor).encode()


def one_tensor(name):
    """A safetensors file of one number."""
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def ranks():
    """A tokenizer.model: every byte, and two letters that merge."""
    tokens = [bytes((byte,)) for byte in range(256)] + [b"is"]
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def seeds():
    """target -> inputs that its reader accepts."""
    base, model = "golden/checkpoints/base", "models/pictor"
    index, tensor = small_trace()
    configs = [read(f"{folder}/config.json", f"{folder}/generation_config.json",
                    f"{folder}/preprocessor_config.json") for folder in (base, model)]
    return {
        "safetensors": [read("golden/cases/text_only/inputs.safetensors")],
        "shards": [PART.join((b'{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}',
                              one_tensor("a"), one_tensor("b")))],
        "inputs": [read(f"golden/cases/{case}/inputs.safetensors") for case in ("text_only", "1x1")],
        "config": configs,
        "tokenizer-json": [read(f"{model}/tokenizer.json")],
        "tokenizer-model": [ranks()],
        "prompt": ["Where is the fish? It's 12 o'clock\n\n<|image|><|eot_id|> é 魚".encode()],
        "picture": [path.read_bytes() for path in sorted((ROOT / "golden/picture").iterdir())
                    if path.suffix in (".png", ".jpg", ".jpeg", ".bmp", ".gif")
                    and ".canvas" not in path.name and path.stat().st_size < 20000],
        "resize": [bytes((60, 0, 40, 0, 30, 20, 14, 4)) + bytes(range(64))],
        "trace": [index + PART + tensor],
        "run": [index + PART + tensor],
        "difference": [PART.join((index, tensor, index, tensor.replace(b"1.", b"2.")))],
        "why": [index + PART + tensor + PART + b"language_model.norm[3, 5]"],
        "policy": [read("golden/tolerances.json")],
        "npy": [b"\x93NUMPY\x01\x00v\x00" +
                b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(117) +
                b"\n" + bytes(24)],
        "debugger-json": [(json.dumps({"module_path": "M", "inputs": {}, "outputs": {
            "shape": "torch.Size([1, 2])", "dtype": "torch.float32", "value": ["[[0.5, -1.0]]"]},
            "children": []})).encode()],
        "markup": ["a <b> & \"c\" \x1b[2J \u202e é".encode()],
    }


def plant(corpus):
    for target, inputs in seeds().items():
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number}").write_bytes(data)


def fuzz(build, target, seconds):
    """-> what libFuzzer said in its last line and its closing statistics."""
    found = build / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    words = HERE / "dictionaries" / ("json.dict" if target not in ("picture", "npy") else f"{target}.dict")
    command = [str(build / "fuzzer"), str(build / "corpus" / target), str(HERE / "corpus" / target),
               f"-max_total_time={seconds}", f"-timeout={SECONDS_A_RUN}", f"-rss_limit_mb={MEGABYTES}",
               f"-artifact_prefix={found}/", "-print_final_stats=1", "-max_len=20000", f"-dict={words}",
               "-detect_leaks=1", "-reload=0"]
    environment = dict(os.environ, PICTOR_FUZZ=target, OMP_NUM_THREADS="1",
                       ASAN_OPTIONS="allocator_may_return_null=0:detect_odr_violation=0")
    before = set(found.iterdir())
    start = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace")
    said = run.stderr
    (build / f"{target}.log").write_text(said)

    def number(pattern):
        return int((re.findall(pattern, said) or ["0"])[-1])

    return {"target": target, "when": time.strftime("%Y-%m-%d %H:%M"),
            "seconds": round(time.monotonic() - start), "runs": number(r"number_of_executed_units: (\d+)"),
            "coverage": number(r" cov: (\d+)"), "features": number(r" ft: (\d+)"),
            "inputs": number(r" corp: (\d+)"), "peak_mb": number(r"peak_rss_mb: +(\d+)"),
            "found": sorted(path.name for path in set(found.iterdir()) - before), "exit": run.returncode}


def table(log):
    """Sums over all runs so far, a line a target."""
    print(f"{'target':16} {'seconds':>8} {'runs':>10} {'coverage':>9} {'features':>9} {'peak MB':>8} found")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for target in dict.fromkeys(line["target"] for line in lines):
        own = [line for line in lines if line["target"] == target]
        print(f"{target:16} {sum(line['seconds'] for line in own):8} {sum(line['runs'] for line in own):10} "
              f"{max(line['coverage'] for line in own):9} {max(line['features'] for line in own):9} "
              f"{max(line['peak_mb'] for line in own):8} {sum(len(line['found']) for line in own)}")
    print(f"{sum(line['seconds'] for line in lines) / 3600:.1f} hours in all")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--build", type=Path, default=ROOT / "build/fuzz")
    options = parser.parse_args()
    names = list(seeds())
    if unknown := set(options.targets) - set(names):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    targets = options.targets or names
    plant(options.build / "corpus")
    log = options.build / "log.jsonl"
    failed = 0
    for target in targets:
        said = fuzz(options.build, target, max(1, round(options.minutes * 60 / len(targets))))
        with log.open("a") as file:
            file.write(json.dumps(said) + "\n")
        bad = said["exit"] != 0
        failed += bad
        where = f"; see {options.build / target}.log" if bad else ""
        print(f"{target}: {said['runs']} runs, coverage {said['coverage']}, found {said['found']}{where}",
              flush=True)
    table(log)
    print(f"{len(targets) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
