"""Commands that show: tensor, heat, where-am-i; and the pretty printers."""

import os
import re
import sys

import gdb

from pictor_debugger.common import heat, objects, text
from pictor_debugger.common.layout import Numbers, Unreadable
from pictor_debugger.common.place import over_image
from pictor_debugger.gdb.node import GdbNode, entry_size, read
from pictor_debugger.gdb.place import GdbFrame, place

INDEXED = re.compile(r"^(.*?)\[([^\[\]]*)\]$", re.S)


def evaluate(expression):
    """gdb's value of an expression; Unreadable with advice where it has none."""
    try:
        return gdb.parse_and_eval(expression)
    except gdb.MemoryError as error:
        raise Unreadable(f"{expression}: {error}") from None
    except gdb.error as error:
        raise Unreadable(f"{expression}: {advice(str(error))}") from None


def advice(error):
    """gdb's message and what to do about it."""
    if not has_frames():
        return error + " The program is not running: `stop-at cross_attention` starts it and goes there."
    if "No symbol table" in error or "no debug" in error.lower():
        return error + " Build it with `make debug` and load build/step/reference."
    if "No symbol" in error and without_variables():
        return error + " This is an optimised build without variables; `make debug` builds one with them."
    if "No symbol" in error:
        return error + " `info locals` lists the names in scope here, `up` goes to the caller's."
    if "syntax error" in error:
        return "this cannot be read as a name with indices: x, x[0, :8] and block.probs[row, :] can."
    if "Cannot convert" in error:
        return "an index is a whole number, or a variable that holds one."
    if "optimized out" in error:
        return error + ". This is an optimised build; `make debug` builds one in which nothing is."
    if "No frame" in error or "not being run" in error:
        return error + " Start it first: `stop-at cross_attention`."
    return error


def without_variables():
    """Whether the function where the program stands was compiled without its variables."""
    try:
        block = gdb.selected_frame().block()
        return block.function is not None and not any(True for _ in block)
    except (gdb.error, RuntimeError):
        return False


def integer(expression):
    try:
        return int(evaluate(expression))
    except (gdb.error, TypeError, ValueError, OverflowError):
        raise Unreadable(f"{expression}: an index is a whole number, or a variable that holds one") from None


def numbers_of(expression):
    value = evaluate(expression)
    if value.is_optimized_out:
        raise Unreadable(f"{expression}: {advice('it is optimized out')}")
    node = GdbNode(value)
    try:
        return objects.numbers_of(node, read, expression)
    except gdb.error as error:
        raise Unreadable(advice(str(error))) from None


def find(expression):
    """(name, numbers, index text or None) of what a command was given."""
    match = INDEXED.match(expression)
    if match and match.group(1).strip():
        try:
            return match.group(1).strip(), numbers_of(match.group(1).strip()), match.group(2)
        except Unreadable as first:
            try:
                return expression, numbers_of(expression), None  # an element of a vector, say
            except Unreadable:
                pointer = floats_behind_pointer(match.group(1).strip(), match.group(2))
                if pointer:
                    return pointer
                raise first from None
    return expression, numbers_of(expression), None


def floats_behind_pointer(expression, index):
    """row[0:16] of a float pointer, whose length only the reader knows."""
    value = evaluate(expression)
    type_ = value.type.strip_typedefs()
    if type_.code != gdb.TYPE_CODE_PTR or type_.target().strip_typedefs().unqualified().name != "float":
        return None
    end = index.split(":")[-1]
    if "," in index or not end.strip():
        raise Unreadable(f"{expression} is a pointer: say how many numbers, {expression}[:16]")
    count = integer(end) + (":" not in index)
    return expression, Numbers.at(read, int(value), [count], "f32"), index


def colour_wanted():
    """Colour on a terminal that has it; `set pictor-colour on` or off decides otherwise."""
    wish = str(gdb.parameter("pictor-colour"))
    if wish != "auto":
        return wish == "on"
    return sys.__stdout__.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def say(lines):
    gdb.write("\n".join(lines) + "\n")


class PictorCommand(gdb.Command):
    """A command whose mistakes end in a sentence, not in a traceback."""

    def __init__(self, name):
        super().__init__(name, gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        try:
            self.run(argument.strip())
        except (Unreadable, ValueError) as error:
            raise gdb.GdbError(str(error)) from None
        except gdb.error as error:
            raise gdb.GdbError(advice(str(error))) from None


class TensorCommand(PictorCommand):
    """Print a tensor, a part of it, or one number.
    tensor x               shape, least, greatest, mean, and the first rows
    tensor x[0, 3, :8]     a part: an index or first:end for each axis; variables may stand for numbers
    tensor --all x         every number
    Works on Tensor, TensorView, Matrix (bfloat16 as numbers), keys and values, masks, vectors, float* p[:16].
    A list of token ids is printed with the words."""

    def run(self, argument):
        everything = argument.startswith("--all ")
        argument = argument[6:].strip() if everything else argument
        if not argument:
            raise ValueError("tensor: name a tensor; `info locals` lists what there is here")
        name, numbers, index = find(argument)
        if numbers.dtype == "i64" and len(numbers.shape) == 1 and re.search(r"ids|generated", name):
            say(id_lines(name, numbers, everything))
            return
        say(text.tensor_lines(name, numbers, index, integer, everything))


def id_lines(name, numbers, everything):
    here = place()
    count = numbers.size if everything else min(numbers.size, text.MOST_LINES - 2)
    lines = [f"{name}  {numbers.size} token ids"]
    lines += [
        f"  [{i}]".ljust(8) + f"{token:>8} {here.word(token)}"
        for i, token in enumerate(numbers.fetch(0, count))
    ]
    if count < numbers.size:
        lines.append(f"  ... {numbers.size - count} more; `tensor --all {name}` shows them")
    return lines


class HeatCommand(PictorCommand):
    """Draw a heatmap in the terminal.
    heat x             the last two axes of a tensor, or its only one as a row
    heat x[0, :, :]    a part
    heat probs 7       in cross-attention: row 7 of a block, laid over the image as its tiles lie.
                       Without a number, `heat probs row`: the row of the token where the program stands.
    Colour where the terminal has it; `set pictor-colour off` draws with characters. Light is much."""

    def run(self, argument):
        if not argument:
            raise ValueError("heat: name a tensor; `info locals` lists what there is here")
        match = re.match(r"^(\S+)\s+(\S+)$", argument)
        if match:
            self.lay_over_image(*match.groups())
            return
        _, numbers, index = find(argument)
        piece = text.Slice(index or "", numbers.shape, integer)
        rows = (
            [
                numbers.row(leading, piece.ranges[-1].start, len(piece.ranges[-1]))
                for leading in text.index_rows(piece.ranges[:-1])
            ]
            if index
            else heat.as_rows(numbers)
        )
        axes = " [" + ", ".join(numbers.axes) + "]" if numbers.axes else ""
        if not index and len(numbers.shape) > 2:
            axes += "  at [" + "0, " * (len(numbers.shape) - 2) + ":, :]"
        say(
            [f"{argument}{axes}  {len(rows)} x {len(rows[0]) if rows else 0}"]
            + heat.draw(rows, colour_wanted())
        )

    @staticmethod
    def lay_over_image(name, which):
        try:
            numbers = numbers_of(name)
        except Unreadable:
            if name not in ("scores", "masked_scores", "probs"):
                raise
            name = "block." + name
            numbers = numbers_of(name)
        if len(numbers.shape) != 2:
            raise Unreadable(f"heat: {name} has {len(numbers.shape)} axes; a row over the image needs two")
        row = integer(which)
        if not 0 <= row < numbers.shape[0]:
            raise Unreadable(f"heat: row {row} is outside 0 ... {numbers.shape[0] - 1}")
        say(over_image(name, numbers, row, place(), colour_wanted()))


class WhereCommand(PictorCommand):
    """Say where the program stands: image or text, layer, head, token and its word, step, chapter."""

    def run(self, argument):
        if not gdb.selected_inferior().pid and not has_frames():
            raise ValueError(
                "the program is not running; `stop-at cross_attention` starts it and goes there"
            )
        frame = gdb.selected_frame()
        say(place(frame).summary(GdbFrame(frame)))


def has_frames():
    try:
        gdb.selected_frame()
        return True
    except gdb.error:
        return False


class Printer:
    def __init__(self, node, name=""):
        self.node, self.name = node, name

    def to_string(self):
        word_of = place().word if self.name else None
        return objects.summary(self.node, read, word_of, self.name, entry_size("KeysAndValues"))


class Said:
    """A printer that says one sentence."""

    def __init__(self, text):
        self.text = text

    def to_string(self):
        return self.text


def name_in_frame(node):
    """Which list of token ids of the selected frame this is; a printer is not told what is printed."""
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        return ""
    for name in ("token_ids", "generated"):
        other = GdbFrame(frame).node(name)
        if other is not None and other.address == node.address:
            return name
    inputs = GdbFrame(frame).node("inputs")
    if inputs is not None and inputs.type_name == "GenerateInputs":
        return "token_ids" if inputs.field("token_ids").address == node.address else ""
    return ""


def lookup(value):
    try:
        if value.type.strip_typedefs().code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_REF):
            return None
        node = GdbNode(value)
        if node.value.type.strip_typedefs().code != gdb.TYPE_CODE_STRUCT:
            return None
        item = objects.item_type(node.type_name)
        if item and objects.broken_vector(node, read):
            return Said(objects.broken_vector(node, read))
        if item in ("long", "long long") and name_in_frame(node):
            return Printer(node, name_in_frame(node))
        if node.type_name == "GenerateInputs":
            return Printer(node, "token_ids")
        if item or not objects.is_known(node.type_name):
            return None
        return Printer(node)
    except (gdb.error, RuntimeError):
        return None


class At(gdb.Function):
    """$at(x, i, j, k): one number of a tensor, for use in expressions."""

    def __init__(self):
        super().__init__("at")

    def invoke(self, value, *indices):
        try:
            numbers = objects.numbers_of(GdbNode(value), read)
            piece = text.Slice(",".join(str(int(i)) for i in indices), numbers.shape, int)
            if any(len(r) != 1 for r in piece.ranges):
                raise Unreadable(f"$at needs {len(numbers.shape)} indices here")
            return numbers.row([r.start for r in piece.ranges[:-1]], piece.ranges[-1].start, 1)[0]
        except Unreadable as error:
            raise gdb.GdbError(str(error)) from None


def come_first(event=None):
    """libstdc++ has printers of its own for lists; a list of token ids is printed with its words."""
    for objfile in gdb.objfiles():
        if objfile.pretty_printers and lookup not in objfile.pretty_printers:
            objfile.pretty_printers.insert(0, lookup)


def register():
    gdb.events.stop.connect(come_first)
    At()
    lookup.__name__ = "pictor"
    gdb.pretty_printers.insert(0, lookup)
    TensorCommand("tensor")
    HeatCommand("heat")
    WhereCommand("where-am-i")
