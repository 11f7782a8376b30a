"""Cross-attention keys: tiles of patches with a class token each, and the same as one long row."""

import numpy as np
from draw import Drawing, run, shade


def main():
    demo = run("demo")
    row, sizes = demo.row("fish"), demo.header["model"]["vision"]
    layer = demo.header["model"]["text"]["cross_attention_layers"][-1]
    shares = demo.at(f"language_model.layers.{layer}.cross_attn.probs", row).astype(float).mean(axis=0)
    n_patches, side = sizes["n_patches"], sizes["patches_per_side"]
    high, wide = demo.picture["tiles"]
    cell, gap, left, top = 17, 34, 40, 60
    strongest = float(np.max(shares))
    tile_size = cell * side
    bottom = top + high * (tile_size + gap) + 20
    d = Drawing(
        "Cross-attention keys are tiles of patches",
        f"The demo picture as {high} x {wide} tiles of {side} x {side} patches, a class token at each "
        f"tile's corner, coloured by the "
        f"attention of layer {layer} (mean over heads) in the row that predicts fish. Below, the "
        f"{len(shares)} keys in their order.",
        700,
        bottom + 130,
    )
    d.text(left, 26, f"Layer {layer}, mean over heads: the row that predicts \u201cfish\u201d", 14, bold=True)
    for tile in range(high * wide):
        x0 = left + (tile % wide) * (tile_size + gap + 40)
        y0 = top + (tile // wide) * (tile_size + gap)
        d.text(
            x0 + 24,
            y0 - 8,
            f"tile {tile}: keys {tile * n_patches} to {(tile + 1) * n_patches - 1}",
            12,
            kind="quiet",
        )
        for patch in range(n_patches):
            kind = shade(shares[tile * n_patches + patch] / strongest)
            if patch == 0:
                d.rect(x0, y0, cell, cell, kind, 3, "violet")
            else:
                down, across = divmod(patch - 1, side)
                d.rect(x0 + 24 + cell * across, y0 + cell * down, cell - 1, cell - 1, kind)
        d.rect(x0 + 23, y0 - 1, tile_size + 1, tile_size + 1, "none", 0, "blue")
    x = left + wide * (tile_size + gap + 40) + 10
    d.rect(x, top + 10, cell, cell, "shade0", 3, "violet")
    for line, text in enumerate(("class token:", "patch 0 of its tile,", "not a place in", "the picture")):
        d.text(x + 26, top + 22 + 17 * line, text, 12, kind="quiet")
    for place in range(6):
        d.rect(x + 22 * place, top + 110, 21, 14, shade(place / 5))
    d.text(x, top + 142, f"share 0 to {strongest:.3f}", 12, kind="quiet")
    width = 620 / len(shares)
    d.text(left, bottom + 4, "the same keys as attention sees them", 13)
    for key, share in enumerate(shares):
        d.rect(left + width * key, bottom + 16, width, 40, shade(share / strongest))
    for tile in range(high * wide + 1):
        edge = left + width * n_patches * tile
        d.line(edge, bottom + 12, edge, bottom + 62, "blue")
        if tile < high * wide:
            d.line(edge + width / 2, bottom + 58, edge + width / 2, bottom + 68, "violet", 2.5)
            d.text(edge + width * n_patches / 2, bottom + 84, f"tile {tile}", 12, "middle", "quiet")
    d.text(left, bottom + 108, "violet ticks: class tokens", 12, kind="quiet")
    d.save("cross_keys")


main()
