"""Draws the log of a training run: losses, what the patches tell, and held-out scores, over the minutes.

    python plot_log.py build/model/log.jsonl training.svg

Needs only Python.
"""
import argparse
import json
import math
import pathlib

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 190, 70, 150, 40, 55
COLOURS = ["#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#475569"]


class Panel:
    """One graph: x in minutes; y from lowest to highest, linear or logarithmic."""

    def __init__(self, title, top, minutes, ticks, logarithmic=False):
        self.title, self.top, self.minutes = title, top, minutes
        self.ticks, self.logarithmic = ticks, logarithmic
        self.parts = []

    def x(self, minute):
        return LEFT + (WIDTH - LEFT - RIGHT) * minute / self.minutes

    def y(self, value):
        low, high = self.ticks[0], self.ticks[-1]
        value = min(high, max(low, value))
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.top + PANEL * (high - value) / (high - low)

    def text(self, x, y, words, anchor="start", colour="#334155", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
                          f'font-weight="{weight}">{words}</text>')

    def axes(self, stages):
        self.text(LEFT, self.top - 10, self.title, weight="bold", colour="#0f172a")
        for tick in self.ticks:
            y = self.y(tick)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e2e8f0"/>')
            self.text(LEFT - 8, y + 4, f"{tick:g}", "end")
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if self.minutes / step <= 11)
        for minute in range(0, int(self.minutes) + 1, step):
            self.text(self.x(minute), self.top + PANEL + 16, f"{minute}", "middle")
        for minute, _ in stages:
            x = self.x(minute)
            self.parts.append(f'<path d="M{x:.1f} {self.top}V{self.top + PANEL}" stroke="#94a3b8" '
                              'stroke-dasharray="3 3"/>')

    def line(self, points, name, index, ends):
        """A line with its name at its right end, moved down where another name is already."""
        if not points:
            return
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{self.x(minute):.1f},{self.y(value):.1f}" for minute, value in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        y = self.y(points[-1][1]) + 4
        while any(abs(y - other) < 13 for other in ends):
            y += 1
        ends.append(y)
        value = f"{points[-1][1]:.3f}"
        self.text(WIDTH - RIGHT + 8, y, f"{name} {value}", colour=colour)


def series(entries, name):
    return [(entry["seconds"] / 60, entry[name]) for entry in entries if name in entry]


def held_out_series(entries, kinds):
    """-> share right of these kinds of question together, at every measurement."""
    points = []
    for entry in entries:
        counts = [entry["held_out"][kind] for kind in kinds if kind in entry.get("held_out", {})]
        if counts:
            right, asked = (sum(numbers) for numbers in zip(*counts))
            points.append((entry["seconds"] / 60, right / asked))
    return points


def draw(entries):
    """-> the SVG of a log."""
    minutes = max(entry["seconds"] for entry in entries) / 60
    stages, seen = [], set()
    for entry in entries:
        if entry["stage"] not in seen:
            seen.add(entry["stage"])
            stages.append((entry["seconds"] / 60, entry["stage"]))
    names = ", ".join(f"{name} from minute {minute:.0f}" for minute, name in stages)
    panels = [
        ("Loss (logarithmic)", [.001, .01, .1, 1, 10], True,
         [("answers", series(entries, "loss")), ("patches", series(entries, "patches"))]),
        ("Share of patches on objects that are told right", [0, .25, .5, .75, 1], False,
         [(name, series(entries, name)) for name in ("kind", "colour", "place")]),
        ("Share of held-out answers that are right", [.5, .6, .7, .8, .9, 1], False,
         [(kind, held_out_series(entries, [kind])) for kind in ("all", "describe", "where", "what is at")])]
    body, top = [], TOP
    for title, ticks, logarithmic, lines in panels:
        panel, ends = Panel(title, top, minutes, ticks, logarithmic), []
        panel.axes(stages)
        for index, (name, points) in enumerate(lines):
            panel.line(points, name, index, ends)
        body += panel.parts
        top += PANEL + GAP
    body.append(f'<text x="{LEFT}" y="{top - 12}" fill="#334155">'
                f"minutes of training; dashed: stages ({names})</text>")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" '
            f'font-size="12"><title>Training of Pictor</title>'
            f'<rect width="{WIDTH}" height="{top}" fill="white"/>'
            + "\n".join(body) + "</svg>\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=pathlib.Path)
    parser.add_argument("svg", type=pathlib.Path)
    options = parser.parse_args()
    options.svg.write_text(draw([json.loads(line) for line in options.log.read_text().splitlines()]))
