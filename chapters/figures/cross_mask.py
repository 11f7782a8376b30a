"""Two cross-attention masks: the demo's, and a golden case with two pictures."""

import sys

from draw import ROOT, Drawing, run

sys.path.insert(0, str(ROOT / "trace" / "python"))
from load_trace import load_trace


def draw_mask(d, left, top, names, mask, title, cell=22):
    n_tokens, n_images, n_tiles = mask.shape
    d.text(left - 100, top - 46, title, 14, bold=True)
    for image in range(n_images):
        x = left + image * (n_tiles * cell + 10)
        d.text(x + n_tiles * cell / 2, top - 22, f"image {image}", 12, "middle")
        for tile in range(n_tiles):
            d.text(x + cell * tile + cell / 2, top - 6, str(tile), 11, "middle", "quiet")
    for token in range(n_tokens):
        y = top + cell * token
        blind = not mask[token].any()
        d.text(left - 10, y + 16, names[token], 12, "end", "red" if blind else "ink", code=True)
        for image in range(n_images):
            for tile in range(n_tiles):
                kind = "green" if mask[token, image, tile] else "red" if blind else "plain"
                d.rect(left + image * (n_tiles * cell + 10) + cell * tile, y, cell - 2, cell - 2, kind, 2)


def main():
    demo, case = run("demo"), load_trace(ROOT / "golden" / "cases" / "two_apart" / "meta")
    words = [word.replace("\n", "\\n").replace(" ", "␣") for word in demo.words[: demo.n_prompt]]
    ids, image_token = case.header["prompt"]["token_ids"], case.header["model"]["image_token"]
    names = ["<|image|>" if token == image_token else f"id {token}" for token in ids]
    one, two = demo["cross_attention_mask"], case["cross_attention_mask"]
    blind = int((~one.any(axis=(1, 2))).sum())
    d = Drawing(
        "Which token may see which tile",
        f"Left, the demo prompt: {blind} tokens in front of the image see nothing, all others see its four "
        f"tiles. Right, a golden case "
        "with two pictures: each is seen from its own token to the next one's; the second has three tiles, "
        "the fourth is seen by none.",
        700,
        90 + 22 * one.shape[0] + 50,
    )
    draw_mask(d, 190, 90, words, one, "the demo prompt")
    draw_mask(d, 470, 90, names, two, "golden case two_apart")
    y = 90 + 22 * one.shape[0] + 16
    for x, kind, text in (
        (60, "green", "may see"),
        (180, "plain", "may not"),
        (300, "red", "may see nothing at all"),
    ):
        d.rect(x, y, 20, 20, kind, 2)
        d.text(x + 28, y + 15, text, 12, kind="quiet")
    d.save("cross_mask")


main()
