"""Sentences: values woven in by expression, and the rule that a number in a sentence has a source."""

import json
import re

from namespace import FACTS, evaluate, shown, split_format
from problem import Problem

INLINE = re.compile(r"<!--=(.*?)-->", re.S)
# What stands directly before the comment, and is replaced: a code span, or characters up to a space or an
# opening sign.
BEFORE = re.compile(r"(`[^`\n]*`|[^\s`(\[{\"“|>*]+)$")
MASKS = (
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"\$\$.*?\$\$", re.S),
    re.compile(r"`+[^`]*`+"),
    re.compile(r"\$[^$\n]+\$"),
    re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)\s]*\)"),
    re.compile(r"<https?://[^>]+>"),
    re.compile(r"<[^>\n]+>"),
    re.compile(r"^#+ .*$", re.M),
    re.compile(r"^\s*\d+\. ", re.M),
    re.compile(r"^\*\*Exercise \d\d\.\d+", re.M),
    re.compile(r"[A-Za-z_][\w.-]*"),
)


def same_number(old, new):
    """Machines add in other orders: a value may differ by one in the last digit that is printed, a whole
    number may not."""
    if old == new:
        return True
    old, new = old.strip("`").replace(",", ""), new.strip("`").replace(",", "")
    number = re.compile(r"(-?\d+\.(\d+))(?:e([-+]\d+))?(%?)")
    one, other = number.fullmatch(old), number.fullmatch(new)
    if not one or not other or len(one.group(2)) != len(other.group(2)) or one.group(4) != other.group(4):
        return False
    last = 10.0 ** (int(other.group(3) or 0) - len(other.group(2)))
    values = [float(found.group(1) + "e" + (found.group(3) or "0")) for found in (one, other)]
    return abs(values[0] - values[1]) <= 1.01 * last


def in_table_row(text, position):
    line = text[text.rfind("\n", 0, position) + 1 :].split("\n", 1)[0]
    return line.lstrip().startswith("|")


def weave_inline(text, first_line, names, report, check):
    """The text with every value made again. `report(line, message)` hears what is wrong."""
    parts, end = [], 0
    for found in INLINE.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        before = BEFORE.search(text[end : found.start()])
        parts.append(text[end : found.start()])
        end = found.end()
        if before is None:
            report(line, f"nothing stands before {found.group(0)}; a ? directly before it would be right")
        elif in_table_row(text, found.start()) and re.search(r"(?<!\\)\|", found.group(1)):
            report(line, f"{found.group(0)}: in a row of a table the bar before a format is written \\|")
        else:
            parts[-1] = with_value(
                parts[-1], before.group(1), found.group(1), names, lambda said: report(line, said), check
            )
        parts.append(found.group(0))
    return "".join(parts) + text[end:]


def with_value(part, old, directive, names, report, check):
    try:
        expression, form = split_format(directive)
        new = shown(evaluate(expression, names), form)
        if old.startswith("`"):
            if "`" in new:
                raise Problem(f"`{expression}` is {new!r}, which does not fit into a code span")
            new = f"`{new}`"
        elif re.search(r"[\s`(\[{\"“|>*<]", new) or not new:
            raise Problem(
                f"`{expression}` is {new!r}: a value with such signs belongs into a code span: `?`<!--= ... "
                f"-->"
            )
    except Problem as problem:
        report(str(problem))
        return part
    if check and not same_number(old, new):
        report(f"says {old}, but `{expression}` is {new}; `make book` weaves it in")
    return part if check else part[: len(part) - len(old)] + new


def assertions(text, first_line, names, report):
    for found in re.finditer(r"<!-- assert (.*?) -->", text, re.S):
        line = first_line + text.count("\n", 0, found.start())
        try:
            if not evaluate(found.group(1), names):
                report(line, f"no longer true: {found.group(1)}")
        except Problem as problem:
            report(line, str(problem))


def blank(found):
    return re.sub(r"[^\n]", " ", found.group(0))


def numbers_without_source(text, first_line, chapter_numbers, report):
    """Every digit in a sentence that is neither woven nor part of a name."""
    for found in reversed(list(INLINE.finditer(text))):
        before = BEFORE.search(text[: found.start()])
        if before:
            text = text[: before.start()] + " " * len(before.group(0)) + text[found.start() :]
    for name in json.loads(FACTS.read_text()).get("names", {"value": []})["value"]:
        text = text.replace(name, " " * len(name))
    for found in re.finditer(r"\b[Cc]hapters? (\d\d?)(?:(?:, | and | to )(\d\d?))*", text):
        for number in re.findall(r"\d+", found.group(0)):
            if int(number) not in chapter_numbers:
                report(first_line + text.count("\n", 0, found.start()), f"there is no chapter {number}")
        text = text[: found.start()] + " " * len(found.group(0)) + text[found.end() :]
    for mask in MASKS:
        text = mask.sub(blank, text)
    for found in re.finditer(r"\d[\d.,]*", text):
        line = first_line + text.count("\n", 0, found.start())
        report(
            line,
            f"the number {found.group(0).rstrip('.,')} has no source; NUMBER<!--= EXPRESSION | FORMAT --> "
            f"would be right "
            "(a plain calculation is an expression, too), or a code span",
        )
