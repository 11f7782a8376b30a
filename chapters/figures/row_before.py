"""Chapter 18: which row a heatmap of a word is read from."""

from draw import Drawing, run

demo = run("demo")
word = demo.find("fish")
places = list(range(word - 3, word + 2))
shown = [demo.words[place].strip() or "?" for place in places]
d = Drawing(
    "The row before the word predicts it",
    f"Tokens {', '.join(shown)}. Each token's row predicts the next token. The word fish, token {word}, "
    "is predicted by the row of the token "
    f"before it, {shown[2]}: that row's attention is the map of the word fish.",
    700,
    250,
)
WIDE, LEFT = 120, 40
for index, (place, text) in enumerate(zip(places, shown)):
    x = LEFT + index * (WIDE + 10)
    kind = "green" if place == word - 1 else "orange" if place == word else "plain"
    d.box(x, 150, WIDE, 44, [text, f"token {place}"], kind, 15)
    if index + 1 < len(places):
        d.box(x, 52, WIDE, 36, shown[index + 1], "orange" if place + 1 == word else "plain", 15)
        d.arrow(
            x + WIDE / 2,
            150,
            x + WIDE / 2,
            90,
            "green" if place == word - 1 else None,
            2.5 if place == word - 1 else 1.5,
        )
d.text(LEFT, 38, "predicts", 13, kind="quiet")
d.text(LEFT, 220, "reads", 13, kind="quiet")
d.text(LEFT + 2.5 * WIDE + 20, 236, "the map of this word is read here", 14, "middle", "green", bold=True)
d.save("row_before")
