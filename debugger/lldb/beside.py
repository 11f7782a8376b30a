"""CodeLLDB: the block of attention that is being filled, as a heatmap beside the code, row by row.

CodeLLDB has a `debugger` module with display_html(); whenever the program stops where a ScoreBlock is in
scope, the page is drawn again, so it grows as you step. page() makes it and needs no CodeLLDB: tests call it.
"""

import html
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if os.path.join(ROOT, "debugger") not in sys.path:
    sys.path.insert(0, os.path.join(ROOT, "debugger"))

from pictor_debugger.common import heat, objects
from pictor_debugger.common.layout import Unreadable
from pictor_debugger.lldb.adapter import LldbNode, place, read_from

CELL = 6  # pixels
MOST_CELLS = 20000


def svg(rows, row_now):
    """Rows of numbers as squares; the row that is being filled has a frame."""
    rows, _ = heat.shrink(rows) if len(rows) * len(rows[0]) > MOST_CELLS else (rows, "")
    levels, low, high = heat.shares(rows)
    width, height = len(rows[0]) * CELL, len(rows) * CELL
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">']
    parts.append(f"<title>from {low:.4g} (dark) to {high:.4g} (light)</title>")
    for y, row in enumerate(levels):
        for x, share in enumerate(row):
            if share is not None:
                colour = "#%02x%02x%02x" % heat.colour(share)
                parts.append(
                    f'<rect x="{x * CELL}" y="{y * CELL}" width="{CELL}" height="{CELL}" fill="{colour}"/>'
                )
    if row_now is not None and row_now < len(rows):
        parts.append(
            f'<rect x="0" y="{row_now * CELL}" width="{width}" height="{CELL}" fill="none"'
            ' stroke="#2b8cff"/>'
        )
    return "".join(parts) + "</svg>"


def page(frame):
    """The page about a frame; None where no block of attention is in scope."""
    block = frame.FindVariable("block")
    if not block.IsValid() or not LldbNode(block).type_name.endswith("ScoreBlock"):
        return None
    read, here, parts = read_from(frame.GetThread().GetProcess().GetTarget()), place(frame), []
    for name in ("scores", "masked_scores", "probs"):
        try:
            numbers = objects.numbers_of(LldbNode(block).field(name), read, name)
            drawn = svg(heat.as_rows(numbers), here.loop.get("row"))
            parts.append(f"<h3>{name} {numbers.shape}</h3>{drawn}")
        except Unreadable as error:
            parts.append(f"<h3>{name}</h3><p>{html.escape(str(error))}</p>")
    where = "<br>".join(html.escape(line) for line in here.describe())
    return f'<body style="font-family: sans-serif"><p>{where}</p>{"".join(parts)}</body>'


class Show:
    """What lldb calls whenever the program stops."""

    def __init__(self, target, _arguments, _internal):
        pass

    def handle_stop(self, context, _stream):
        drawn = page(context.GetFrame()) if context.GetFrame().IsValid() else None
        if drawn is not None:
            display(drawn)
        return True


def display(drawn):
    """Shows a page in CodeLLDB; elsewhere there is nothing to show it in."""
    try:
        import debugger as codelldb

        codelldb.display_html(drawn, title="Pictor: attention", position=2, reveal=True)
    except (ImportError, AttributeError):
        pass
