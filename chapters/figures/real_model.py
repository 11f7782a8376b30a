"""Where the released model's parameters are, and where its multiplications go."""

import sys

sys.dont_write_bytecode = True
from draw import ROOT, Drawing

sys.path.insert(0, str(ROOT / "chapters" / "weave"))
import sizes
from namespace import preset

LEFT, WIDE, TALL, TOKENS = 60, 560, 44, 50


def bar(d, y, title, parts):
    """One stacked bar, its parts named below it."""
    total = sum(value for _, value, _ in parts)
    d.text(LEFT, y - 12, title, 15, bold=True)
    x = LEFT
    for place, (name, value, kind) in enumerate(parts):
        width = WIDE * value / total
        d.rect(x, y, width, TALL, kind)
        row, column = divmod(place, 3)
        key_x, key_y = LEFT + column * 195, y + TALL + 14 + row * 22
        d.rect(key_x, key_y, 12, 12, kind)
        d.text(key_x + 18, key_y + 11, f"{name} {100 * value / total:.0f} %", 12)
        x += width


s = preset("11b")
p, o = sizes.parameters(s), sizes.operations(s)
d = Drawing(
    "Parameters and work of the real model",
    "Two stacked bars. Parameters: self layers of the text have most, then cross layers, embedding table "
    "and LM head, vision side. Work for one image and an answer of fifty tokens: the encoder's matrices and "
    "its "
    "attention have most.",
    680,
    310,
)
bar(
    d,
    50,
    f"{p['total'] / 1e9:.1f} billion parameters",
    [
        ("text, self layers", p["self_layers"], "blue"),
        ("text, cross layers", p["cross_layers"], "violet"),
        ("table and LM head", p["embedding_table"] + p["lm_head"], "plain"),
        ("vision encoder", p["vision"] - p["projector"], "orange"),
        ("projector", p["projector"], "green"),
    ],
)
work = [
    ("text, self layers", TOKENS * o["token_self"], "blue"),
    ("text, cross layers", TOKENS * o["token_cross"] + o["image_keys"], "violet"),
    ("LM head", TOKENS * o["lm_head"], "plain"),
    ("vision, matrices", o["image_layers"], "orange"),
    ("vision, attention", o["image_attention"], "red"),
    ("projector", o["projector"], "green"),
]
total = sum(value for _, value, _ in work)
bar(d, 200, f"{total / 1e12:.1f} million million multiplications: one image and {TOKENS} tokens", work)
d.save("real_model")
