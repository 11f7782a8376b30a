"""Curves in a Drawing: two axes, each plain or logarithmic, that turn numbers into places.

axes = Axes(d, (70, 20, 540, 260), (0, 9), (0.1, 10), log_y=True)
axes.frame("layer", "size", [(0, "0"), (9, "9")], [(0.1, "0.1"), (10, "10")])
axes.curve(xs, ys, "blue")
"""

from math import log10


class Axes:
    def __init__(self, drawing, place, x_range, y_range, log_y=False):
        self.drawing, self.log_y = drawing, log_y
        self.left, self.top, self.width, self.height = place
        self.name_x = self.left - 48  # of the vertical axis
        self.x_range, self.y_range = x_range, tuple(self.scaled(y) for y in y_range)

    def scaled(self, y):
        return log10(y) if self.log_y else y

    def x(self, value):
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value):
        low, high = self.y_range
        return self.top + self.height * (1 - (self.scaled(value) - low) / (high - low))

    def frame(self, x_name, y_name, x_marks, y_marks):
        d, bottom = self.drawing, self.top + self.height
        d.line(self.left, bottom, self.left + self.width, bottom)
        d.line(self.left, self.top, self.left, bottom)
        for value, name in x_marks:
            d.line(self.x(value), bottom, self.x(value), bottom + 5)
            d.text(self.x(value), bottom + 20, name, 12, "middle", "quiet")
        for value, name in y_marks:
            d.line(self.left - 5, self.y(value), self.left, self.y(value))
            d.text(self.left - 9, self.y(value) + 4, name, 12, "end", "quiet")
        d.text(self.left + self.width / 2, bottom + 40, x_name, 13, "middle")
        d.text(self.name_x, self.top + self.height / 2, y_name, 13, "middle", turn=-90)

    def curve(self, xs, ys, kind, width=2):
        points = [f"{self.x(x):.2f},{self.y(y):.2f}" for x, y in zip(xs, ys)]
        self.drawing.path("M" + " L".join(points), kind, width)

    def dots(self, xs, ys, kind, radius=4):
        for x, y in zip(xs, ys):
            self.drawing.circle(self.x(x), self.y(y), radius, kind)
