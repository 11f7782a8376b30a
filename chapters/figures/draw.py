"""Figures of the book: SVG in one style, light and dark, with words for who cannot see it.

    from draw import Drawing
    d = Drawing("RoPE turns pairs", "Two pairs of channels as arrows ...", 640, 300)
    d.box(20, 20, 120, 40, "q_proj", kind="blue")
    d.arrow(140, 40, 200, 40)
    d.text(20, 90, "channel")
    d.save("rope_pairs")                  # chapters/figures/rope_pairs.svg

Kinds are colours with a meaning, the same in every figure: blue is text, orange is the image, green is what
passes or is chosen, red is what is masked or wrong, violet is a weight, plain is everything else.
`shade(share)` is the fill for a number of 0 to 1. `run("demo")` opens a trace of build/book as the weaver
does. Standard library and numpy only.
"""

import os
import sys
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
KINDS = {  # kind: light (fill, line, ink), dark (fill, line, ink)
    "plain": (("#f3f4f6", "#6b7280", "#1f2937"), ("#2a303a", "#9ca3af", "#e5e7eb")),
    "blue": (("#dbeafe", "#2563eb", "#1e3a8a"), ("#1e3357", "#7ab0ff", "#dbeafe")),
    "orange": (("#ffedd5", "#c2410c", "#7c2d12"), ("#4a2a12", "#fba55a", "#ffedd5")),
    "green": (("#dcfce7", "#15803d", "#14532d"), ("#17402a", "#6ee79a", "#dcfce7")),
    "red": (("#fee2e2", "#b91c1c", "#7f1d1d"), ("#4c1d1d", "#fca5a5", "#fee2e2")),
    "violet": (("#ede9fe", "#6d28d9", "#4c1d95"), ("#35255c", "#c4b5fd", "#ede9fe")),
}
PAPER, INK, QUIET = ("#ffffff", "#161b22"), ("#1f2937", "#e6edf3"), ("#4b5563", "#aab4c0")
SHADES = 10  # steps of shade()


def style():
    def rules(dark):
        lines = [
            f".paper{{fill:{PAPER[dark]}}}.ink{{fill:{INK[dark]}}}.quiet{{fill:{QUIET[dark]}}}",
            f".line{{stroke:{QUIET[dark]};fill:none}}.head{{fill:{QUIET[dark]}}}",
        ]
        for kind, themes in KINDS.items():
            fill, line, ink = themes[dark]
            lines.append(
                f".{kind}{{fill:{fill};stroke:{line}}}.{kind}-ink{{fill:{ink}}}"
                f".{kind}-line{{stroke:{line};fill:none}}"
                f".{kind}-solid{{fill:{line}}}"
            )
        for step in range(SHADES + 1):
            lines.append(
                f".shade{step}{{fill:{mixed(PAPER[dark], KINDS['orange'][dark][1], step / SHADES)}}}"
            )
        return "".join(lines)

    return (
        f"text{{font-family:'DejaVu Sans',system-ui,sans-serif}}"
        f".code{{font-family:'DejaVu Sans Mono',monospace}}{rules(0)}"
        f"@media(prefers-color-scheme:dark){{{rules(1)}}}"
    )


def mixed(one, other, share):
    return "#" + "".join(
        f"{round(int(one[i:i + 2], 16) * (1 - share) + int(other[i:i + 2], 16) * share):02x}"
        for i in (1, 3, 5)
    )


def shade(share):
    """The kind of a cell for a number from 0 to 1."""
    return f"shade{round(min(max(float(share), 0), 1) * SHADES)}"


def number(value):
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


class Drawing:
    def __init__(self, title, description, width, height):
        self.title, self.description, self.width, self.height, self.parts = (
            title,
            description,
            width,
            height,
            [],
        )

    def rect(self, x, y, width, height, kind="plain", radius=0, outline=None):
        classes = kind if outline is None else f"{kind} {outline}-line"
        self.parts.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
            f'rx="{number(radius)}" class="{classes}"{self.fill_fix(kind, outline)}/>'
        )

    def fill_fix(self, kind, outline):
        return ' style="fill:none"' if kind == "none" and outline else ""

    def text(self, x, y, text, size=14, anchor="start", kind="ink", code=False, bold=False, turn=0):
        kind = kind if kind in ("ink", "quiet") else kind + "-ink"
        turned = f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" text-anchor="{anchor}" '
            f'class="{kind}{" code" if code else ""}"{weight}{turned} '
            f'xml:space="preserve">{escape(text)}</text>'
        )

    def box(self, x, y, width, height, lines, kind="plain", size=14, code=False):
        """A rounded box with one or several centred lines; the first is bold when there are several."""
        self.rect(x, y, width, height, kind, 6)
        lines = [lines] if isinstance(lines, str) else lines
        step = size * 1.35
        top = y + height / 2 - step * (len(lines) - 1) / 2 + size * 0.36
        for place, line in enumerate(lines):
            self.text(
                x + width / 2,
                top + step * place,
                line,
                size if place == 0 else size - 2,
                "middle",
                kind,
                code,
                bold=len(lines) > 1 and place == 0,
            )

    def line(self, x1, y1, x2, y2, kind=None, width=1.5, dashed=False):
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" '
            f'class="{kind + "-line" if kind else "line"}" stroke-width="{number(width)}"{dash}/>'
        )

    def arrow(self, x1, y1, x2, y2, kind=None, width=1.5, dashed=False):
        length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1e-9)
        ux, uy, size = (x2 - x1) / length, (y2 - y1) / length, 6 + width
        bx, by = x2 - ux * size, y2 - uy * size
        self.line(x1, y1, bx, by, kind, width, dashed)
        corners = [
            (x2, y2),
            (bx - uy * size / 2, by + ux * size / 2),
            (bx + uy * size / 2, by - ux * size / 2),
        ]
        points = " ".join(f"{number(x)},{number(y)}" for x, y in corners)
        self.parts.append(f'<polygon points="{points}" class="{kind + "-solid" if kind else "head"}"/>')

    def circle(self, x, y, radius, kind="plain"):
        self.parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{kind}"/>')

    def path(self, commands, kind=None, width=1.5):
        """An SVG path that is stroked, not filled."""
        self.parts.append(
            f'<path d="{commands}" class="{kind + "-line" if kind else "line"}" '
            f'stroke-width="{number(width)}"/>'
        )

    def raw(self, svg):
        self.parts.append(svg)

    def save(self, name):
        folder = Path(os.environ.get("PICTOR_FIGURES", FOLDER))
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(self.width)} '
            f'{number(self.height)}" '
            f'width="{number(self.width)}" height="{number(self.height)}" role="img" '
            f'aria-labelledby="title description">\n'
            f'<title id="title">{escape(self.title)}</title>\n<desc '
            f'id="description">{escape(self.description)}</desc>\n'
            f'<style>{style()}</style>\n<rect width="100%" height="100%" rx="8" class="paper"/>\n'
        )
        (folder / f"{name}.svg").write_text(text + "\n".join(self.parts) + "\n</svg>\n")


def run(name):
    """A trace that the book follows."""
    sys.path.insert(0, str(ROOT / "chapters" / "weave"))
    from traces import BookTrace

    return BookTrace(name)


def weights():
    """The shipped model's weights by hub name."""
    sys.path.insert(0, str(ROOT / "chapters" / "weave"))
    from namespace import Weights

    return Weights()
