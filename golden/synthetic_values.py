"""The numbers of `reference synthesize`, in numpy: a hash of a tensor's name and of each number's index.

    python3 golden/synthetic_values.py FOLDER [--ends]

compares every tensor of a synthesized checkpoint, bit by bit; with --ends only the first and last 65,536
numbers of each. Prints "N passed, N failed".
"""
import json
import math
import sys
from pathlib import Path

import numpy


def spread(name, shape):
    """(mean, reach): the numbers are spread evenly over [mean - reach, mean + reach)."""
    if name.endswith(".bias"):
        return 0.0, 1 / 16
    if "norm" in name:
        return 1.0, 1 / 4
    if name.endswith(("gate", "gate_attn", "gate_ffn")):
        return 0.5, 1 / 4
    if name.endswith(("embed_tokens.weight", "class_embedding")):
        return 0.0, 1.0
    if "positional_embedding." in name:
        return 0.0, 1 / 2
    return 0.0, 2.0 ** round(0.5 * math.log2(3 / math.prod(shape[1:])))


def values(name, shape, first, count):
    """Numbers first ... first + count - 1 as float32."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    bits = numpy.uint64(start) + numpy.arange(first, first + count, dtype=numpy.uint64) * numpy.uint64(
        0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    bits = (bits ^ bits >> numpy.uint64(31)) >> numpy.uint64(40)
    mean, reach = spread(name, shape)
    random = bits.astype(numpy.float32) * numpy.float32(2.0**-23) - numpy.float32(1)
    return numpy.float32(mean) + numpy.float32(reach) * random


def tile_table(name, shape, ratios, tiles):
    """A table of tile embeddings: tile (y, x) is the same in every row, absent tiles are zero."""
    width = shape[1] // tiles
    table = numpy.zeros((shape[0], tiles, width), numpy.float32)
    for row, (height, columns) in enumerate(ratios, start=1):
        for tile in range(height * columns):
            place = tile // columns * tiles + tile % columns
            table[row, tile] = values(name, shape, place * width, width)
    return table.reshape(-1)


def bf16(numbers):
    """Bit patterns, rounded to the nearest, ties to even."""
    bits = numbers.view(numpy.uint32).astype(numpy.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def stored_tensors(folder):
    """(name, dtype, shape, its numbers as they are stored)"""
    for file in sorted(folder.glob("model-*.safetensors")):
        data = numpy.memmap(file, numpy.uint8, "r")
        start = 8 + int(data[:8].view(numpy.uint64)[0])
        for name, entry in json.loads(bytes(data[8:start])).items():
            if name != "__metadata__":
                first, end = entry["data_offsets"]
                dtype = {"BF16": numpy.uint16, "F32": numpy.float32}[entry["dtype"]]
                yield name, entry["dtype"], entry["shape"], data[start + first:start + end].view(dtype)


def main():
    folder, ends = Path(sys.argv[1]), "--ends" in sys.argv[2:]
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    passed = failed = 0
    for name, dtype, shape, stored in stored_tensors(folder):
        table = None
        if "tile" in name and name.endswith("embedding.weight"):
            table = tile_table(name, shape, vision["supported_aspect_ratios"], vision["max_num_tiles"])
        block, same = 1 << 16 if ends else 1 << 22, True
        starts = range(0, stored.size, block)
        for first in {0, max(0, stored.size - block)} if ends else starts:
            count = min(block, stored.size - first)
            made = table[first:first + count] if table is not None else values(name, shape, first, count)
            same &= bool(((bf16(made) if dtype == "BF16" else made) == stored[first:first + count]).all())
        passed, failed = passed + same, failed + (not same)
        if not same:
            print(f"{name}: other numbers than this script's")
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
