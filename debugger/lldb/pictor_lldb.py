"""lldb for Pictor: `command script import debugger/lldb/pictor_lldb.py`, in the repository's folder.

Summaries of tensors, matrices, caches, masks and weights, rows of a tensor as its children, and the commands
tensor, heat, where-am-i and stop-at, as in gdb.
"""

import os
import re
import shlex
import sys

import lldb

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if os.path.join(ROOT, "debugger") not in sys.path:
    sys.path.insert(0, os.path.join(ROOT, "debugger"))
sys.dont_write_bytecode = True

from pictor_debugger.common import heat, objects, steps, text
from pictor_debugger.common import place as common
from pictor_debugger.common.layout import Unreadable
from pictor_debugger.lldb.adapter import LldbFrame, LldbNode, place, read_from

DEMO = 'run --image models/pictor/pictures/demo.png --prompt "What is in this image?"'
TYPES = (
    r"^(const )?pictor::(.*::)?(Tensor|TensorView|Matrix|HeadRows|KeysAndValues|KvCache|CrossAttentionMask|"
)
TYPES += r"ScoreBlock|RopeAngles|VisionInputs|Sequence|[A-Za-z]*Weights)( &)?$"


def summary(value, _internal):
    """lldb's one line about an object."""
    read = read_from(value.GetTarget())
    entry = value.GetTarget().FindFirstType("pictor::KeysAndValues").GetByteSize() or 64
    return objects.summary(LldbNode(value), read, None, value.GetName() or "", entry)


class TensorRows:
    """A tensor's children: the numbers of a vector, else [0], [1], ... each an array of floats."""

    MOST = 256

    def __init__(self, value, _internal):
        self.value, self.numbers = value, None
        self.update()

    def update(self):
        try:
            self.numbers = objects.numbers_of(LldbNode(self.value), read_from(self.value.GetTarget()))
        except (Unreadable, AttributeError):
            self.numbers = None
        return False

    def num_children(self):
        return min(self.numbers.shape[0], self.MOST) if self.numbers and self.numbers.size else 0

    def has_children(self):
        return True

    def get_child_index(self, name):
        match = re.match(r"^\[(\d+)\]$", name)
        return int(match.group(1)) if match else -1

    def get_child_at_index(self, index):
        if not 0 <= index < self.num_children():
            return None
        width = self.numbers.strides()[0]
        number = self.value.GetTarget().GetBasicType(lldb.eBasicTypeFloat)
        type_ = number if len(self.numbers.shape) == 1 else number.GetArrayType(width)
        return self.value.CreateValueFromAddress(
            f"[{index}]", self.numbers.address_of(index * width), type_
        )


def selected_frame(debugger):
    process = debugger.GetSelectedTarget().GetProcess()
    frame = process.GetSelectedThread().GetSelectedFrame()
    if not process.IsValid() or not frame.IsValid():
        raise Unreadable("the program is not running; `stop-at cross_attention` starts it and goes there")
    return frame


def value_of(frame, expression):
    value = frame.GetValueForVariablePath(expression)
    if not value.IsValid() or not value.GetError().Success():
        value = frame.EvaluateExpression(expression)
    if not value.GetError().Success():
        found = re.search(r"use of undeclared identifier '(\w+)'", value.GetError().GetCString() or "")
        what = f"nothing is called {found.group(1)} here" if found else "cannot be evaluated here"
        raise Unreadable(
            f"{expression}: {what}; `frame variable` lists the names in scope, `up` goes to the caller. An"
            " optimised build has few of them: `make debug` builds one as written"
        )
    return value


def integer(frame, expression):
    if re.match(r"^-?\d+$", expression.strip()):
        return int(expression)
    value = value_of(frame, expression.strip())
    return value.GetValueAsSigned()


def find(frame, expression):
    """(name, numbers, index text or None) of what a command was given."""
    read = read_from(frame.GetThread().GetProcess().GetTarget())
    match = re.match(r"^(.*?)\[([^\[\]]*)\]$", expression, re.S)
    if match and match.group(1).strip():
        name = match.group(1).strip()
        try:
            return name, objects.numbers_of(LldbNode(value_of(frame, name)), read, name), match.group(2)
        except Unreadable:
            if ":" in match.group(2) or "," in match.group(2):
                raise
    return expression, objects.numbers_of(LldbNode(value_of(frame, expression)), read, expression), None


def in_colour():
    return sys.__stdout__.isatty() and "NO_COLOR" not in os.environ


def command(function):
    """A command whose mistakes end in a sentence."""

    def run(debugger, argument, result, _internal):
        try:
            for line in function(debugger, argument.strip()):
                result.AppendMessage(line)
        except (Unreadable, ValueError) as error:
            result.SetError(str(error))

    run.__doc__ = function.__doc__
    return run


@command
def tensor(debugger, argument):
    """tensor x, tensor x[0, 3, :8], tensor --all x: numbers of a tensor, matrix, cache or mask."""
    everything = argument.startswith("--all ")
    frame = selected_frame(debugger)
    name, numbers, index = find(frame, argument[6:].strip() if everything else argument)
    return text.tensor_lines(name, numbers, index, lambda part: integer(frame, part), everything)


@command
def heat_command(debugger, argument):
    """heat x: a heatmap; heat probs ROW: a row of cross-attention over the image."""
    frame = selected_frame(debugger)
    words = argument.split()
    if len(words) == 2 and "[" not in words[0]:
        name = "block." + words[0] if words[0] in ("scores", "masked_scores", "probs") else words[0]
        _, numbers, _ = find(frame, name)
        return common.over_image(name, numbers, integer(frame, words[1]), place(frame), in_colour())
    name, numbers, index = find(frame, argument)
    piece = text.Slice(index or "", numbers.shape, lambda part: integer(frame, part))
    rows = heat.as_rows(numbers)
    if index:
        last = piece.ranges[-1]
        rows = [numbers.row(at, last.start, len(last)) for at in text.index_rows(piece.ranges[:-1])]
    several = not index and len(numbers.shape) > 2
    first = "  at [" + "0, " * (len(numbers.shape) - 2) + ":, :]" if several else ""
    return [f"{argument}{first}  {len(rows)} x {len(rows[0]) if rows else 0}"] + heat.draw(rows, in_colour())


@command
def where_am_i(debugger, _argument):
    """where-am-i: image or text, layer, head, token and its word, step, chapter."""
    frame = selected_frame(debugger)
    return place(frame).summary(LldbFrame(frame))


class Stopper:
    """Lets the program run from breakpoint to breakpoint until the wished place."""

    def __init__(self, debugger, wish):
        self.debugger, self.search = debugger, common.Search(wish)
        self.target = debugger.GetSelectedTarget()
        if not self.target.IsValid():
            raise ValueError(
                "no program is loaded; `make debug` builds one, `target create build/step/reference`"
            )

    def frame(self):
        return self.target.GetProcess().GetSelectedThread().GetFrameAtIndex(0)

    def go(self):
        """Runs to the next stop. False when the program has ended."""
        process = self.target.GetProcess()
        if not process.IsValid() or process.GetState() in (lldb.eStateExited, lldb.eStateInvalid):
            error = lldb.SBError()
            process = self.target.Launch(self.target.GetLaunchInfo(), error)
            if not error.Success():
                raise ValueError(f"stop-at: the program cannot be started: {error.GetCString()}")
        else:
            process.Continue()
        if process.GetState() == lldb.eStateExited:
            return False
        for thread in process:
            if thread.GetStopReason() == lldb.eStopReasonBreakpoint:
                process.SetSelectedThread(thread)
        return True

    def stopped_at(self, breakpoint):
        thread = self.target.GetProcess().GetSelectedThread()
        ids = [thread.GetStopReasonDataAtIndex(i) for i in range(0, thread.GetStopReasonDataCount(), 2)]
        return breakpoint.GetID() in ids

    def inside(self, found, level=0):
        """From where the program stands in the frame of this level to the place in its function."""
        thread = self.target.GetProcess().GetSelectedThread()
        step, here = self.search.wish.step, place(thread.GetFrameAtIndex(level))
        if step.gate:
            row = self.search.condition(here, found, [name for name in step.rows if name != "key"])
            stands = thread.GetFrameAtIndex(level).EvaluateExpression(row) if row else None
            if stands is None or not stands.GetError().Success() or not stands.GetValueAsUnsigned():
                if not self.run_to(step.gate, row, level):
                    return False
                level = 0
        condition = self.search.condition(here, found, step.rows)
        return self.run_to(self.search.wish.pattern(), condition, level)

    def in_current_call(self):
        """Whether the wished call is running already, and its place is still ahead."""
        process = self.target.GetProcess()
        if process.GetState() != lldb.eStateStopped or self.search.wish.pattern() is None:
            return False
        self.search.from_start = False
        for level, frame in enumerate(process.GetSelectedThread()):
            if LldbFrame(frame).name == self.search.wish.step.function:
                found = self.search.matches(place(frame))
                if found is None:
                    return False
                self.search.check_extents(place(frame))
                return self.inside(found, level)
        return False

    def run_to(self, pattern, condition, level=0):
        """Runs to a line of that frame's function; False when it returns before."""
        thread = self.target.GetProcess().GetSelectedThread()
        standing = thread.GetFrameAtIndex(level)
        frame = LldbFrame(standing)
        lines, source = frame.function_lines(), common.source_text(frame.path)
        if pattern is None:
            at_brace = 0 < frame.number <= len(source) and source[frame.number - 1].strip() == "{"
            line = next((line for line in lines if line > frame.number), None) if at_brace else None
            if line is None:
                return True
        else:
            line = common.line_for(pattern, source, lines)
            if line is None:
                raise ValueError(f"{frame.name} has no line like {pattern!r} any more")
        there = self.target.BreakpointCreateByLocation(standing.GetLineEntry().GetFileSpec(), line)
        if condition:
            there.SetCondition(condition)
        caller = thread.GetFrameAtIndex(level + 1)
        left = self.target.BreakpointCreateByAddress(caller.GetPCAddress().GetLoadAddress(self.target))
        try:
            return self.go() and self.stopped_at(there)
        finally:
            self.target.BreakpointDelete(there.GetID())
            self.target.BreakpointDelete(left.GetID())

    def run(self):
        wish = self.search.wish
        entry = self.target.BreakpointCreateByName(wish.step.function)
        if entry.GetNumLocations() == 0:
            raise ValueError(
                "this program has no symbols that tell its steps apart; `make debug` builds one"
            )
        asynchronous = self.debugger.GetAsync()
        self.debugger.SetAsync(False)
        try:
            if self.in_current_call():
                return self.arrived()
            while self.go():
                if not self.stopped_at(entry):
                    return ["stopped before it, by something else"]
                frame = LldbFrame(self.frame())
                found = (
                    self.search.matches(place(self.frame())) if frame.name == wish.step.function else None
                )
                if found is None:
                    continue
                self.search.check_extents(place(self.frame()))
                if self.inside(found):
                    return self.arrived()
            # An editor that launched the program does not tell the target with which arguments.
            if self.search.start_again() and self.target.GetLaunchInfo().GetNumArguments():
                return self.run()
            raise ValueError(self.search.not_found())
        finally:
            self.debugger.SetAsync(asynchronous)
            self.target.BreakpointDelete(entry.GetID())

    def arrived(self):
        wish, frame = self.search.wish, LldbFrame(self.frame())
        lines = [f"{wish.name} at {wish.place or wish.step.places[0][0]}"]
        lines += ["  " + line for line in place(self.frame()).describe()]
        return lines + common.excerpt(common.source_text(frame.path), frame.number)


@command
def stop_at(debugger, argument):
    """stop-at STEP [layer N] [global] [head N] [token "WORD"] [step N] [at PLACE]; alone lists the steps."""
    if not argument:
        return steps.listed()
    return Stopper(debugger, steps.Wish(shlex.split(argument))).run()


def __lldb_init_module(debugger, _internal):
    module = __name__
    debugger.HandleCommand(f'type summary add -w pictor -x "{TYPES}" -F {module}.summary')
    tensors = r"^(const )?pictor::(Tensor|TensorView|HeadRows)( &)?$"
    debugger.HandleCommand(f'type synthetic add -w pictor -x "{tensors}" -l {module}.TensorRows')
    debugger.HandleCommand("type category enable pictor")
    for name, function in (
        ("tensor", "tensor"),
        ("heat", "heat_command"),
        ("where-am-i", "where_am_i"),
        ("stop-at", "stop_at"),
    ):
        debugger.HandleCommand(f"command script add -f {module}.{function} {name}")
    program = os.path.join(ROOT, "build", "step", "reference")
    in_codelldb = "debugger" in sys.modules  # there launch.json names the program
    if debugger.GetNumTargets() == 0 and os.path.exists(program) and not in_codelldb:
        debugger.HandleCommand(f'target create "{program}"')
        info = lldb.SBLaunchInfo(shlex.split(DEMO))
        info.SetWorkingDirectory(ROOT)
        debugger.GetSelectedTarget().SetLaunchInfo(info)
