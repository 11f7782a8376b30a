"""stop-at: go to a step's loop by name, at this layer, head, token."""

import shlex

import gdb

from pictor_debugger.common import place as common
from pictor_debugger.common import steps
from pictor_debugger.gdb.place import GdbFrame, place
from pictor_debugger.gdb.show import PictorCommand, say


def decode(name):
    try:
        return gdb.decode_line(name)[1] or ()
    except gdb.error:
        return ()


def require_symbols():
    if not gdb.objfiles():
        raise ValueError(
            "no program is loaded; `make debug` builds one, `file build/step/reference` loads it"
        )
    where = decode("pictor::text_decoder")
    if not where or where[0].symtab is None:
        raise ValueError(
            "this program has no symbols that tell its steps apart; `make debug` builds one that has, "
            "and `file build/step/reference` loads it"
        )
    if not any(symbol.is_variable for symbol in symbols_of(where[0].pc)):
        raise ValueError(
            "this program is optimised: loops and their variables are gone; `make debug` builds one as "
            "written, and `file build/step/reference` loads it"
        )


def symbols_of(pc):
    """All variables of the function at this address, those of its inner blocks too."""
    function = gdb.block_for_pc(pc)
    while function is not None and function.function is None:
        function = function.superblock
    if function is None:
        return
    for item in function.function.symtab.linetable():
        block = gdb.block_for_pc(item.pc) if function.start <= item.pc < function.end else None
        while block is not None and block.function is None:
            yield from block
            block = block.superblock


class Entry(gdb.Breakpoint):
    """Entry of a step's function: stops where the wish for layer, step and token can come true."""

    def __init__(self, search):
        function = search.wish.step.function
        super().__init__(
            "pictor::" + function if decode("pictor::" + function) else function, internal=True
        )
        self.silent = True
        self.search, self.found, self.failure = search, None, None

    def stop(self):
        try:
            frame = gdb.newest_frame()
            if GdbFrame(frame).name != self.search.wish.step.function:
                return False
            self.found = self.search.matches(place(frame))
            return self.found is not None
        except Exception as error:  # an exception here would let the program run on unnoticed
            self.failure = error
            return True


class Run:
    """Lets the program run until a breakpoint of ours, another's, or its end."""

    def __init__(self):
        self.ended, self.event = None, None

    def __call__(self):
        self.ended, self.event = None, None
        gdb.events.stop.connect(self._stopped)
        gdb.events.exited.connect(self._exited)
        try:
            gdb.execute("continue" if gdb.selected_inferior().pid else "run", to_string=True)
        finally:
            gdb.events.stop.disconnect(self._stopped)
            gdb.events.exited.disconnect(self._exited)

    def _stopped(self, event):
        self.event = event

    def _exited(self, event):
        self.ended = getattr(event, "exit_code", -1)

    def hit(self, breakpoint):
        return isinstance(self.event, gdb.BreakpointEvent) and breakpoint in self.event.breakpoints


def function_lines(frame):
    """(symtab, numbers of the lines of the frame's function that have code)."""
    block = frame.block()
    while block.function is None:
        block = block.superblock
    symtab = block.function.symtab
    return symtab, sorted(
        {item.line for item in symtab.linetable() if block.start <= item.pc < block.end and item.line > 0}
    )


def place_in_function(frame, pattern):
    symtab, lines = function_lines(frame)
    text = common.source_text(symtab.fullname())
    if not text:
        raise ValueError(
            f"the source {symtab.filename} is not found; start gdb in the repository's folder, or say "
            "`directory FOLDER`"
        )
    if pattern is None:  # the beginning: gdb may stand at the brace, where arguments are not in place yet
        here = frame.find_sal().line
        return symtab, next((line for line in lines if line > here), here) if at_brace(text, here) else None
    line = common.line_for(pattern, text, lines)
    if line is None:
        raise ValueError(
            f"{GdbFrame(frame).name} has no line like {pattern!r} any more: debugger/common/steps.py "
            "names the places"
        )
    return symtab, line


def at_brace(text, line):
    return 0 < line <= len(text) and text[line - 1].strip() == "{"


def first_statements(function):
    """ "FILE:LINE" of the first statement of each function of this name, arguments in place."""
    specs = []
    for where in decode(function):
        block = gdb.block_for_pc(where.pc)
        lines = sorted(
            {
                item.line
                for item in where.symtab.linetable()
                if block.start <= item.pc < block.end and item.line
            }
        )
        after = [line for line in lines if line > where.line]
        brace = at_brace(common.source_text(where.symtab.fullname()), where.line)
        specs.append(f"{where.symtab.filename}:{after[0] if brace and after else where.line}")
    return specs


class Inside(gdb.Breakpoint):
    """A line inside a step's function, in one call of it."""

    def __init__(self, symtab, line, wanted):
        super().__init__(source=symtab.filename, line=line, internal=True)
        self.silent = True
        if wanted:
            self.condition = wanted


def go_inside(search, frame, found):
    """From the entry of the function to the place in it. False when this call never comes there."""
    step, here = search.wish.step, place(frame)
    if step.gate:
        row = search.condition(here, found, [name for name in step.rows if name != "key"])
        if not holds(row) and not run_to(frame, step.gate, row):
            return False
    return run_to(frame, search.wish.pattern(), search.condition(here, found, step.rows))


def holds(condition):
    """Whether the program stands in the wished row already."""
    try:
        return bool(condition) and bool(gdb.parse_and_eval(condition))
    except gdb.error:
        return False


def run_to(frame, pattern, condition):
    """Runs to a line of the frame's function, in this call of it; False when it returns before."""
    symtab, line = place_in_function(frame, pattern)
    if line is None:
        return True
    inside = Inside(symtab, line, condition)
    finish = gdb.FinishBreakpoint(frame, internal=True)
    finish.silent = True
    run = Run()
    try:
        run()
        return run.hit(inside)
    finally:
        inside.delete()
        if finish.is_valid():
            finish.delete()


class StopCommand(PictorCommand):
    """Go to the loop of a step, by name.
    stop-at STEP [layer N] [global] [head N] [token "WORD" or N] [step N] [at PLACE]
    For example
      stop-at cross_attention layer 8 head 2 token "fish"
      stop-at self_attention layer 0 head 0 token 5 at softmax
      stop-at vision_attention layer 3 head 1 tile 0 patch 20
      stop-at vision_mlp global layer 1
    `token "fish"`: the row of the token with this word, in the prompt or as soon as the answer has it.
    `at PLACE`: how far into the step, say scores, masked_scores, softmax or context of an attention.
    `stop-at` alone lists steps and places. Starts the program when it is not running, and starts it again
    when the place lies behind."""

    def run(self, argument):
        if not argument:
            say(steps.listed())
            return
        wish = steps.Wish(shlex.split(argument))
        require_symbols()
        search = common.Search(wish)
        search.from_start = not gdb.selected_inferior().pid
        if not self.in_current_call(search) and not self.search(search):
            return
        arrived(wish)

    @staticmethod
    def in_current_call(search):
        """Whether the wished call is running already, and its place is still ahead."""
        if not gdb.selected_inferior().pid or search.wish.pattern() is None:
            return False
        frame = gdb.newest_frame()
        while frame is not None and GdbFrame(frame).name != search.wish.step.function:
            frame = frame.older()
        if frame is None:
            return False
        found = search.matches(place(frame))
        if found is not None:
            search.check_extents(place(frame))
        return found is not None and go_inside(search, frame, found)

    @staticmethod
    def search(search):
        entry, run = Entry(search), Run()
        try:
            while True:
                run()
                if entry.failure:
                    raise ValueError(f"stop-at: {entry.failure}")
                if run.ended is not None:
                    if search.start_again():
                        say(["It did not come again after where the program stood: the run starts anew."])
                        continue
                    raise ValueError(search.not_found())
                if not run.hit(entry):
                    say(["stopped before it, by something else:"])
                    gdb.execute("frame")
                    return False
                search.check_extents(place(gdb.newest_frame()))
                if go_inside(search, gdb.newest_frame(), entry.found):
                    return True
                if not gdb.selected_inferior().pid and not search.start_again():
                    raise ValueError(search.not_found())
        finally:
            entry.delete()


def arrived(wish):
    frame = gdb.newest_frame()
    frame.select()
    sal = frame.find_sal()
    text = common.source_text(sal.symtab.fullname()) if sal.symtab else []
    say(
        ["", f"{wish.name} at {wish.place or wish.step.places[0][0]}"]
        + ["  " + line for line in place(frame).describe()]
        + common.excerpt(text, sal.line)
    )


def register():
    StopCommand("stop-at")
