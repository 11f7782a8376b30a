"""RoPE as clocks: each pair of channels is a hand that turns with the position."""

import json
from math import cos, sin

from draw import ROOT, Drawing

POSITIONS, PAIRS = (0, 1, 2, 3, 5, 10, 50), (0, 1, 2, 3, 7)


def main():
    text = json.loads((ROOT / "models" / "pictor" / "config.json").read_text())["text_config"]
    d_head, theta = text["hidden_size"] // text["num_attention_heads"], text["rope_parameters"]["rope_theta"]
    factor = text["rope_parameters"]["factor"]
    d = Drawing(
        "RoPE turns pairs of channels like hands of clocks",
        "Rows of clock faces, one row per pair of channels from fast to slow, one column per position. The "
        "first pair's hand turns "
        "by one radian a token; the last pair's hand does not visibly move.",
        680,
        470,
    )
    for column, position in enumerate(POSITIONS):
        d.text(180 + 72 * column, 40, str(position), 14, "middle", bold=True)
    d.text(20, 40, "position", 14)
    for row, pair in enumerate(PAIRS):
        y = 90 + 80 * row
        slowed = pair == d_head // 2 - 1
        frequency = theta ** (-2 * pair / d_head) / (factor if slowed else 1)
        d.text(20, y - 3, f"channels {pair}, {pair + d_head // 2}", 13)
        d.text(20, y + 15, f"{frequency:.3g} rad a token", 12, kind="quiet")
        for column, position in enumerate(POSITIONS):
            x, angle = 180 + 72 * column, position * frequency
            d.circle(x, y, 27, "blue")
            d.line(x, y, x + 25, y, width=1, dashed=True)
            d.arrow(x, y, x + 25 * cos(angle), y - 25 * sin(angle), "orange", 2.5)
    d.text(20, 462, "Dashed: where the hand was at position 0.", 12, kind="quiet")
    d.save("rope_pairs")


main()
