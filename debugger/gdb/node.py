"""gdb's values as the nodes that common/objects.py reads."""

import gdb

from pictor_debugger.common.layout import Unreadable
from pictor_debugger.common.objects import is_known


def read(address, count):
    """Bytes of the program, from a live process, a core file or a recording alike."""
    try:
        return bytes(gdb.selected_inferior().read_memory(address, count))
    except (gdb.error, MemoryError, OverflowError, ValueError):
        raise Unreadable(f"memory at {address:#x} cannot be read") from None


def plain_name(type_):
    name = str(type_.strip_typedefs().unqualified().name or type_.strip_typedefs().unqualified())
    return name.replace("pictor::", "").replace("(anonymous namespace)::", "")


def without_references(value):
    """The object behind references and, for the program's own structs, behind a pointer."""
    kinds = (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)
    while value.type.strip_typedefs().code in kinds:
        value = value.referenced_value()
    type_ = value.type.strip_typedefs()
    if type_.code == gdb.TYPE_CODE_PTR and is_known(plain_name(type_.target())):
        return value.dereference()
    return value


class GdbNode:
    def __init__(self, value):
        self.value = without_references(value)
        self.type_name = plain_name(self.value.type)
        self.address = None if self.value.address is None else int(self.value.address)
        self.size = self.value.type.sizeof

    def field(self, name):
        return GdbNode(self.value[name])

    def fields(self):
        return [
            (field.name, GdbNode(self.value[field]))
            for field in self.value.type.strip_typedefs().fields()
            if field.name and not field.is_base_class
        ]


def entry_size(name):
    """sizeof of a struct of the program, 64 where there are no symbols."""
    try:
        return gdb.lookup_type("pictor::" + name).sizeof
    except gdb.error:
        return 64
