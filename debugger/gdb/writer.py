"""who-wrote: which line gave this number its value.

Where gdb can go backwards (under rr, or after `record`), it does, to the write. Elsewhere the run is
repeated from its start with a hardware watchpoint on the number's address, to where it stands now: with one
thread and without randomised addresses the same things lie at the same places.
"""

import gdb

from pictor_debugger.common.layout import DType, Unreadable, decode
from pictor_debugger.common.place import source_text
from pictor_debugger.common.text import Slice, number
from pictor_debugger.gdb.node import read
from pictor_debugger.gdb.place import frames, place
from pictor_debugger.gdb.show import PictorCommand, find, integer, say
from pictor_debugger.gdb.stop import Run, require_symbols


def can_go_back():
    try:
        return "No record" not in gdb.execute("info record", to_string=True)
    except gdb.error:
        return False


def writer_lines(frame, behind=True):
    """Who stands here, the model's own frame first."""
    lines = []
    for each in frames(frame):
        if each.name and each.file.startswith("reference/"):
            text = line_before(frame) if behind and not lines and each.frame == frame else each.line
            lines.append(f"  {each.file}, {each.name}:  {text}")
        if len(lines) == 3:
            break
    return lines


def line_before(frame):
    """The line of the instruction that was just executed: a watchpoint stops behind the write."""
    sal = gdb.find_pc_line(frame.pc() - 1)
    text = source_text(sal.symtab.fullname()) if sal.symtab else []
    return text[sal.line - 1].strip() if 0 < sal.line <= len(text) else ""


class Watch(gdb.Breakpoint):
    """Remembers the last change of a number, and never stops."""

    def __init__(self, address, dtype):
        kind = {"f32": "float", "i64": "long"}.get(dtype, "short")
        super().__init__(f"*({kind} *) {address:#x}", gdb.BP_WATCHPOINT, gdb.WP_WRITE, internal=True)
        self.silent = True
        self.count, self.lines, self.where = 0, [], []
        self.address, self.dtype, self.value = address, dtype, None

    def stop(self):
        try:
            frame = gdb.newest_frame()
            self.count += 1
            self.lines = writer_lines(frame)
            self.value = decode(read(self.address, DType.SIZES[self.dtype]), self.dtype)[0]
            self.where = place(frame).describe()
        except (gdb.error, Unreadable):
            self.lines = []
        return False


class Here(gdb.Breakpoint):
    """Where the program stood: this instruction, under the same layer, step, head and token."""

    def __init__(self, pc, fingerprint):
        super().__init__(f"*{pc:#x}", internal=True)
        self.silent = True
        self.fingerprint = fingerprint

    def stop(self):
        return fingerprint(gdb.newest_frame()) == self.fingerprint


def fingerprint(frame):
    here = place(frame)
    return (here.layer_kind, here.layer, here.step, tuple(sorted(here.loop.items())), tuple(here.functions))


class WhoCommand(PictorCommand):
    """Say which line wrote a number last.
    who-wrote x[1, 2]
    Goes back to the write under rr or after `record`; otherwise repeats the run with a watchpoint on the
    number, up to where the program stands, and says which write was the last that changed it."""

    def run(self, argument):
        if not argument:
            raise ValueError("who-wrote: name one number, such as `who-wrote query[token, head, 0]`")
        require_symbols()
        if not gdb.selected_inferior().pid:
            raise ValueError(
                "who-wrote: the program has to be running; `stop-at cross_attention` goes somewhere"
            )
        name, numbers, index = find(argument)
        if index is None:
            raise ValueError(f"who-wrote: say which number, {name}[0, 0]; its shape is {numbers.shape}")
        piece = Slice(index, numbers.shape, integer)
        if any(len(r) != 1 for r in piece.ranges) or numbers.address_of is None:
            raise ValueError(f"who-wrote: {argument} is not one number; its shape is {numbers.shape}")
        address = numbers.address_of(numbers.flat([r.start for r in piece.ranges]))
        value = numbers.fetch(numbers.flat([r.start for r in piece.ranges]), 1)[0]
        if can_go_back():
            self.go_back(argument, address, numbers.dtype, value)
        else:
            self.repeat(argument, address, numbers.dtype, value)

    @staticmethod
    def go_back(what, address, dtype, value):
        kind = {"f32": "float", "i64": "long"}.get(dtype, "short")
        # gdb's own recording does not notice a hardware watchpoint on the way back.
        in_hardware = "record-full" not in gdb.execute("info record", to_string=True)
        gdb.execute(f"set can-use-hw-watchpoints {int(in_hardware)}")
        before = set(gdb.breakpoints())
        gdb.execute(f"watch *({kind} *) {address:#x}", to_string=True)
        try:
            gdb.execute("reverse-continue", to_string=True)
        finally:
            for watch in set(gdb.breakpoints()) - before:
                watch.delete()
            gdb.execute("set can-use-hw-watchpoints 1")
        frame = gdb.newest_frame()
        if decode(read(address, DType.SIZES[dtype]), dtype)[0] == value:
            raise ValueError(
                f"who-wrote: {what} was written before the recording began, where the program is now"
            )
        say(
            ["", f"{what} = {number(value)} was written here (the program stands before it now):"]
            + writer_lines(frame, False)
            + ["  " + line for line in place(frame).describe()]
        )

    @staticmethod
    def repeat(what, address, dtype, value):
        frame = gdb.newest_frame()
        pc, wanted = frame.pc(), fingerprint(frame)
        gdb.execute("kill", to_string=True)
        start, run = gdb.Breakpoint("main", internal=True, temporary=True), Run()
        start.silent = True
        run()
        if run.ended is not None:
            raise ValueError("who-wrote: the program ended before its beginning was found")
        watch, here = Watch(address, dtype), Here(pc, wanted)
        try:
            run()
            if run.ended is not None or not run.hit(here):
                raise ValueError(
                    "who-wrote: the repeated run did not come to the same place; under rr it goes back "
                    "instead: debugger/README.md"
                )
            if decode(read(address, DType.SIZES[dtype]), dtype)[0] != value and value == value:
                raise ValueError(
                    "who-wrote: things lie elsewhere in the repeated run (`set disable-randomization on` "
                    "keeps them in place)"
                )
        finally:
            watch.delete()
            here.delete()
        if not watch.lines:
            raise ValueError(
                f"who-wrote: {what} was never changed by the program's own lines: it is mapped from a file"
            )
        say(
            ["", f"{what} = {number(value)} was last changed here:"]
            + watch.lines
            + ["  " + w for w in watch.where]
        )


def register():
    WhoCommand("who-wrote")
