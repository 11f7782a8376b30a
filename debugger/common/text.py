"""Numbers as text: one line about a tensor, its corner, a slice of it, in at most so many lines."""

import math

from pictor_debugger.common.layout import DType, Unreadable, shape_text

MOST_LINES = 40
READ_AT_MOST = 1 << 20  # numbers that statistics look at
PER_LINE = 8


def number(value):
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value <= -3.4028234e38:
        return "lowest"  # what masks put in the place of a score
    return f"{value:.6g}"


def statistics(numbers):
    """ "min .. max .. mean .." over all numbers, or over the first of very many; what is not finite is
    counted, and so are the lowest floats with which masks are made."""
    count = min(numbers.size, READ_AT_MOST)
    if count == 0:
        return "empty"
    values = numbers.fetch(0, count)
    finite = [v for v in values if v - v == 0 and v > -3.4028234e38]
    text = ""
    if finite:
        text = (
            f"min {number(min(finite))}  max {number(max(finite))}  mean"
            f" {number(sum(finite) / len(finite))}"
        )
    lowest = sum(1 for v in values if v <= -3.4028234e38 and not math.isinf(v))
    odd = len(values) - len(finite) - lowest
    text += f"  masked {lowest}" if lowest else ""
    text += f"  NaN or infinite {odd}" if odd else ""
    if count < numbers.size:
        text += f"  (of the first {count} numbers)"
    return text.strip()


def corner(numbers, most=3):
    """The first numbers of the first rows, nested as the axes are."""

    def inner(indices):
        axis = len(indices)
        extent = numbers.shape[axis]
        more = ", ..." if extent > most else ""
        if axis == len(numbers.shape) - 1:
            row = numbers.row(indices, 0, min(extent, most))
            return "{" + ", ".join(number(v) for v in row) + more + "}"
        shown = min(extent, most if axis >= len(numbers.shape) - 2 else 1)
        more = ", ..." if extent > shown else ""
        return "{" + ", ".join(inner(indices + [i]) for i in range(shown)) + more + "}"

    return inner([]) if numbers.size else "{}"


def brief(numbers, what="Tensor"):
    """One line: what `print` and the variables' window show."""
    if numbers.size == 0:
        return f"{what} {shape_text(numbers.shape)}, empty" if numbers.shape != [0] else f"{what}, empty"
    dtype = "" if numbers.dtype == "f32" else " " + DType.NAMES[numbers.dtype]
    return f"{what} {shape_text(numbers.shape)}{dtype}  {statistics(numbers)}  {corner(numbers)}"


class Slice:
    """Which numbers of each axis: an index, or first and end."""

    def __init__(self, text, shape, evaluate):
        self.text = text
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        if len(parts) > len(shape):
            raise Unreadable(f"[{text}] has {len(parts)} indices, but the shape is {shape_text(shape)}")
        self.ranges, self.kept = [], []
        for axis, extent in enumerate(shape):
            part = parts[axis] if axis < len(parts) else ":"
            self.ranges.append(self._range(part, extent, axis, evaluate))
            if ":" in part:
                self.kept.append(axis)

    @staticmethod
    def _range(part, extent, axis, evaluate):
        def value(text, otherwise):
            if not text.strip():
                return otherwise
            index = evaluate(text)
            return index + extent if index < 0 else index

        if ":" in part:
            first, end = part.split(":", 1)
            first, end = value(first, 0), min(value(end, extent), extent)
            if not 0 <= first <= end:
                raise Unreadable(f"axis {axis}: {part} is no part of 0 ... {extent}")
            return range(first, end)
        index = value(part, 0)
        if not 0 <= index < extent:
            raise Unreadable(f"axis {axis}: index {index} is outside 0 ... {extent - 1}")
        return range(index, index + 1)


def index_rows(ranges):
    """Every combination of the leading axes' indices, in order."""
    if not ranges:
        yield []
        return
    for index in ranges[0]:
        for rest in index_rows(ranges[1:]):
            yield [index] + rest


def shown_rows(numbers, piece, most_lines=MOST_LINES):
    """Lines of a slice, each number in its column; a note where lines are left out."""
    lines, left_out = [], 0
    last = piece.ranges[-1]
    per_row = max(1, -(-len(last) // PER_LINE))
    for leading in index_rows(piece.ranges[:-1]):
        if len(lines) + min(per_row, 2) > most_lines:
            left_out += 1
            if left_out > 1000000:
                break
            continue
        budget = min(len(last), (most_lines - len(lines)) * PER_LINE)
        values = numbers.row(leading, last.start, budget)
        for at in range(0, budget, PER_LINE):
            place = ", ".join([str(i) for i in leading] + [str(last.start + at)])
            lines.append(
                f"  [{place}]".ljust(16) + "".join(f" {number(v):>12}" for v in values[at : at + PER_LINE])
            )
        left_out += len(last) > budget
    if left_out:
        lines.append("  ... more rows; `tensor --all ...` shows them, or name fewer: tensor x[0, :8]")
    return lines


def tensor_lines(name, numbers, index_text, evaluate, everything=False):
    """What the command `tensor` prints."""
    axes = " [" + ", ".join(numbers.axes) + "]" if numbers.axes else ""
    head = f"{name}{axes}  shape {shape_text(numbers.shape)}  {DType.NAMES[numbers.dtype]}"
    if numbers.size == 0:
        return [head + ", empty"]
    piece = Slice(index_text or "", numbers.shape, evaluate)
    if index_text is None:
        head += "  " + statistics(numbers)
        if not everything and numbers.size > 64:
            shape = numbers.shape
            trimmed = ["0"] * max(0, len(shape) - 2) + ["0:4"] * (len(shape) > 1) + ["0:8"]
            piece = Slice(",".join(trimmed), shape, int)
    elif all(len(r) == 1 for r in piece.ranges):
        value = numbers.row([r.start for r in piece.ranges[:-1]], piece.ranges[-1].start, 1)[0]
        return [f"{name}[{', '.join(str(r.start) for r in piece.ranges)}] = {number(value)}"]
    lines = [head] + shown_rows(numbers, piece, 10**9 if everything else MOST_LINES - 2)
    return lines
