"""Directives that stand on a line of their own and make what follows: quote, run, tour, exercise, figure,
trap."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from exercises import exercise_text
from problem import Problem, first_difference
from source import quote
from traces import BOOK, ROOT

FIGURES = ROOT / "chapters" / "figures"
PATH = os.path.dirname(sys.executable) + ":" + os.environ.get("PATH", "")  # python3 is the one that weaves


def link_line(file, first, last):
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    anchor = f"L{first}" if first == last else f"L{first}-L{last}"
    return f"<sub>[{file}, {lines}](../{file}#{anchor})</sub>"


def fenced(language, text):
    fence = "```" if "```" not in text else "````"
    return f"{fence}{language}\n{text}\n{fence}\n"


def make_quote(arguments):
    language, text, file, first, last = quote(arguments)
    return fenced(language, text) + "\n" + link_line(file, first, last) + "\n"


def make_tour(arguments):
    script = arguments.strip()
    transcript = (ROOT / script).with_suffix(".txt")
    for file in (ROOT / script, transcript):
        if not file.is_file():
            raise Problem(f"no such file: {file.relative_to(ROOT)}")
    return (
        fenced("console", f"$ gdb -x debugger/pictor.gdb -x {script}\n" + transcript.read_text().rstrip("\n"))
        + "\n"
        + (f"<sub>[{script}](../{script})</sub>\n")
    )


class Runs:
    """Commands and figure scripts, two at a time, each once."""

    def __init__(self):
        self.pool, self.waiting = ThreadPoolExecutor(os.cpu_count() or 2), {}

    def start(self, command, environment=None):
        if command not in self.waiting:
            self.waiting[command] = self.pool.submit(self.run, command, environment)
        return self.waiting[command]

    def run(self, command, environment):
        return subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "COLUMNS": "100", "PATH": PATH, **(environment or {})},
        )

    def output(self, command):
        done = self.start(command).result()
        if done.returncode not in (0, 1):
            raise Problem(f"`{command}` ends with {done.returncode}: {done.stderr.strip()[:300]}")
        if not done.stdout.strip():
            raise Problem(
                f"`{command}` prints nothing{': ' + done.stderr.strip()[:300] if done.stderr else ''}"
            )
        return "\n".join(line.rstrip() for line in done.stdout.rstrip("\n").split("\n"))


def run_parts(arguments):
    """(which lines, the command) of `[lines=...] COMMAND`."""
    found = re.fullmatch(r'(?:lines=((?:"[^"]*"|\S)+)\s+)?(.*)', arguments.strip(), re.S)
    return found.group(1), found.group(2)


def kept_lines(output, wanted):
    """Lines by number and by text: `1-12,20,"Fault:"+2`. A line [...] stands where some are left out."""
    lines, keep = output.split("\n"), set()
    for piece in re.findall(r'"[^"]*"(?:\+\d+)?|[^,]+', wanted):
        numbered = re.fullmatch(r"(\d+)(?:-(\d*))?", piece)
        named = re.fullmatch(r'"([^"]*)"(?:\+(\d+))?', piece)
        if numbered:
            first, last = int(numbered.group(1)), numbered.group(2)
            last = first if last is None else int(last or len(lines))
            keep.update(range(first - 1, min(last, len(lines))))
        elif named:
            places = [number for number, line in enumerate(lines) if named.group(1) in line]
            if not places:
                raise Problem(f"no line of the output holds {named.group(1)!r}; it is\n{output[:600]}")
            keep.update(range(places[0], min(places[0] + int(named.group(2) or 0) + 1, len(lines))))
        else:
            raise Problem(f'lines={wanted}: want 1-12, 7 or "a piece of the line"+2, with commas between')
    shown, last = [], -1
    for number in sorted(keep):
        if number != last + 1:
            shown.append("[...]")
        shown.append(lines[number])
        last = number
    return "\n".join(shown + (["[...]"] if last + 1 < len(lines) else []))


def make_run(arguments, runs, old):
    wanted, command = run_parts(arguments)
    if command.startswith("oracle "):  # needs PyTorch: `make golden` runs it and compares what it prints
        command = command.removeprefix("oracle ")
        found = re.search(r"^\$ (.*)$", old, re.M)
        if not found or found.group(1) != command:
            raise Problem(f"an oracle's output is not made here: the block must begin with `$ {command}`")
        missing = [
            word
            for word in command.split()
            if re.search(r"/.*\.(py|json)$", word) and not (ROOT / word).is_file()
        ]
        if missing:
            raise Problem(f"no such file: {', '.join(missing)}")
        return old
    output = runs.output(command)
    return fenced("console", f"$ {command}\n" + (kept_lines(output, wanted) if wanted else output))


def close_enough(old, new):
    """The same text, but for the noise of another machine's order of addition in numbers with a point."""
    number = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?|-?\d+e[-+]\d+")
    if number.sub("#", old).split() != number.sub("#", new).split():
        return False
    return all(
        abs(float(one) - float(other)) <= 2e-3 * abs(float(other)) + 2e-6
        for one, other in zip(number.findall(old), number.findall(new))
    )


def make_block(kind, arguments, old, context):
    """What belongs between the directive and its end."""
    if kind == "quote":
        return make_quote(arguments)
    if kind == "tour":
        return make_tour(arguments)
    if kind == "exercise":
        return exercise_text(arguments.strip(), context.names)
    return make_run(arguments, context.runs, old)


def figure_parts(arguments):
    """(command, the file it makes)."""
    words = arguments.split()
    if words and words[0].endswith(".py"):
        return None, f"chapters/figures/{words[0].rsplit('/', 1)[-1].removesuffix('.py')}.svg"
    found = re.search(r"--output (chapters/figures/\S+)", arguments)
    if not found:
        raise Problem("figure: SCRIPT.py, or a command with --output chapters/figures/FILE, would be right")
    return arguments.strip(), found.group(1)


def figure_command(arguments):
    """The command that makes the figure beside the committed one, in build/book/figures, to be compared."""
    command, made = figure_parts(arguments)
    script = arguments.split()[0]
    if command is None:
        if not (ROOT / script).is_file():
            raise Problem(f"no such file: {script}")
        command = f"{sys.executable} {script}"
    fresh = BOOK / "figures" / made.rsplit("/", 1)[-1]
    return command.replace("--output " + made, f"--output {fresh}"), ROOT / made, fresh


def drawn_already(fresh):
    """Whether it is newer than all that figures are made from: programs, runs, scripts, the weaver."""
    if not fresh.is_file():
        return False
    made_from = [ROOT / "build" / "viz", *BOOK.glob("*/trace.json"), *FIGURES.glob("*.py")]
    made_from += [*(ROOT / "chapters" / "weave").glob("*.py"), *(ROOT / "chapters").glob("*.json")]
    return all(fresh.stat().st_mtime > file.stat().st_mtime for file in made_from if file.is_file())


def start_figure(arguments, runs):
    """(a run to wait for, or None when nothing has changed; the committed file; the fresh one)."""
    command, made, fresh = figure_command(arguments)
    if drawn_already(fresh) and command not in runs.waiting:
        return None, command, made, fresh
    return runs.start(command, {"PICTOR_FIGURES": str(fresh.parent)}), command, made, fresh


def placed(fresh):
    """The fresh figure as it belongs into chapters/figures: its links climb one folder less."""
    content = fresh.read_bytes()
    return content.replace(b'href="../../../', b'href="../../') if fresh.suffix == ".svg" else content


def make_figure(arguments, context, report):
    waiting, command, made, fresh = start_figure(arguments, context.runs)
    done = waiting.result() if waiting else None
    if (done and done.returncode != 0) or not fresh.is_file():
        raise Problem(
            f"`{command}` ends with {done.returncode} and made {'the' if fresh.is_file() else 'no'} figure: "
            f"{done.stderr.strip()[-400:]}"
        )
    if made.suffix == ".svg" and made.parent == FIGURES:
        text = fresh.read_text()
        if "<title" not in text:
            raise Problem(f"{made.name}: an SVG without <title> says nothing to who cannot see it")
    if not context.check:
        if not made.is_file() or made.read_bytes() != placed(fresh):
            made.write_bytes(placed(fresh))
    elif not made.is_file():
        report(f"{made.relative_to(ROOT)} is missing; `make book` makes it")
    elif made.suffix == ".svg" and not close_enough(made.read_text(), placed(fresh).decode()):
        report(
            f"{made.relative_to(ROOT)} is no longer what is drawn: "
            + first_difference(made.read_text(), placed(fresh).decode())
        )
    return str(made.relative_to(ROOT))


def block_differs(old, new, kind):
    return not (close_enough(old, new) if kind == "run" else old == new)
