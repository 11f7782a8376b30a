"""Chapter 17: measured tolerances and the size of real mistakes, on one scale of powers of ten."""

import json
import math

from draw import ROOT, Drawing

policy = json.loads((ROOT / "golden/tolerances.json").read_text())
KINDS = (
    ("vision attention probabilities", "vision_model.transformer.layers.*.self_attn.probs"),
    ("GELU's output", "vision_model.transformer.layers.*.mlp.activation_fn"),
    ("projector", "multi_modal_projector"),
    ("logits", "lm_head"),
)
MISTAKES = (("GELU with tanh", 4.7e-4), ("a guess: 1e-3", 1e-3), ("kept states one layer late", 5.4))
LEFT, WIDE, LOW, HIGH = 260, 400, -6.3, 1.0
d = Drawing(
    "Measured tolerances and real mistakes",
    "; ".join(f"{name}: tolerance {policy[key]['atol']:.1e}" for name, key in KINDS)
    + ". "
    + "; ".join(f"{name}: {size:.1e}" for name, size in MISTAKES)
    + ".",
    700,
    330,
)


def at(value):
    return LEFT + (math.log10(value) - LOW) / (HIGH - LOW) * WIDE


for power in range(-6, 2):
    d.line(at(10.0**power), 30, at(10.0**power), 290, None, 0.6, dashed=True)
    d.text(at(10.0**power), 308, f"1e{power}" if power else "1", 12, "middle", "quiet")
for index, (name, key) in enumerate(KINDS):
    y, limit = 44 + index * 34, policy[key]["atol"]
    d.text(LEFT - 14, y + 14, name, 13, "end")
    d.rect(at(limit / 10), y, at(limit) - at(limit / 10), 20, "green")
    d.text(at(limit) + 8, y + 15, f"{limit:.1e}", 12, kind="green")
for index, (name, size) in enumerate(MISTAKES):
    y = 190 + index * 34
    d.text(LEFT - 14, y + 5, name, 13, "end")
    d.circle(at(size), y, 6, "plain" if "guess" in name else "red")
d.text(LEFT - 14, 26, "noise to tolerance (noise x 10)", 13, "end", "green", bold=True)
d.save("tolerances")
