"""Which keys are made in which step, and which are read from the cache."""

from draw import Drawing, run


def main():
    demo = run("demo")
    shown, cell, left, top = 9, 17, 150, 76
    prompt = demo.n_prompt
    words = [word.replace("\n", "\\n").replace(" ", "␣") for word in demo.words]
    columns = prompt + shown - 1
    d = Drawing(
        "Keys made and keys kept",
        f"Rows are steps 0 to {shown - 1}, columns tokens 0 to {columns - 1}. Step 0 makes the keys of all "
        f"{prompt} prompt tokens and of "
        "the picture; each later step makes one key and reads all earlier ones.",
        left + cell * columns + 150,
        top + 30 * shown + 60,
    )
    d.text(left - 72, top - 12, "picture", 12, kind="orange")
    d.text(left, top - 12, f"prompt, {prompt} tokens", 12, kind="quiet")
    d.text(left + cell * prompt + 6, top - 12, "generated", 12, kind="quiet")
    for step in range(shown):
        y = top + 30 * step
        d.text(14, y + 17, f"step {step}", 13)
        d.rect(left - 72, y, 56, 22, "orange" if step == 0 else "plain", 3)
        d.text(
            left - 44,
            y + 15,
            "made" if step == 0 else "kept",
            11,
            "middle",
            "orange" if step == 0 else "quiet",
        )
        for token in range(prompt + step):
            is_new = step == 0 or token == prompt + step - 1
            d.rect(left + cell * token, y, cell - 2, 22, "blue" if is_new else "plain", 2)
        run_text = "reads the prompt" if step == 0 else f"runs {words[prompt + step - 1]}"
        d.text(left + cell * columns + 8, y + 10, run_text, 11, kind="blue")
        d.text(left + cell * columns + 8, y + 23, f"predicts {words[prompt + step]}", 11, kind="quiet")
    y = top + 30 * shown + 20
    d.rect(left, y, cell - 2, 20, "blue", 2)
    d.text(left + 24, y + 15, "made in this step", 12, kind="quiet")
    d.rect(left + 170, y, cell - 2, 20, "plain", 2)
    d.text(left + 194, y + 15, "read from the cache", 12, kind="quiet")
    d.save("cache_steps")


main()
