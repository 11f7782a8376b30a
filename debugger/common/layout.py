"""Reads C++ objects out of another program's memory: vectors, strings and lists of numbers.

Nothing here knows a debugger. `read(address, count)` is a function that returns that many bytes or raises
Unreadable. Everything is checked before it is believed: an object may be uninitialised, moved from or
overwritten, and a printer must neither fail nor hang over it.
"""

import array
import struct

MOST_NUMBERS = 1 << 36  # as the Tensor class allows
MOST_AXES = 8


class Unreadable(Exception):
    """Memory that is not there, or an object that cannot be one. The text says what was found."""


class DType:
    """How numbers lie in memory: f32, bf16, f16 or i64 (and u8 for flags)."""

    SIZES = {"f32": 4, "bf16": 2, "f16": 2, "i64": 8, "u8": 1}
    NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i64": "int64", "u8": "bytes"}
    IN_SOURCE = ("f32", "bf16", "f16")  # the order of `enum class DType` in base/dtype.h


def decode(data, dtype):
    """The numbers in these bytes, as Python floats or ints."""
    if dtype == "f32":
        return array.array("f", data).tolist()
    if dtype == "i64":
        return array.array("q", data).tolist()
    if dtype == "u8":
        return list(data)
    if dtype == "f16":
        return list(struct.unpack(f"<{len(data) // 2}e", data))
    widened = array.array("I", [half << 16 for half in array.array("H", data)])
    return array.array("f", widened.tobytes()).tolist()


def words(read, address, count):
    return struct.unpack(f"<{count}q", bytes(read(address, 8 * count)))


def vector(read, address, item_size):
    """(start, number of items) of a std::vector at this address."""
    start, finish, capacity_end = struct.unpack("<3Q", bytes(read(address, 24)))
    if start == 0 and finish == 0:
        return 0, 0
    if not 0 < start <= finish <= capacity_end or (finish - start) % item_size or start >= 1 << 48:
        raise Unreadable("its pointers cannot be a vector's: not yet initialised, or overwritten")
    count = (finish - start) // item_size
    if count > MOST_NUMBERS:
        raise Unreadable(f"{count} items cannot be: not yet initialised, or overwritten")
    return start, count


def string(read, address, most=200):
    """The bytes of a std::string, at most so many of them."""
    pointer, length = struct.unpack("<2Q", bytes(read(address, 16)))
    if length > 1 << 31 or pointer == 0:
        raise Unreadable("no string: not yet initialised, or overwritten")
    return bytes(read(pointer, min(length, most))) if length else b""


def shape_at(read, address):
    start, count = vector(read, address, 8)
    if count > MOST_AXES:
        raise Unreadable(f"a shape of {count} axes cannot be: not yet initialised, or overwritten")
    shape = list(words(read, start, count)) if count else []
    if any(extent < 0 or extent > MOST_NUMBERS for extent in shape):
        raise Unreadable(f"the shape {shape_text(shape)} cannot be: not yet initialised, or overwritten")
    return shape


def shape_text(shape):
    return "[" + ", ".join(str(extent) for extent in shape) + "]"


def product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result


class Numbers:
    """Numbers under a shape, read a piece at a time. `fetch(first, count)` gives the flat ones."""

    def __init__(self, shape, dtype, fetch, axes=(), address_of=None):
        self.shape = list(shape)
        self.dtype = dtype
        self.fetch = fetch
        self.axes = list(axes) if len(axes) == len(self.shape) else []
        self.address_of = address_of  # flat index -> where that number lies

    @classmethod
    def at(cls, read, address, shape, dtype, axes=()):
        size = DType.SIZES[dtype]

        def fetch(first, count):
            return decode(bytes(read(address + first * size, count * size)), dtype) if count else []

        return cls(shape, dtype, fetch, axes, lambda index: address + index * size)

    @property
    def size(self):
        return product(self.shape)

    def strides(self):
        strides = [1] * len(self.shape)
        for axis in range(len(self.shape) - 2, -1, -1):
            strides[axis] = strides[axis + 1] * self.shape[axis + 1]
        return strides

    def flat(self, indices):
        return sum(i * stride for i, stride in zip(indices, self.strides()))

    def row(self, indices, first=0, count=None):
        """Numbers along the last axis at these indices of the axes before it."""
        width = self.shape[-1] if self.shape else 1
        count = width - first if count is None else count
        return self.fetch(self.flat(list(indices) + [first]) if self.shape else 0, count)


def tensor(read, shape_address, values_address):
    """A Tensor: its shape and its values, which have to agree."""
    shape = shape_at(read, shape_address)
    start, count = vector(read, values_address, 4)
    if not shape and count == 0:
        return Numbers([0], "f32", lambda first, n: [])
    if product(shape) != count:
        raise Unreadable(f"shape {shape_text(shape)} but {count} values: moved from, or overwritten")
    return Numbers.at(read, start, shape, "f32")
