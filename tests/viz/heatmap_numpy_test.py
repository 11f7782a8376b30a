"""Heatmaps recomputed in numpy from the trace's JSON equal the numbers that viz draws, before any colour,
exactly.

    python3 tests/viz/heatmap_numpy_test.py [--viz build/viz] [--reference build/reference]

Records a run on each of the shipped pictures (a square, a row, a column, one tile, odd sides with padding).
Last line: "N passed, N failed"; exit 0 when none failed, 2 when numpy is missing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("heatmap_numpy_test: numpy is not installed; install python3-numpy", file=sys.stderr)
    sys.exit(2)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "trace" / "python"))
from load_trace import load_trace


def canvas_of(weights, image, n_images, index):
    """Keys [picture, tile, patch] -> patches as they lie on the canvas of one picture."""
    side = image["tile_size"] // image["patch_size"]
    high, wide = image["tiles"]
    tiles = weights.reshape(n_images, -1, side * side + 1)[index, :high * wide, 1:]
    return tiles.reshape(high, wide, side, side).transpose(0, 2, 1, 3).reshape(high * side, wide * side)


def ledger_of(weights, image, n_images, index):
    """Shares by kind of key; a patch is split by how many of its pixels show the picture."""
    side = image["tile_size"] // image["patch_size"]
    high, wide = image["tiles"]
    canvas = np.zeros((high * image["tile_size"], wide * image["tile_size"]))
    canvas[:image["resized"][0], :image["resized"][1]] = 1
    patch = image["patch_size"]
    share = canvas.reshape(high * side, patch, wide * side, patch).mean(axis=(1, 3))
    grid = canvas_of(weights, image, n_images, index)
    mine = weights.reshape(n_images, -1, side * side + 1)[index]
    return {
        "picture": (grid * share).sum(), "padding": (grid * (1 - share)).sum(),
        "absent_tiles": mine[high * wide:].sum(), "class_tokens": mine[:high * wide, 0].sum(),
        "other_pictures": weights.sum() - mine.sum()}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viz", default="build/viz")
    parser.add_argument("--reference", default="build/reference")
    options = parser.parse_args()
    passed, failed = 0, 0

    def check(what, ok):
        nonlocal passed, failed
        passed, failed = passed + bool(ok), failed + (not ok)
        if not ok:
            print("FAILED:", what)

    with tempfile.TemporaryDirectory(prefix="pictor-numpy-") as name:
        for picture in sorted(Path("models/pictor/pictures").glob("*.png")):
            folder = Path(name) / picture.stem
            subprocess.run([
                options.reference, "run", "--image",
                str(picture), "--prompt", "What is in this image?", "--max-new-tokens", "6", "--trace",
                str(folder), "--trace-only", "*cross_attn.probs", "--trace-only", "*mask", "--trace-values",
                "all"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            trace = load_trace(folder)
            image = trace.header["images"][0]
            n_prompt = len(trace.header["prompt"]["token_ids"])
            for layer in trace.header["model"]["text"]["cross_attention_layers"]:
                for token in (n_prompt, n_prompt + 3):
                    step = token - n_prompt
                    probs = trace[f"language_model.layers.{layer}.cross_attn.probs",
                                  step].astype(np.float64)[:, -1]
                    shares = probs / probs.sum(axis=1, keepdims=True)
                    bits_of_heads = -np.where(shares > 0, shares * np.log2(np.where(shares > 0, shares, 1)),
                                              0).sum(axis=1)
                    seen = trace["cross_attention_mask", step][-1].sum() * (
                        (image["tile_size"] // image["patch_size"])**2 + 1)
                    for head in ("mean", "max", "entropy", "0", str(len(probs) - 1)):
                        output = Path(name) / "heat.json"
                        subprocess.run([
                            options.viz, "heatmap",
                            str(folder), "--layer",
                            str(layer), "--token",
                            str(token), "--head", head, "--output",
                            str(output)], check=True, stdout=subprocess.DEVNULL)
                        drawn = json.loads(output.read_text())
                        total = np.zeros(probs.shape[1])
                        for one in probs:   # in order, as a mean is summed
                            total = total + one
                        mean = total / len(probs)
                        parts = probs / np.where(probs.sum(axis=0) > 0, probs.sum(axis=0), 1)
                        shared = -np.where(parts > 0, parts * np.log2(np.where(parts > 0, parts, 1)),
                                           0).sum(axis=0)
                        weights = mean if head == "mean" else probs.max(
                            axis=0) if head == "max" else shared if head == "entropy" else probs[int(head)]
                        what = f"{picture.name}, layer {layer}, token {token}, head {head}"
                        values = np.array(drawn["values"]).reshape(drawn["grid"])
                        check(
                            what + ": values",
                            np.allclose(values, canvas_of(shared, image, 1, 0), rtol=0, atol=1e-12)
                            if head == "entropy"
                            # logarithms round as each library does
                            else np.array_equal(values, canvas_of(weights, image, 1, 0)))
                        spread = drawn["spread"]
                        check(what + ": spread of heads",
                              np.allclose(spread["bits_of_heads"], bits_of_heads, rtol=0, atol=1e-9))
                        check(
                            what + ": spread is at most that of even reading",
                            abs(spread["most_bits"] - np.log2(seen)) < 1e-12
                            and max(spread["bits_of_heads"]) <= spread["most_bits"])
                        ledger = ledger_of(mean if head in ("mean", "max", "entropy") else weights, image, 1,
                                           0)
                        check(what + ": ledger",
                              all(abs(drawn["ledger"][key] - value) < 1e-9 for key, value in ledger.items()))
                        check(what + ": adds up", abs(sum(drawn["ledger"].values()) - 1) < 1e-5)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
