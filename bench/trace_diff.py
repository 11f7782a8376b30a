"""`trace diff` on two traces of about a gigabyte each, beside numpy doing the same comparison.

    python3 bench/trace_diff.py [--megabytes 1000] [--keep FOLDER]

The traces hold the tensors of a vision encoder of the released model's width, in the recorder's own layout.
The second one is off by rounding up to a layer in the middle and by a hundredth from there on, so that half
of the tensors are also computed again to be explained. Both programs read the same JSON files; times are wall
clock, memory is the largest resident set of each process. Needs numpy and about twice the given size on the
disk; not part of `make test`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPE = [1, 4, 200, 1280]     # image, tile, patch, channel
LEAVES = ["input_layernorm", "self_attn.o_proj", "residual", "post_attention_layernorm", "mlp", ""]
N_BODIES = 6                  # different tensors; further ones repeat their numbers
NUMPY = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from load_trace import load_trace
a, b = load_trace(sys.argv[2]), load_trace(sys.argv[3])
for entry in json.load(open(sys.argv[2] + "/trace.json"))["tensors"]:
    x, y = a[entry["name"]], b[entry["name"]]
    if not (np.abs(x - y) <= 1e-4 + 1e-4 * np.abs(y)).all():
        print(entry["name"], np.abs(x - y).max())
        break
else:
    print("same")
"""


def numbers_text(values):
    rows = values.reshape(-1, SHAPE[-1])
    return ",\n".join(",".join(map(str, row)) for row in rows)


def statistics_of(values):
    wide = values.astype("float64")
    return {
        "min": float(wide.min()), "max": float(wide.max()), "mean": float(wide.mean()),
        "std": float(wide.std()), "l2": float((wide**2).sum()**0.5), "zeros": int(
            (wide == 0).sum()), "nonfinite": 0}


def write_trace(folder, bodies, n_layers, body_of):
    (folder / "tensors").mkdir(parents=True)
    entries, size = [], 0
    for layer in range(n_layers):
        for leaf in LEAVES:
            name = f"vision_model.transformer.layers.{layer}" + ("." + leaf if leaf else "")
            text, statistics = bodies[body_of(layer, leaf)]
            entry = {
                "name": name, "step": 0, "axes": ["image", "tile", "patch", "channel"], "shape": SHAPE,
                "dtype": "F32"}
            file = f"tensors/000-{name}.json"
            head = json.dumps(entry)[:-1]
            (folder / file).write_text(f'{head}, "values": [\n{text}\n]}}\n')
            size += (folder / file).stat().st_size
            entries.append(entry | {"file": file, "values": "all", "statistics": statistics})
    header = {
        "format": "pictor-trace", "version": 1, "reference": "meta", "producer": "bench", "prompt": {},
        "images": [], "model": {"vision": {"n_layers": n_layers, "max_tiles": 4}},
        "steps": [{"index": 0, "kind": "prefill", "first_token": 0, "token_count": 1}], "tensors": entries}
    (folder / "trace.json").write_text(json.dumps(header))
    return size


# A small process between: what it waits for is measured by itself, not with the memory of this one.
MEASURE = """
import resource, subprocess, sys, time
started = time.monotonic()
out = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True).stdout
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.monotonic() - started, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
print(out)
"""


def timed(command):
    """First line of output, seconds, largest resident set in megabytes, processor seconds of one command."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=subprocess.PIPE, text=True,
                          check=True)
    numbers, _, out = done.stdout.partition("\n")
    return (out, *map(float, numbers.split()))


def main():
    import numpy

    parser = argparse.ArgumentParser(description="trace diff on two large traces, beside numpy")
    parser.add_argument("--megabytes", type=int, default=1000, help="of each trace")
    parser.add_argument("--keep", help="folder for the traces, kept")
    options = parser.parse_args()
    folder = Path(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="pictor-bench-"))
    try:
        random = numpy.random.default_rng(1)
        a_bodies, b_bodies = {}, {}
        for body in range(N_BODIES):
            values = random.standard_normal(SHAPE).astype(numpy.float32)
            near = (values * (1 + 1e-6 * random.standard_normal(SHAPE))).astype(numpy.float32)
            far = (values + 1e-2 * random.standard_normal(SHAPE)).astype(numpy.float32)
            a_bodies[body] = (numbers_text(values), statistics_of(values))
            b_bodies[body, False] = (numbers_text(near), statistics_of(near))
            b_bodies[body, True] = (numbers_text(far), statistics_of(far))
        megabytes_each = len(a_bodies[0][0]) / 1e6
        n_layers = max(2, round(options.megabytes / megabytes_each / len(LEAVES)))
        half = n_layers // 2
        size_a = write_trace(folder / "a", a_bodies, n_layers, lambda layer, leaf: LEAVES.index(leaf))
        size_b = write_trace(folder / "b", b_bodies, n_layers, lambda layer, leaf:
                             (LEAVES.index(leaf), layer >= half))
        print(
            f"two traces of {size_a / 1e6:.0f} and {size_b / 1e6:.0f} MB, {n_layers * len(LEAVES)} tensors, "
            f"those from layer {half} on differ"
        )
        trace = str(ROOT / "build/trace")
        for what, command in (("trace diff", [trace, "diff",
                                              str(folder / "a"),
                                              str(folder / "b")]), ("trace diff --no-explanation", [
                                                  trace, "diff",
                                                  str(folder / "a"),
                                                  str(folder / "b"),
                                                  "--no-explanation"]), ("trace diff A A", [
                                                      trace, "diff",
                                                      str(folder / "a"),
                                                      str(folder / "a")]), ("numpy", [
                                                          sys.executable, "-c", NUMPY,
                                                          str(ROOT / "trace" / "python"),
                                                          str(folder / "a"),
                                                          str(folder / "b")])):
            out, seconds, memory, cpu = timed(command)
            print(
                f"{what:28} {seconds:7.1f} s ({cpu:.1f} s of processor time)  {memory:7.0f} MB   "
                f"{out.splitlines()[0] if out else ''}"
            )
    finally:
        if not options.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
