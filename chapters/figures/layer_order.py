"""The order of the text layers in both models, with the picture leading into the cross layers."""

import json

from draw import ROOT, Drawing


def draw_column(d, x, top, n_layers, cross, step, width, name):
    d.text(x + width / 2, top - 36, name, 14, "middle", bold=True)
    d.box(x, top - 24, width, 20, "embedding", "violet", 11)
    for layer in range(n_layers):
        y = top + step * layer
        is_cross = layer in cross
        if step > 14:
            d.box(
                x,
                y,
                width,
                step - 4,
                f"{layer}  {'cross-attention' if is_cross else 'self-attention'}, MLP",
                "orange" if is_cross else "blue",
                12,
            )
        else:
            d.rect(x, y, width, step - 2, "orange" if is_cross else "blue", 2)
            if is_cross:
                d.text(x + width + 8, y + step - 2, str(layer), 11, kind="orange")
    d.box(x, top + step * n_layers + 2, width, 20, "norm, LM head", "violet", 11)


def main():
    text = json.loads((ROOT / "models" / "pictor" / "config.json").read_text())["text_config"]
    n_layers, cross, real = text["num_hidden_layers"], text["cross_attention_layers"], list(range(3, 40, 5))
    step, top = 44, 84
    d = Drawing(
        "Self layers and cross layers in their order",
        f"Left, the shipped model: {n_layers} layers, cross-attention at {', '.join(map(str, cross))}. "
        f"Right, the real one: 40 layers, "
        f"cross-attention at {', '.join(map(str, real))}. Keys and values of the picture lead into the "
        f"cross layers alone.",
        700,
        top + step * n_layers + 50,
    )
    draw_column(d, 220, top, n_layers, cross, step, 210, "the shipped model")
    draw_column(d, 520, top, 40, real, step * n_layers / 40, 110, "Llama 3.2-Vision 11B")
    middle = top + step * (cross[0] + cross[-1] + 1) / 2
    d.box(24, middle - 28, 120, 52, ["picture", "projected patches"], "orange", 13)
    for layer in cross:
        d.arrow(144, middle, 218, top + step * layer + step / 2 - 2, "orange")
    d.text(24, middle + 46, "keys and values are", 12, kind="quiet")
    d.text(24, middle + 62, "made once per layer", 12, kind="quiet")
    d.save("layer_order")


main()
