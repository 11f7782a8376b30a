"""Chapter 8: which source pixels count when a picture shrinks."""

from draw import Drawing

RATIO, N, SIDE, TOP = 3.571, 11, 50, 204
d = Drawing(
    "With antialiasing every source pixel counts",
    "A row of eleven source pixels that shrinks by 3.57. A wide triangle over the middle of one target "
    "pixel covers seven of "
    "them, each with a weight by its height. A narrow triangle of plain interpolation covers two and "
    "skips the others.",
    620,
    300,
)
middle = 36 + 5.5 * SIDE + 10
heights = []
for pixel in range(N):
    x = 36 + pixel * SIDE
    distance = abs(x + SIDE / 2 - middle) / SIDE
    weight = max(0.0, 1 - distance / RATIO)
    heights.append(weight)
    d.rect(x, TOP, SIDE, 34, "green" if weight else "plain")
    if weight:
        d.line(x + SIDE / 2, TOP, x + SIDE / 2, TOP - 150 * weight, "green", 2)
total = sum(heights)
for pixel, weight in enumerate(heights):
    if weight:
        d.text(36 + (pixel + 0.5) * SIDE, TOP + 22, f"{weight / total:.2f}", 13, "middle", "green")
d.path(f"M{middle - RATIO * SIDE} {TOP} L{middle} {TOP - 150} L{middle + RATIO * SIDE} {TOP}", "green", 2)
d.path(f"M{middle - SIDE} {TOP} L{middle} {TOP - 150} L{middle + SIDE} {TOP}", "red", 2)
d.text(36, 40, "antialiased: seven pixels count", 14, kind="green", bold=True)
d.text(330, 40, "plain: two count, five are skipped", 14, kind="red", bold=True)
d.text(middle, TOP + 58, "the middle of one target pixel", 13, "middle", "quiet")
d.arrow(middle, TOP + 46, middle, TOP + 36)
d.text(
    36, 284, "source pixels of one row, shrinking by 3.57; the numbers are their weights", 13, kind="quiet"
)
d.save("resize_triangle")
