"""Pictures inside figures: a PNG of the model's folder as data, whole or one window of it, at any size."""

import base64
import json

from draw import ROOT, number

PICTURES = ROOT / "models" / "pictor" / "pictures"


def data_of(name):
    return "data:image/png;base64," + base64.b64encode((PICTURES / name).read_bytes()).decode()


def size_of(name):
    """(height, width) in pixels."""
    return next(
        scene["size"] for scene in json.loads((PICTURES / "scenes.json").read_text()) if scene["file"] == name
    )


def window(drawing, name, x, y, width, height, left=0, top=0, wide=None, high=None):
    """Draws the window of `wide` x `high` pixels at (left, top) of a picture; the whole picture by "
    "default."""
    rows, columns = size_of(name)
    view = f"{number(left)} {number(top)} {number(wide or columns)} {number(high or rows)}"
    drawing.raw(
        f'<svg x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
        f'viewBox="{view}" '
        f'preserveAspectRatio="none"><image width="{columns}" height="{rows}" href="{data_of(name)}" '
        f'style="image-rendering:pixelated"/></svg>'
    )


def png_of(pixels):
    """PNG bytes, as a data address, of an array [height][width][3] of whole numbers from 0 to 255."""
    import struct
    import zlib

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype("uint8"))
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return "data:image/png;base64," + base64.b64encode(data).decode()
