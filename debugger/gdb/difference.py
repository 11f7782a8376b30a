"""stop-at-difference: run until the first tensor that differs from a recorded trace."""

import os

import gdb

from pictor_debugger.common import layout
from pictor_debugger.common.golden import Golden, place_text
from pictor_debugger.common.text import number
from pictor_debugger.gdb.node import plain_name, read
from pictor_debugger.gdb.place import ROOT, GdbFrame, place
from pictor_debugger.gdb.show import PictorCommand, say
from pictor_debugger.gdb.stop import Run, first_statements, require_symbols

OWN_TRACE = "build/debugger/trace"


class Seen:
    """What was compared so far, of all recorded blocks."""

    def __init__(self, golden):
        self.golden = golden
        self.compared, self.without_numbers, self.unknown = set(), set(), set()


class Recording(gdb.Breakpoint):
    """Every block of numbers that the model records, compared as it comes."""

    def __init__(self, place, seen):
        super().__init__(place, internal=True)
        self.silent = True
        self.golden, self.seen = seen.golden, seen
        self.found = self.failure = None

    def stop(self):
        try:
            self.found = self.compare(gdb.newest_frame())
            return self.found is not None
        except Exception as error:  # an exception here would let the program run on unnoticed
            self.failure = error
            return True

    def compare(self, frame):
        holder = int(frame.read_var("this").dereference()["state_"].address)  # a unique_ptr: one pointer
        pointer = int.from_bytes(read(holder, 8), "little")
        if pointer == 0:
            return None
        state = (
            gdb.Value(pointer).cast(gdb.lookup_type("pictor::RecordedRows::State").pointer()).dereference()
        )
        name = layout.string(read, int(state["name"].address)).decode()
        _, n_steps = layout.vector(read, int(state["writer"].dereference()["steps"].address), 32)
        step, first, count = n_steps - 1, int(state["position"]), int(frame.read_var("count"))
        entry = self.golden.entries.get((name, step))
        if entry is None:
            self.seen.unknown.add(name)
            return None
        if int(state["size"]) != layout.product(entry["shape"]):
            return {"entry": entry, "here": int(state["size"]), "list": None}
        pointer = frame.read_var("values")
        is_float = plain_name(pointer.type.strip_typedefs().target()) == "float"
        size = 4 if is_float else 8
        block = layout.decode(read(int(pointer), count * size), "f32" if is_float else "i64")
        result = self.golden.differences(name, step, first, block)
        if result is None:
            self.seen.without_numbers.add((name, step))
            return None
        self.seen.compared.add((name, step))
        return {"entry": entry, "list": result[0], "allowed": result[1]} if result[0] else None


def maker(frame):
    """The frame of the model that handed the numbers over: the innermost one of a step."""
    while frame is not None:
        here = GdbFrame(frame)
        if here.file.startswith("reference/") and not here.file.endswith("score_block.cpp"):
            return frame
        frame = frame.older()
    return gdb.newest_frame()


class DifferenceCommand(PictorCommand):
    """Run from the start until the first recorded tensor differs from a trace, and stop where it was made.
    stop-at-difference TRACE
    TRACE is a folder that `build/reference run ... --trace DIR` or another recorder wrote, of
    the same question. A number differs beyond the golden policy's tolerance, or 2e-5 of the tensor's largest
    number where that is more: two orders of adding differ by less. The program records too meanwhile,
    statistics only, into build/debugger/trace."""

    def run(self, argument):
        if not argument:
            raise ValueError(
                "stop-at-difference: name a trace; `build/reference run ... --trace DIR` records one"
            )
        require_symbols()
        folder = argument.strip('"')
        golden = Golden(folder, os.path.join(ROOT, "golden", "tolerances.json"))
        if gdb.selected_inferior().pid:
            gdb.execute("kill", to_string=True)
        arguments = str(gdb.parameter("args") or "")
        recording = "" if "--trace" in arguments else f" --trace {OWN_TRACE} --trace-values none --force"
        head, redirect, rest = arguments.partition(" > ")
        seen, run = Seen(golden), Run()
        watches = [Recording(spec, seen) for spec in first_statements("pictor::RecordedRows::append")]
        try:
            gdb.execute(f"set args {head}{recording}{redirect}{rest}")
            run()
            self.report(seen, watches, run, folder)
        finally:
            for watch in watches:
                watch.delete()
            gdb.execute(f"set args {arguments}")

    @staticmethod
    def report(seen, watches, run, folder):
        failure = next((watch.failure for watch in watches if watch.failure), None)
        if failure:
            raise ValueError(f"stop-at-difference: {failure}")
        if run.ended is not None:
            text = f"no difference: {len(seen.compared)} tensors compared with {folder}"
            if seen.without_numbers:
                text += f"; {len(seen.without_numbers)} have no numbers there"
            if seen.unknown:
                text += f"; {len(seen.unknown)} names are not in it ({sorted(seen.unknown)[0]} ...)"
            if not seen.compared:
                raise ValueError(text + ". Nothing was compared: does the trace belong to this question?")
            say(["", text])
            return
        watch = next((watch for watch in watches if run.hit(watch)), None)
        if watch is None:
            say(["stopped before any difference, by something else:"])
            gdb.execute("frame")
            return
        frame = maker(gdb.newest_frame())
        frame.select()
        here, named = place(frame), GdbFrame(frame)
        say(
            [""]
            + difference_lines(watch.found)
            + ["  " + line for line in here.describe()]
            + [f"  made by {named.name} in {named.file}, whose frame is selected now"]
            + ([f"  chapter: chapters/{here.chapter()}.md"] if here.chapter() else [])
        )


def difference_lines(found):
    entry = found["entry"]
    title = f"{entry['name']} in step {entry['step']} is the first that differs"
    if found["list"] is None:
        return [
            title,
            f"  {found['here']} numbers here, shape {layout.shape_text(entry['shape'])} in the trace",
        ]
    worst = max(
        found["list"], key=lambda item: abs(item[1] - item[2]) if item[1] == item[1] else float("inf")
    )
    lines = [title]
    for words, (flat, here, there) in (("first", found["list"][0]), ("most", worst)):
        lines.append(
            f"  {words} at {place_text(entry, flat)}: {number(here)} here, {number(there)} in the trace"
        )
    return lines + [
        f"  {len(found['list'])} numbers of this block differ by more than {found['allowed']:.2g}"
    ]


def register():
    DifferenceCommand("stop-at-difference")
