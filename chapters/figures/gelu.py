"""Chapter 11: GELU, and how far its popular approximation is off."""

import math

from draw import Drawing

LEFT, WIDE, REACH = 70, 540, 4.0


def exact(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def approximate(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


xs = [-REACH + step * 2 * REACH / 320 for step in range(321)]
apart = max(abs(exact(x) - approximate(x)) for x in xs)
d = Drawing(
    "GELU, exact and approximate",
    "Above, GELU follows zero for negative numbers, dips a little below it near minus one, and follows "
    "the number itself when positive; "
    f"ReLU has a corner instead. Below, exact minus approximate: a wave of at most {apart:.5f}.",
    660,
    420,
)


def curve(values, zero, unit, kind):
    d.path(
        "M"
        + " L".join(
            f"{LEFT + (x + REACH) / (2 * REACH) * WIDE:.1f} {zero - unit * value:.1f}"
            for x, value in zip(xs, values)
        ),
        kind,
        2.2,
    )


d.line(LEFT, 210, LEFT + WIDE, 210, None, 0.8)
curve([max(x, 0) for x in xs], 210, 40, "blue")
curve([exact(x) for x in xs], 210, 40, "orange")
d.line(386, 85, 412, 85, "orange", 2.2)
d.line(386, 107, 412, 107, "blue", 2.2)
d.text(420, 90, "GELU", 14, kind="orange", bold=True)
d.text(420, 112, "ReLU", 14, kind="blue", bold=True)
for x in (-4, -2, 0, 2, 4):
    d.text(LEFT + (x + REACH) / (2 * REACH) * WIDE, 246, str(x), 13, "middle", "quiet")
d.line(LEFT, 340, LEFT + WIDE, 340, None, 0.8)
curve([exact(x) - approximate(x) for x in xs], 340, 90000, "red")
d.text(LEFT, 284, f"exact minus approximate, enlarged: at most {apart:.5f}", 14, kind="red", bold=True)
d.text(LEFT - 8, 345, "0", 13, "end", "quiet")
d.text(LEFT - 8, 215, "0", 13, "end", "quiet")
d.save("gelu")
