"""The typical size of a channel in the stream and after each norm, layer by layer."""

import numpy as np
from draw import Drawing, run
from plot import Axes


def main():
    demo = run("demo")
    token = demo.find("image")
    n_layers = demo.header["model"]["text"]["n_layers"]
    rms = lambda name: float(np.sqrt(np.mean(demo[name][token].astype(float) ** 2)))
    stream = [rms("language_model.embed_tokens")] + [
        rms(f"language_model.layers.{layer}") for layer in range(n_layers)
    ]
    normed = [rms(f"language_model.layers.{layer}.input_layernorm") for layer in range(n_layers)] + [
        rms("language_model.norm")
    ]
    d = Drawing(
        "The stream grows, the normalised copy does not",
        f"Root mean square of the token image. The stream goes from {stream[0]:.2f} before layer 0 to "
        f"{stream[-1]:.2f} "
        f"after layer {n_layers - 1}; after each norm it lies between {min(normed):.2f} and "
        f"{max(normed):.2f}.",
        680,
        340,
    )
    axes = Axes(d, (80, 24, 470, 250), (0, n_layers), (0.05, 200), log_y=True)
    axes.frame(
        "before layer",
        "root mean square",
        [(layer, str(layer)) for layer in range(n_layers)] + [(n_layers, "norm")],
        [(0.1, "0.1"), (1, "1"), (10, "10"), (100, "100")],
    )
    axes.curve(range(n_layers + 1), stream, "blue")
    axes.dots(range(n_layers + 1), stream, "blue")
    axes.curve(range(n_layers + 1), normed, "violet")
    axes.dots(range(n_layers + 1), normed, "violet")
    d.text(562, axes.y(stream[-1]) + 4, "the stream", 13, kind="blue")
    d.text(562, axes.y(normed[-1]) + 4, "after the norm", 13, kind="violet")
    d.save("residual_growth")


main()
