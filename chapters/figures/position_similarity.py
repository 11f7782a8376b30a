"""Chapter 10: how like the position vectors of a tile's places are to that of one place."""

import numpy as np

from draw import Drawing, shade, weights

PLACE, CELL, LEFT, TOP = 59, 34, 30, 30
table = weights()["vision_model.gated_positional_embedding.embedding"].astype(np.float64)
cosine = table @ table[PLACE] / np.linalg.norm(table, axis=1) / np.linalg.norm(table[PLACE])
d = Drawing(
    "Position vectors of neighbours are alike",
    "The cosine between the position vector of row 7, column 2 and that of each of the 64 places of a "
    "tile. It is 1 at the place "
    f"itself, {np.sort(cosine[1:])[-2]:.2f} at the most similar other place and {cosine[1:].min():.2f} "
    "at the least similar.",
    640,
    330,
)
for patch in range(64):
    x, y, value = LEFT + patch % 8 * CELL, TOP + patch // 8 * CELL, cosine[patch + 1]
    d.rect(x, y, CELL, CELL, shade(value * 0.62))
    d.text(x + CELL / 2, y + CELL * 0.63, f"{value:.2f}".replace("0.", "."), 11, "middle")
d.rect(LEFT + (PLACE - 1) % 8 * CELL, TOP + (PLACE - 1) // 8 * CELL, CELL, CELL, "none", outline="blue")
d.text(340, 60, "cosine with the position vector", 14)
d.text(340, 80, "of row 7, column 2 (outlined)", 14)
for step in range(11):
    d.rect(340 + step * 22, 110, 22, 22, shade(step / 10 * 0.62))
d.text(340, 150, "0", 13, kind="quiet")
d.text(582, 150, "1", 13, "end", "quiet")
d.text(LEFT, TOP + 8 * CELL + 20, "the 64 places of a tile", 13, kind="quiet")
d.save("position_similarity")
