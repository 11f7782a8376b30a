#!/usr/bin/env python3
"""A terminal's picture, debugger/terminal.svg, of a session that `python3 debugger/picture.py` runs in gdb
and draws as it printed, colours included. Needs build/step/reference (make debug).
"""

import html
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
COMMANDS = [
    'stop-at cross_attention layer 8 head 2 token "fish" at context',
    "tensor block.probs[row, :8]",
    "heat probs row",
]
MARK = "@@ picture "
WIDE, HIGH, MARGIN, MOST = 8.4, 17, 14, 124  # pixels of a character, and how many in a line
SGR = re.compile(r"\x1b\[([\d;]*)m")


def session():
    """Lines of the terminal: each command behind gdb's prompt, then what it printed."""
    arguments = ["gdb", "-nx", "-q", "-batch", "-x", "debugger/pictor.gdb"]
    question = 'run --image models/pictor/pictures/demo.png --prompt "What is in this image?" > /dev/null'
    script = ["set pictor-colour on", "set width 0", f"set args {question}"]
    for command in COMMANDS:
        script += [f"echo \\n{MARK}\\n", command]
    arguments += [word for line in script for word in ("-ex", line)]
    result = subprocess.run(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    pieces = result.stdout.split(MARK)[1:]
    if len(pieces) != len(COMMANDS) or "\x1b[48;2" not in pieces[-1]:
        sys.exit(f"picture.py: the session did not end as it should:\n{result.stdout}\n{result.stderr}")
    lines = []
    for command, piece in zip(COMMANDS, pieces):
        lines += [f"(gdb) {command}"] + piece.strip("\n").splitlines()
    return lines


def spans(line):
    """[(text, background or None)] of a line with colours."""
    background, place = None, 0
    for match in SGR.finditer(line):
        if match.start() > place:
            yield line[place : match.start()], background
        place = match.end()
        numbers = match.group(1).split(";")
        background = "#%02x%02x%02x" % tuple(map(int, numbers[2:5])) if numbers[:2] == ["48", "2"] else None
    if place < len(line):
        yield line[place:], background


def draw(lines):
    height = MARGIN * 2 + HIGH * len(lines) + 18
    width = MARGIN * 2 + WIDE * min(MOST, max(len(SGR.sub("", line)) for line in lines))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">',
        "<title>gdb in cross-attention at the word fish</title>",
        "<desc>stop-at goes into the loop, tensor prints the row, heat draws it over the image.</desc>",
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#16161d"/>',
        (
            '<circle cx="16" cy="14" r="5" fill="#ff5f57"/><circle cx="34" cy="14" r="5" fill="#febc2e"/>'
            '<circle cx="52" cy="14" r="5" fill="#28c840"/>'
        ),
        '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" fill="#dcdce4">',
    ]
    for number, line in enumerate(lines):
        x, top = MARGIN, MARGIN + 18 + number * HIGH
        left = MOST
        for text, background in spans(line):
            text = text[: max(left, 0)]
            length = WIDE * len(text)
            if background:
                parts.append(
                    f'<rect x="{x:.1f}" y="{top}" width="{length + 0.3:.1f}" height="{HIGH + 0.3}"'
                    f' fill="{background}"/>'
                )
            elif text.strip():
                colour = ' fill="#8ab4ff"' if line.startswith("(gdb)") else ""
                colour = ' fill="#f5c211"' if line.startswith("  =>") else colour
                parts.append(
                    f'<text x="{x:.1f}" y="{top + 13}" xml:space="preserve"'
                    f' textLength="{length:.1f}"{colour}>{html.escape(text)}</text>'
                )
            x, left = x + length, left - len(text)
    return "\n".join(parts + ["</g>", "</svg>", ""])


def main():
    drawn = draw(session())
    with open(os.path.join(HERE, "terminal.svg"), "w", encoding="utf-8") as file:
        file.write(drawn)
    print("debugger/terminal.svg")


if __name__ == "__main__":
    main()
