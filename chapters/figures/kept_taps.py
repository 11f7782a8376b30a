"""Chapter 12: the kept states as taps on a pipe."""

import json

from draw import ROOT, Drawing

config = json.loads((ROOT / "models/pictor/config.json").read_text())["vision_config"]
LAYERS, KEPT, GLOBAL, D = (
    config[key]
    for key in ("num_hidden_layers", "intermediate_layers_indices", "num_global_layers", "hidden_size")
)
STEP, LEFT, TOP, HIGH = 74, 30, 60, 56
d = Drawing(
    "The encoder hands over its final state and three states on the way",
    f"{LAYERS} local layers in a row. Before layers {', '.join(map(str, KEPT))} a tap takes a copy of "
    "the state. Then LayerNorm, tile "
    f"embedding and {GLOBAL} gated global layers. The final state and the copies are joined: {D} + "
    f"{len(KEPT)} x {D} numbers per patch.",
    760,
    380,
)
x, taps = LEFT, []
d.text(LEFT, 40, "local layers", 14, kind="orange", bold=True)
for layer in range(LAYERS):
    if layer in KEPT:
        taps.append(x - 11)
    d.box(x, TOP, STEP - 22, HIGH, str(layer), "orange", 16)
    d.arrow(x + STEP - 22, TOP + HIGH / 2, x + STEP, TOP + HIGH / 2)
    x += STEP
d.box(x, TOP, 70, HIGH, ["norm", "+ tile"], "plain", 13)
d.arrow(x + 70, TOP + HIGH / 2, x + 92, TOP + HIGH / 2)
x += 92
d.text(x, 40, "global layers", 14, kind="violet", bold=True)
for layer in range(GLOBAL):
    d.box(x, TOP, STEP - 22, HIGH, str(layer), "violet", 16)
    d.line(x + STEP - 22, TOP + HIGH / 2, x + STEP - 4, TOP + HIGH / 2)
    x += STEP
end = x - 4
FLOOR = 250
d.line(end - 18, TOP + HIGH / 2, end, TOP + HIGH / 2)
for index, tap in enumerate(taps):
    d.circle(tap, TOP + HIGH / 2, 5, "green")
    d.arrow(tap, TOP + HIGH / 2 + 5, tap, FLOOR, "green", 2.5)
    right = index == len(taps) - 1  # the others' names are left of their taps, where there is room
    x, anchor = (tap + 9, "start") if right else (tap - 9, "end")
    d.text(x, 178, f"input of {KEPT[index]}", 13, anchor, "green")
d.arrow(end, TOP + HIGH / 2, end, FLOOR, "green", 2.5)
d.text(end - 9, 178, "final state", 13, "end", "green")
d.rect(LEFT, FLOOR, 700, 40, "green", 6)
d.text(
    LEFT + 350,
    FLOOR + 26,
    f"joined: {D} numbers of the final state, then {len(KEPT)} x {D} kept ones, alternating",
    14,
    "middle",
    "green",
)
d.arrow(LEFT + 350, FLOOR + 40, LEFT + 350, FLOOR + 76)
d.text(LEFT + 350, FLOOR + 98, f"{D * (1 + len(KEPT))} numbers per patch, to the projector", 14, "middle")
d.save("kept_taps")
