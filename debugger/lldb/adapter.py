"""lldb's values and frames as common/ reads them."""

import lldb

from pictor_debugger.common import place as common
from pictor_debugger.common.layout import Unreadable
from pictor_debugger.common.objects import is_known


def plain_name(type_):
    name = type_.GetCanonicalType().GetUnqualifiedType().GetName() or ""
    for noise in ("pictor::", "(anonymous namespace)::", "const ", " &"):
        name = name.replace(noise, "")
    return name.strip()


def read_from(target):
    """A function that reads this target's memory."""

    def read(address, count):
        if count == 0:
            return b""
        error = lldb.SBError()
        data = target.GetProcess().ReadMemory(address, count, error)
        if not error.Success() or data is None or len(data) != count:
            raise Unreadable(f"memory at {address:#x} cannot be read")
        return data

    return read


class LldbNode:
    def __init__(self, value):
        value = value.GetNonSyntheticValue()
        type_ = value.GetType().GetCanonicalType()
        if type_.IsReferenceType() or (type_.IsPointerType()
                                       and is_known(plain_name(type_.GetPointeeType()))):
            value = value.Dereference().GetNonSyntheticValue()
        self.value = value
        self.type_name = plain_name(value.GetType())
        address = value.GetLoadAddress()
        self.address = None if address == lldb.LLDB_INVALID_ADDRESS else address
        self.size = value.GetType().GetByteSize()

    def field(self, name):
        member = self.value.GetChildMemberWithName(name)
        if not member.IsValid():
            raise Unreadable(f"a {self.type_name} has no member {name}")
        return LldbNode(member)

    def fields(self):
        members = [self.value.GetChildAtIndex(i) for i in range(self.value.GetNumChildren())]
        return [(member.GetName(), LldbNode(member)) for member in members if member.GetName()]


class LldbFrame:
    def __init__(self, frame):
        self.frame = frame
        self.name = common.short_name(frame.GetFunctionName() or "")

    def node(self, variable):
        value = self.frame.FindVariable(variable)
        return LldbNode(value) if value.IsValid() and value.GetError().Success() else None

    @property
    def path(self):
        return str(self.frame.GetLineEntry().GetFileSpec())

    @property
    def number(self):
        return self.frame.GetLineEntry().GetLine()

    @property
    def file(self):
        return (
            common.in_repository("/" + self.path)
            if self.path.startswith("reference/")
            else (common.in_repository(self.path))
        )

    @property
    def line(self):
        text = common.source_text(self.path)
        return text[self.number - 1].strip() if 0 < self.number <= len(text) else ""

    def function_lines(self):
        """Numbers of the lines of the frame's function that have code."""
        function, unit = self.frame.GetFunction(), self.frame.GetCompileUnit()
        first = function.GetStartAddress().GetFileAddress()
        end = function.GetEndAddress().GetFileAddress()
        entries = (unit.GetLineEntryAtIndex(i) for i in range(unit.GetNumLineEntries()))
        return sorted(
            {
                entry.GetLine()
                for entry in entries
                if first <= entry.GetStartAddress().GetFileAddress() < end and entry.GetLine() > 0
            }
        )


def place(frame):
    """common.Place of a frame and its callers."""
    thread = frame.GetThread()
    frames = (
        LldbFrame(thread.GetFrameAtIndex(i)) for i in range(frame.GetFrameID(), thread.GetNumFrames())
    )
    target = thread.GetProcess().GetTarget()
    info = target.GetLaunchInfo()
    arguments = [info.GetArgumentAtIndex(i) for i in range(info.GetNumArguments())]
    return common.Place(frames, read_from(target), arguments)
