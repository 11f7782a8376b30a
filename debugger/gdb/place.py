"""gdb's frames as common/place.py walks them."""

import shlex

import gdb

from pictor_debugger.common import place as common
from pictor_debugger.gdb.node import GdbNode, read

ROOT = common.ROOT


class GdbFrame:
    def __init__(self, frame):
        self.frame = frame
        self.name = common.short_name(frame.name())

    def node(self, variable):
        """A variable in scope where the frame stands; no function: the C library has an `index`."""
        try:
            symbol = gdb.lookup_symbol(variable, self.frame.block())[0]
            if symbol is None or not symbol.needs_frame:
                return None
            value = symbol.value(self.frame)
            return None if value.is_optimized_out else GdbNode(value)
        except (ValueError, TypeError, RuntimeError, gdb.error):
            return None

    @property
    def file(self):
        symtab = self.frame.find_sal().symtab
        return common.in_repository(symtab.filename) if symtab else ""

    @property
    def line(self):
        sal = self.frame.find_sal()
        text = common.source_text(sal.symtab.fullname()) if sal.symtab else []
        return text[sal.line - 1].strip() if 0 < sal.line <= len(text) else ""


def frames(start=None):
    frame = start or gdb.selected_frame()
    while frame is not None:
        yield GdbFrame(frame)
        frame = frame.older() if frame.is_valid() else None


def arguments():
    try:
        return shlex.split(str(gdb.parameter("args") or ""))
    except ValueError:
        return []


def place(start=None):
    return common.Place(frames(start), read, arguments())
