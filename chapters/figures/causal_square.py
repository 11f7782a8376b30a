"""The shares of one head as a square; the future is hatched."""

import numpy as np
from draw import Drawing, run, shade


def main():
    demo = run("demo")
    probs = demo["language_model.layers.0.self_attn.probs"]
    head = int(np.argmax(np.max(probs[:, demo.find("image"), :], axis=1)))
    words = [word.replace("\n", "\\n").replace(" ", "␣") for word in demo.words[: demo.n_prompt]]
    cell, left, top, n = 26, 190, 150, len(words)
    d = Drawing(
        "The causal mask, with real shares",
        f"A square of {n} tokens against {n} keys: layer 0, head {head} of the demo prompt. Each row adds "
        f"up to one. Everything right "
        "of the diagonal is the future and has a share of exactly zero.",
        left + cell * n + 80,
        top + cell * n + 60,
    )
    for token in range(n):
        d.text(left - 8, top + cell * token + 18, words[token], 12, "end", code=True)
        d.text(left + cell * token + 17, top - 8, words[token], 12, code=True, turn=-60)
        for key in range(n):
            x, y = left + cell * key, top + cell * token
            if key > token:
                d.line(x + 4, y + cell - 5, x + cell - 5, y + 4, width=0.8)
            else:
                d.rect(x, y, cell - 1, cell - 1, shade(float(probs[head, token, key])))
    d.path(
        f"M{left},{top} "
        + " ".join(f"H{left + cell * (i + 1)} V{top + cell * (i + 1)}" for i in range(n))
        + f" H{left} Z",
        "blue",
        1.5,
    )
    for place in range(6):
        d.rect(left + 30 * place, top + cell * n + 24, 28, 14, shade(place / 5))
    d.text(left - 8, top + cell * n + 36, "share 0", 12, "end", "quiet")
    d.text(left + 186, top + cell * n + 36, "1; hatched: may not be seen", 12, kind="quiet")
    d.save("causal_square")


main()
