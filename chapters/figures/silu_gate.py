"""SiLU, with the gates of one token's neurons on it."""

import numpy as np
from draw import Drawing, run
from plot import Axes


def main():
    demo = run("demo")
    gates = demo["language_model.layers.0.mlp.gate_proj"][demo.find("image")].astype(float)
    silu = lambda x: x / (1 + np.exp(-x))
    xs = np.linspace(-6, 6, 121)
    d = Drawing(
        "SiLU and the gates of one token",
        f"SiLU is near zero for negative numbers and near the number itself for large ones. Of {len(gates)} "
        f"gates of the token image "
        f"in layer 0, {int(np.sum(gates < 0))} are negative.",
        680,
        360,
    )
    axes = Axes(d, (80, 24, 560, 270), (-6, 6), (-1, 6))
    axes.frame(
        "gate",
        "SiLU(gate)",
        [(x, str(x)) for x in (-6, -4, -2, 0, 2, 4, 6)],
        [(y, str(y)) for y in (0, 2, 4, 6)],
    )
    d.line(axes.x(-6), axes.y(0), axes.x(6), axes.y(0), width=0.8, dashed=True)
    axes.curve([0, 6], [0, 6], None, 0.8)
    axes.curve(xs, silu(xs), "blue")
    shown = gates[np.abs(gates) <= 6]
    axes.dots(shown, silu(shown), "orange", 3.5)
    said = f"{len(shown)} of the {len(gates)} gates of one token in layer 0; the others lie outside"
    d.text(axes.x(-5.8), axes.y(5.4), said, 13, kind="orange")
    d.text(axes.x(3.4), axes.y(4.2), "the number itself", 12, "end", "quiet")
    d.save("silu_gate")


main()
