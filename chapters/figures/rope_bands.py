"""llama3 scaling: wavelength of every pair before and after, with the three bands."""

import json
from math import pi

from draw import ROOT, Drawing
from plot import Axes


def wavelengths(rope, d_head):
    """(before, after) of every pair, by the rule of reference/text/rope.cpp."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    length, factor = rope["original_max_position_embeddings"], rope["factor"]
    pairs = []
    for pair in range(d_head // 2):
        frequency = rope["rope_theta"] ** (-2 * pair / d_head)
        wave, scaled = 2 * pi / frequency, frequency
        if wave > length / low:
            scaled = frequency / factor
        elif wave >= length / high:
            share = (length / wave - low) / (high - low)
            scaled = (1 - share) * frequency / factor + share * frequency
        pairs.append((wave, 2 * pi / scaled))
    return pairs


def main():
    rope = json.loads((ROOT / "models" / "pictor" / "config.json").read_text())["text_config"][
        "rope_parameters"
    ]
    length = rope["original_max_position_embeddings"]
    slow, fast = length / rope["low_freq_factor"], length / rope["high_freq_factor"]
    d = Drawing(
        "Three bands of RoPE frequencies",
        f"Wavelength in tokens over pair, logarithmic. Below {fast:.0f} tokens the pairs are left alone; "
        f"above {slow:.0f} they are "
        f"slowed {rope['factor']:.0f} times; those between are blended. Small dots: the 64 pairs of the "
        f"real model; rings: the 8 of "
        "the shipped one.",
        720,
        430,
    )
    axes = Axes(d, (120, 24, 400, 330), (0, 1), (1, 1e8), log_y=True)
    axes.name_x = 20
    for low, high, kind in ((1, fast, "green"), (fast, slow, "violet"), (slow, 1e8, "orange")):
        d.rect(120, axes.y(high), 400, axes.y(low) - axes.y(high), kind)
    axes.frame(
        "pair, from the first to the last",
        "tokens per turn",
        [(0, "first"), (1, "last")],
        [
            (10**n, name)
            for n, name in ((0, "1"), (2, "100"), (4, "10,000"), (6, "1 million"), (8, "100 million"))
        ],
    )
    real, small = wavelengths(rope, 128), wavelengths(rope, 16)
    places = lambda pairs, d_head: [2 * pair / d_head for pair in range(len(pairs))]
    axes.curve(places(real, 128), [before for before, _ in real], None, 1.2)
    axes.curve(places(real, 128), [after for _, after in real], "blue", 1.5)
    axes.dots(places(real, 128), [after for _, after in real], "blue-solid", 2.4)
    axes.dots(places(small, 16), [after for _, after in small], "blue", 6)
    for y, kind, lines in (
        (axes.y(3e6), "orange", ("slowed: the hand had never", "been all the way round")),
        (axes.y(4e3), "violet", ("blended",)),
        (axes.y(60), "green", ("left alone: tells near", "tokens apart")),
    ):
        for place, line in enumerate(lines):
            d.text(530, y + 17 * place, line, 12, kind=kind)
    d.text(
        120, 418, "grey line: without scaling; blue: with it; large dots: the shipped model", 12, kind="quiet"
    )
    d.save("rope_bands")


main()
