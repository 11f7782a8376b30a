"""One tour: its commands and what is expected of them, and the check of what gdb printed."""

import json
import os
import re

LOWEST = -3.4028234663852886e38
DIRECTIVE = re.compile(r"^#\s*(CHECK|EQUALS):\s*(.*)$")


class Tour:
    """Lines of a tour in order: ("say", text), ("run", command, [(kind, text), ...])."""

    def __init__(self, path):
        self.stem = os.path.basename(path)[: -len(".gdb")]
        self.transcript_path = path[: -len(".gdb")] + ".txt"
        self.items = []
        with open(path, encoding="utf-8") as file:
            for line in file.read().splitlines():
                directive = DIRECTIVE.match(line)
                if directive:
                    if not self.items or self.items[-1][0] != "run":
                        raise ValueError(f"{path}: {line!r} follows no command")
                    self.items[-1][2].append(directive.groups())
                elif line.strip():
                    self.items.append(
                        ("say", line.strip(), []) if line.startswith("#") else ("run", line.strip(), [])
                    )

    def commands(self):
        return [item[1] for item in self.items if item[0] == "run"]

    def traced(self):
        """Names of the tensors that its numbers are compared with."""
        texts = [text for item in self.items for kind, text in item[2] if kind == "EQUALS"]
        return {text.split("[")[0].strip() for text in texts}


def transcript(tour, outputs):
    """The tour as a terminal shows it."""
    lines, place = [], 0
    for kind, text, _ in tour.items:
        if kind == "say":
            lines += ([""] if lines else []) + [text]
        else:
            lines += [f"(gdb) {text}"] + outputs[place].splitlines()
            place += 1
    return "\n".join(lines) + "\n"


def normalised(outputs, root):
    """Without what differs between machines and runs: addresses, folders, the number of a printed value."""
    result, history = [], {}
    for output in outputs:
        output = output.replace(root + "/", "").replace(root, ".")
        output = re.sub(r"0x[0-9a-f]+", "0x...", output)
        output = re.sub(r"\(process \d+\)", "(process ...)", output)
        output = re.sub(r"(reference/\S+\.(?:cpp|h)):\d+", r"\1", output)
        output = re.sub(r"^\d+\t", "\t", output, flags=re.M)
        output = re.sub(
            r"^\$(\d+) = ",
            lambda m: f"${history.setdefault(m.group(1), len(history) + 1)} = ",
            output,
            flags=re.M,
        )
        result.append("\n".join(line.rstrip() for line in output.strip("\n").splitlines()))
    return result


def literal_or_pattern(text):
    """A CHECK line: literal but for what stands in {{...}}, which is a regular expression."""
    parts = re.split(r"\{\{(.*?)\}\}", text)
    return re.compile("".join(part if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def numbers_in(output):
    """The numbers that `tensor` or `print` printed."""
    single = re.match(r"^(?:\$\d+|.*\]) = (\S+)$", output.strip())
    if single:
        return [to_number(single.group(1))]
    rows = [re.match(r"^\s+\[[-\d, ]+\]([^\"]*)", line) for line in output.splitlines()]
    return [to_number(word) for row in rows if row for word in row.group(1).split()]


def to_number(word):
    return LOWEST if word == "lowest" else float(word)


class Trace:
    """The demo's run as build/reference recorded it: what the debugger's numbers have to equal."""

    # Plain and fast loops add in another order: a sum of n terms differs by about sqrt(n) 2^-24 of its terms'
    # size, 1e-6 for the 320 of the widest layer, and sixteen layers in a row add up to ten times that. Six
    # printed digits add half a unit of the sixth.
    NOISE_OF_LARGEST = 1e-5
    PRINTED = 5e-6

    def __init__(self, folder):
        with open(os.path.join(folder, "trace.json"), encoding="utf-8") as file:
            self.index = json.load(file)
        self.folder = folder
        self.entries = {(entry["name"], entry["step"]): entry for entry in self.index["tensors"]}
        self.words = self.index["prompt"]["token_texts"] + self.index["generated"]["token_texts"]
        self.worst = 0.0

    def token(self, text):
        """(step, row in that step) of a token: its number, or its word in quotes."""
        text = text.strip()
        if text.startswith('"'):
            wanted = json.loads(text).strip()
            number = next((i for i, word in enumerate(self.words) if word.strip() == wanted), None)
            if number is None:
                raise ValueError(f"no token {text} in this run: " + "".join(self.words))
        else:
            number = int(text)
        n_prompt = self.index["steps"][0]["token_count"]
        return (0, number) if number < n_prompt else (number - n_prompt + 1, 0)

    def values(self, text):
        """The numbers that 'NAME[1, token "fish", :8]' names, and the largest of that tensor."""
        match = re.match(r"^([^\[]+)\[(.*)\](?: at step (\d+))?$", text)
        if not match:
            raise ValueError(f"cannot be read: {text}")
        name, step = match.group(1).strip(), int(match.group(3) or 0)
        picks = []
        for part in match.group(2).split(","):
            part = part.strip()
            if part.startswith("token "):
                step, row = self.token(part[6:])
                part = str(row)
            picks.append(part)
        entry = self.entries.get((name, step))
        if entry is None:
            raise ValueError(f"the trace has no {name} in step {step}")
        with open(os.path.join(self.folder, entry["file"]), encoding="utf-8") as file:
            flat = json.load(file)["values"]
        largest = max(abs(v) for v in flat if isinstance(v, (int, float)) and v > LOWEST)
        return pick(flat, entry["shape"], picks), largest

    def problem(self, text, shown):
        """What is wrong with the printed numbers; None when they are the trace's."""
        wanted, largest = self.values(text)
        if len(shown) != len(wanted):
            return f"{len(shown)} numbers were printed, the trace has {len(wanted)} at {text}"
        for place, (got, want) in enumerate(zip(shown, wanted)):
            want = float(want)
            allowed = self.NOISE_OF_LARGEST * largest + self.PRINTED * abs(want)
            if not abs(got - want) <= allowed:
                return (
                    f"number {place} is {got:g}, the trace has {want:g} (allowed difference {allowed:.2g})"
                )
            self.worst = max(self.worst, abs(got - want) / allowed if allowed else 0.0)
        return None


def pick(flat, shape, picks):
    if len(picks) > len(shape):
        raise ValueError(f"{len(picks)} indices for a shape of {shape}")
    indices = [0]
    for axis, extent in enumerate(shape):
        part = picks[axis] if axis < len(picks) else ":"
        if ":" in part:
            first, end = part.split(":")
            chosen = range(int(first or 0), min(int(end or extent), extent))
        else:
            chosen = [int(part)]
            if not 0 <= chosen[0] < extent:
                raise ValueError(f"index {part} is outside axis {axis} of {shape}")
        indices = [i * extent + j for i in indices for j in chosen]
    return [flat[i] for i in indices]


def check(tour, outputs, trace):
    """[(what was checked, what is wrong or None)] of one tour, in order."""
    results, place = [], 0
    for kind, command, directives in tour.items:
        if kind != "run":
            continue
        output, position = outputs[place], 0
        place += 1
        for what, text in directives:
            if what == "CHECK":
                found = literal_or_pattern(text).search(output, position)
                problem = (
                    None if found else f"{text!r} was not printed by {command!r}, which printed\n{output}"
                )
                position = found.end() if found else position
            else:
                try:
                    problem = trace.problem(text, numbers_in(output))
                except ValueError as error:
                    problem = str(error)
                problem = problem and f"{command}: {problem}"
            results.append((f"{what}: {text}", problem))
    return results
