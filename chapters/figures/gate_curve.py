"""tanh, with the gates of the shipped model's cross layers."""

import json
from math import tanh

from draw import ROOT, Drawing, weights
from plot import Axes


def main():
    layers = json.loads((ROOT / "models" / "pictor" / "config.json").read_text())["text_config"][
        "cross_attention_layers"
    ]
    stored = weights()
    gates = [
        (layer, name, kind, float(stored[f"language_model.model.layers.{layer}.cross_attn_{part}_gate"][0]))
        for layer in layers
        for name, kind, part in (("attention", "orange", "attn"), ("mlp", "green", "mlp"))
    ]
    d = Drawing(
        "tanh and the gates of the cross layers",
        "tanh is near the straight line around zero and levels off at one. Gates: "
        + ", ".join(
            f"{name} of layer {layer} {gate:.2f} becomes {tanh(gate):.2f}" for layer, name, _, gate in gates
        )
        + ".",
        680,
        380,
    )
    axes = Axes(d, (80, 24, 560, 290), (-2, 2), (-1.2, 1.2))
    axes.frame(
        "gate as stored",
        "tanh(gate)",
        [(x, str(x)) for x in (-2, -1, 0, 1, 2)],
        [(y, str(y)) for y in (-1, 0, 1)],
    )
    d.line(axes.x(-2), axes.y(0), axes.x(2), axes.y(0), width=0.8, dashed=True)
    axes.curve([-1.2, 1.2], [-1.2, 1.2], None, 0.8)
    xs = [n / 20 for n in range(-40, 41)]
    axes.curve(xs, [tanh(x) for x in xs], "blue")
    d.text(axes.x(-1.95), axes.y(1.05), "orange: attention, green: MLP", 12, kind="quiet")
    d.text(axes.x(-0.95), axes.y(-1.14), "grey: the gate itself", 12, kind="quiet")
    d.circle(axes.x(0), axes.y(0), 4, "plain")
    d.text(axes.x(0) - 10, axes.y(0) - 10, "training begins here", 12, "end", "quiet")
    for place, (layer, name, kind, gate) in enumerate(sorted(gates, key=lambda gate: -gate[3])):
        x, y = axes.x(gate), axes.y(tanh(gate))
        label_y = axes.y(-0.15) + 24 * place
        d.line(x, y, axes.x(0.85), label_y - 4, kind, 0.9, dashed=True)
        d.circle(x, y, 5, kind)
        d.text(
            axes.x(0.85) + 6, label_y, f"{name}, layer {layer}: {gate:.2f} → {tanh(gate):.2f}", 12, kind=kind
        )
    d.save("gate_curve")


main()
