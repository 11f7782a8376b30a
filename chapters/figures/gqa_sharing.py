"""Grouped-query attention: which query heads share which key and value head."""

from draw import Drawing, run


def draw_model(d, y, name, n_heads, n_kv_heads, cell):
    group, left = n_heads // n_kv_heads, 24
    d.text(left, y - 12, name, 14, bold=True)
    d.text(left, y + 22, "query heads", 12, kind="quiet")
    d.text(left, y + 122, "key and value heads", 12, kind="quiet")
    start = 170
    for head in range(n_heads):
        d.rect(start + cell * head, y, cell - 3, 34, "blue", 4)
        if cell > 20:
            d.text(start + cell * head + (cell - 3) / 2, y + 22, str(head), 13, "middle", "blue")
        middle = start + cell * group * (head // group) + cell * group / 2
        d.line(start + cell * head + (cell - 3) / 2, y + 36, middle, y + 98, width=1.2)
    for kv_head in range(n_kv_heads):
        width = min(cell * group - 12, 60)
        middle = start + cell * group * kv_head + cell * group / 2
        d.box(middle - width / 2, y + 100, width, 34, str(kv_head), "violet", 13)


def main():
    text = run("demo").header["model"]["text"]
    d = Drawing(
        "Query heads share keys and values",
        f"Above, the shipped model: {text['n_heads']} query heads, neighbours share {text['n_kv_heads']} "
        f"key heads. Below, the real "
        "model: 32 query heads share 8 key heads, four neighbours each.",
        700,
        390,
    )
    draw_model(d, 44, "The shipped model", text["n_heads"], text["n_kv_heads"], 512 / text["n_heads"])
    draw_model(d, 234, "Llama 3.2-Vision 11B", 32, 8, 16)
    d.save("gqa_sharing")


main()
