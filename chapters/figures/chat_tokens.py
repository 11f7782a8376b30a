"""The tokens of the demo's prompt, with position and id."""

from draw import Drawing, run


def main():
    demo = run("demo")
    words, ids = demo.words[: demo.n_prompt], demo.ids[: demo.n_prompt]
    rows, x, y = [], 20, 40
    for position, word in enumerate(words):
        shown = word.replace("\n", "\\n").replace(" ", "␣")
        width = max(54, 9.2 * len(shown) + 18)
        if x + width > 700:
            x, y = 20, y + 84
        rows.append((x, y, width, shown, position))
        x += width + 8
    d = Drawing(
        "The prompt, token by token",
        f"{len(words)} boxes: special tokens in grey, the image token in orange, text in blue. Above each "
        f"its position, "
        "below its id.",
        720,
        y + 70,
    )
    for x, y, width, shown, position in rows:
        kind = "orange" if shown == "<|image|>" else "plain" if shown.startswith("<|") else "blue"
        d.text(x + width / 2, y - 6, str(position), 12, "middle", "quiet")
        d.box(x, y, width, 30, shown, kind, 14, code=True)
        d.text(x + width / 2, y + 46, str(ids[position]), 12, "middle", "quiet")
    d.save("chat_tokens")


main()
