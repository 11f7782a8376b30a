"""What recording costs: a layer at the real size recorded and not, in turn, with default values (statistics
over every number, values sampled), and floats to JSON text beside nlohmann's dump and Python's json.

    make build/bench && python3 bench/recording.py [REPEAT]
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time

COUNT = 1 << 21


def bench(*words):
    return json.loads(subprocess.run(["build/bench", *map(str, words)], check=True, capture_output=True,
                                     text=True).stdout)


def layer_costs(repeat):
    for kind in ("vision", "cross"):
        plain, recorded = [], []
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(repeat):
                plain += bench("layer", kind, 1)["seconds"]
                recorded += bench("layer", kind, 1, f"{folder}/{turn}")["seconds"]
        ratios = [b / a for a, b in zip(plain, recorded)]
        print(f"one {kind} layer: {statistics.median(plain):.3f} s, "
              f"recorded {statistics.median(recorded):.3f} s: "
              f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


def python_json(repeat):
    drawn = random.Random(1)
    values = [drawn.gauss(0, 1) for _ in range(COUNT)]
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        text = json.dumps(values)
        best = min(best, time.perf_counter() - start)
    return {"mb_per_second": len(text) / best / 1e6, "seconds": best}


def main():
    repeat = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    layer_costs(repeat)
    speeds = bench("json", COUNT, repeat)
    speeds["Python json.dumps"] = python_json(repeat)
    for name, speed in speeds.items():
        print(f"{COUNT} floats to JSON, {name}: {speed['mb_per_second']:.0f} MB/s, "
              f"{COUNT / speed['seconds'] / 1e6:.1f} million numbers/s")


main()
