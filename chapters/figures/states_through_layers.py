"""Chapter 12: how like every patch's state is to that of a patch on the fish, layer by layer."""

import numpy as np

from draw import Drawing, run, shade
from pictures import window

TILE, PATCH, SIDE, CELL = 0, 59, 8, 7  # the patch that the chapter follows: row 7, column 2
STATES = [("into the encoder", "vision_model.layernorm_pre")]
STATES += [(f"local layer {n}", f"vision_model.transformer.layers.{n}") for n in range(6)]
STATES += [(f"global layer {n}", f"vision_model.global_transformer.layers.{n}") for n in range(2)]
MAP = 2 * SIDE * CELL


def likeness(states):
    """[rows, columns] over the picture: cosine with the state of the patch that is followed, mean removed."""
    rows = states[0, :, 1 : 1 + SIDE * SIDE].astype(np.float64)
    rows = rows - rows.mean((0, 1))
    one = rows[TILE, PATCH - 1]
    cosine = rows @ one / np.linalg.norm(rows, axis=-1) / np.linalg.norm(one)
    return cosine.reshape(2, 2, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(2 * SIDE, 2 * SIDE)


demo = run("demo")
d = Drawing(
    "The layers gather what belongs together",
    "Nine maps of the demo picture's 16 by 16 patches, from the encoder's input to its last layer. Each "
    "patch is as "
    "dark as its state is like that of one patch on the fish. At first patches of similar colour are alike, "
    "on the fish "
    "and on the tree; after local layer 4 the boxes of all three objects are; after the last layer the fish "
    "is, and "
    "little else.",
    680,
    330,
)
for index, (name, tensor) in enumerate(STATES):
    left, top = 20 + index % 5 * (MAP + 20), 30 + index // 5 * (MAP + 40)
    d.text(left, top - 8, name, 13)
    for (row, column), value in np.ndenumerate(likeness(demo[tensor])):
        if value >= 0.05:
            d.rect(left + column * CELL, top + row * CELL, CELL, CELL, shade(min(1, value)))
    d.rect(left, top, MAP, MAP, "none", outline="plain")
    d.rect(left + 2 * CELL, top + 7 * CELL, CELL, CELL, "none", outline="blue")
left, top = 20 + 4 * (MAP + 20), 30 + MAP + 40
d.text(left, top - 8, "the picture", 13)
window(d, "demo.png", left, top, MAP, MAP)
legend = "cosine with the state of the outlined patch, the mean over all patches removed; white: 0.05 or less"
d.text(20, 320, legend, 13, kind="quiet")
d.save("states_through_layers")
