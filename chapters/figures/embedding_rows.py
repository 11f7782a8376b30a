"""Cosines between rows of the embedding table: colours, things, places."""

import json

import numpy as np
from draw import ROOT, Drawing, shade, weights

GROUPS = {
    "colours": "red blue green yellow pink orange purple brown black white",
    "things": "ball star heart moon house tree fish boat cup key",
    "places": "left right top bottom middle",
}
STRONGEST = 0.3  # the cosine at which a cell is fully coloured


def main():
    vocabulary = json.loads((ROOT / "models" / "pictor" / "tokenizer.json").read_text())["model"]["vocab"]
    words = [word for group in GROUPS.values() for word in group.split()]
    rows = weights()["language_model.model.embed_tokens.weight"][
        [vocabulary["Ġ" + word] for word in words]
    ].astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines, cell, left, top = rows @ rows.T, 20, 90, 74
    d = Drawing(
        "Rows of the embedding table compared",
        "A square of 25 words against 25 words: ten colours, ten things, five places. The stronger a cell "
        "is coloured, the more "
        "the two rows point the same way. Cells inside a group are coloured more often than cells between "
        "groups.",
        660,
        620,
    )
    edges = np.cumsum([0] + [len(group.split()) for group in GROUPS.values()])
    for a, word in enumerate(words):
        d.text(left - 6, top + cell * a + 15, word, 12, "end")
        d.text(left + cell * a + 14, top - 6, word, 12, turn=-60)
        for b in range(len(words)):
            d.rect(
                left + cell * b,
                top + cell * a,
                cell - 1,
                cell - 1,
                "plain" if a == b else shade(cosines[a, b] / STRONGEST),
            )
    for edge in edges[1:-1]:
        d.line(left + cell * edge - 0.5, top, left + cell * edge - 0.5, top + cell * len(words), width=1.5)
        d.line(left, top + cell * edge - 0.5, left + cell * len(words), top + cell * edge - 0.5, width=1.5)
    for place in range(6):
        d.rect(left + 30 * place, 588, 28, 14, shade(place / 5))
    d.text(left - 8, 600, "0 or less", 12, "end", "quiet")
    d.text(left + 186, 600, f"{STRONGEST} and more; grey: a row with itself", 12, kind="quiet")
    d.save("embedding_rows")


main()
