"""Finds in a source file what a chapter quotes: a whole definition by its name, or the lines from one piece
to another."""

import re

from problem import Problem, near
from traces import ROOT

LANGUAGES = {
    ".cpp": "cpp",
    ".h": "cpp",
    ".py": "python",
    ".json": "json",
    ".jinja": "jinja",
    ".sh": "bash",
    ".gdb": "text",
}
NOT_A_DEFINITION = re.compile(
    r"\s*(//|#|return\b|if\b|for\b|while\b|else\b|switch\b|case\b|\}|\.|const auto)"
)


def read_lines(file):
    path = ROOT / file
    if not path.is_file():
        raise Problem(f"no such file: {file}")
    return path.read_text().split("\n")


def indent(line):
    return len(line) - len(line.lstrip())


def cpp_definitions(lines):
    """name -> (first line, last line), counted from 0, comment included."""
    found = {}
    for number, line in enumerate(lines):
        if not line.strip() or NOT_A_DEFINITION.match(line) or line.lstrip().startswith(("*", '"')):
            continue
        named = re.match(r"\s*(?:struct|class|enum(?: class)?) (\w+)[^;]*$", line) or re.match(
            r"\s*(?:[\w:<>,&*~\[\]]+ )+[*&]?([\w:~]+)\(", line
        )
        if not named or (indent(line) and "=" in line.split("(")[0]):
            continue
        last = end_of_definition(lines, number)
        if last is None:
            continue
        first = number
        while first > 0 and re.match(r"\s*(//|#pragma omp|template)", lines[first - 1]):
            first -= 1
        found.setdefault(named.group(1).split("::")[-1], (first, last))
        found.setdefault(named.group(1), (first, last))
    return found


def end_of_definition(lines, number):
    """The line that closes the body begun at `number`; None for a declaration."""
    for opening in range(number, min(number + 12, len(lines))):
        text = lines[opening].split("//")[0].rstrip()
        if "{" in text and text.count("{") == text.count("}") and text.endswith(("}", "};")):
            return opening
        if text.endswith(";"):
            return None
        if text.endswith("{"):
            break
    else:
        return None
    for last in range(opening + 1, len(lines)):
        if re.match(r"\s{%d}\}" % indent(lines[number]), lines[last]) and indent(lines[last]) == indent(
            lines[number]
        ):
            return last
    return None


def python_definitions(lines):
    found = {}
    for number, line in enumerate(lines):
        named = re.match(r"\s*(?:def|class) (\w+)", line)
        if named:
            last = number
            for after in range(number + 1, len(lines)):
                if lines[after].strip() and indent(lines[after]) <= indent(line):
                    break
                if lines[after].strip():
                    last = after
            found.setdefault(named.group(1), (number, last))
    return found


def definition(file, name):
    lines = read_lines(file)
    found = (python_definitions if file.endswith(".py") else cpp_definitions)(lines)
    if name not in found:
        raise Problem(
            f"{file} has no definition of {name!r}; {near(name, found) if found else 'it defines nothing'}"
        )
    return lines, *found[name]


def part(file, start, end):
    lines = read_lines(file)
    places = [number for number, line in enumerate(lines) if start in line]
    if len(places) != 1:
        raise Problem(
            f"{file}: {start!r} is in {len(places)} lines; a piece that is in exactly one would be right"
        )
    for last in range(places[0], len(lines)):
        if end in lines[last]:
            return lines, places[0], last
    raise Problem(f"{file}: {end!r} is in no line from {places[0] + 1} on")


def quote(arguments):
    """(language, text, file, first line, last line) of `FILE NAME` or `FILE from "A" to "B"`."""
    words = re.fullmatch(r'(\S+)\s+(?:from "(.*)" to "(.*)"|([\w:~]+))', arguments.strip())
    if not words:
        raise Problem(f'quote {arguments}: FILE NAME, or FILE from "..." to "...", would be right')
    file, start, end, name = words.groups()
    lines, first, last = definition(file, name) if name else part(file, start, end)
    kept = lines[first : last + 1]
    margin = min(indent(line) for line in kept if line.strip())
    text = "\n".join(line[margin:].rstrip() for line in kept)
    suffix = file[file.rfind(".") :] if "." in file else ""
    return LANGUAGES.get(suffix, "text"), text, file, first + 1, last + 1
