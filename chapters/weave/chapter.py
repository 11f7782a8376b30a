"""Weaves one chapter: splits it into sentences and blocks, and makes each again."""

import re

from blocks import block_differs, make_block, make_figure
from namespace import evaluate
from problem import Problem, first_difference
from prose import assertions, numbers_without_source, weave_inline

MADE = re.compile(r"<!-- (quote|run|tour|exercise) (.*?) -->\s*$")
FIGURE = re.compile(r"<!-- figure (.*?) -->\s*$")
LET = re.compile(r"^<!-- let (\w+) = (.*) -->\s*$")
IN_COMMAND = re.compile(r"\{= (.*?)\}")
TRAP = re.compile(r"<!-- trap (\S+) -->")
END = "<!-- end -->"
NEEDS_DIRECTIVE = {"cpp": "quote FILE NAME", "console": "run COMMAND"}


class Chapter:
    def __init__(self, path, context):
        self.path, self.context, self.name = path, context, path.name
        self.lines = path.read_text().split("\n")
        self.traps, self.exercises, self.covers, self.trace_names, self.terms = [], [], [], [], []
        self.figures = 0
        self.names, self.commands = None, {}

    def read_lets(self):
        """Names of the chapter's own, for later expressions and for {= EXPRESSION} in its commands."""
        if self.names is not None:
            return
        self.names = dict(self.context.names)
        for number, line in enumerate(self.lines):
            let = LET.match(line)
            try:
                if let:
                    self.names[let.group(1)] = evaluate(let.group(2), self.names)
                made = MADE.match(line)
                if made and made.group(1) == "run" and "{= " in line:
                    self.commands[number] = IN_COMMAND.sub(self.value_in_command, made.group(2))
            except Problem as problem:
                self.report(number + 1, str(problem))

    def value_in_command(self, found):
        return str(evaluate(found.group(1), self.names))

    def report(self, line, message):
        self.context.problems.add(f"chapters/{self.name}", line, message)

    def prefetch(self):
        """Starts commands and figures, so that two run at a time."""
        from blocks import run_parts, start_figure

        self.read_lets()
        for number, line in enumerate(self.lines):
            made, figure = MADE.match(line), FIGURE.match(line)
            try:
                if made and made.group(1) == "run" and not run_parts(made.group(2))[1].startswith("oracle "):
                    self.context.runs.start(run_parts(self.commands.get(number, made.group(2)))[1])
                elif figure:
                    start_figure(figure.group(1), self.context.runs)
            except Problem:
                pass  # said when the directive itself is woven

    def weave(self):
        """The new text."""
        self.read_head()
        self.read_lets()
        out, prose, prose_start, number = [], [], 1, 0
        while number < len(self.lines):
            line = self.lines[number]
            made, figure, trap = MADE.match(line), FIGURE.match(line), TRAP.match(line)
            if made or figure or trap or line.startswith("```"):
                out += self.sentences(prose, prose_start)
                new, number = (
                    self.made_block(made, number)
                    if made
                    else (
                        self.figure(figure, number)
                        if figure
                        else self.trap(trap, number) if trap else self.plain_fence(number)
                    )
                )
                out, prose, prose_start = out + new, [], number + 1
            else:
                prose.append(line)
                number += 1
        return "\n".join(out + self.sentences(prose, prose_start))

    def sentences(self, lines, first_line):
        if not lines:
            return []
        text = "\n".join(lines)
        for terms in re.findall(r"<!-- terms: (.*?) -->", text, re.S):
            self.terms += [
                tuple(part.strip() for part in term.split("=", 1))
                for term in re.split(r";\s*", terms)
                if "=" in term
            ]
        assertions(text, first_line, self.names, self.report)
        new = weave_inline(text, first_line, self.names, self.report, self.context.check)
        sources = re.search(r"^## Sources.*?(?=^## |\Z)", new, re.M | re.S)
        linted = (
            new
            if not sources
            else new[: sources.start()] + "\n" * sources.group(0).count("\n") + new[sources.end() :]
        )
        numbers_without_source(linted, first_line, self.context.chapter_numbers, self.report)
        return new.split("\n")

    def read_head(self):
        if not self.lines[0].startswith("# "):
            self.report(1, "the first line is the title: # Title")
        covers = re.match(
            r"<!-- chapter covers:\s*(.*?)(?:;\s*trace:\s*(.*?))? -->",
            self.lines[1] if len(self.lines) > 1 else "",
        )
        if covers is None:
            self.report(
                2,
                "the second line says what the chapter covers: <!-- chapter covers: FILES; trace: NAMES -->",
            )
            return
        self.covers, self.trace_names = covers.group(1).split(), (covers.group(2) or "").split()
        for file in self.covers:
            if not (self.context.root / file).is_file():
                self.report(2, f"no such file: {file}")

    def plain_fence(self, number):
        """A block that nothing makes: formulas, sketches, what a reader types."""
        fence = re.match(r"`+", self.lines[number]).group(0)
        language = self.lines[number][len(fence) :].strip()
        for word, directive in NEEDS_DIRECTIVE.items():
            if language == word:
                self.report(
                    number + 1,
                    f"a {word} block would drift; <!-- {directive} --> before it and {END} after it make it",
                )
        last = next(
            (after for after in range(number + 1, len(self.lines)) if self.lines[after].rstrip() == fence),
            None,
        )
        if last is None:
            self.report(number + 1, f"the block has no closing {fence}")
            last = len(self.lines) - 1
        return self.lines[number : last + 1], last + 1

    def made_block(self, made, number):
        kind, arguments = made.groups()
        arguments = self.commands.get(number, arguments)
        last = number + 1
        while last < len(self.lines) and self.lines[last].rstrip() != END:
            if MADE.match(self.lines[last]):
                break
            last += 1
        if last == len(self.lines) or self.lines[last].rstrip() != END:
            self.report(number + 1, f"{kind} without {END} on a line of its own")
            return [self.lines[number]], number + 1
        old = "\n".join(self.lines[number + 1 : last]) + "\n"
        if kind == "exercise":
            self.exercises.append(arguments.strip())
        try:
            new = make_block(
                kind, arguments, old.lstrip("\n") if "oracle" in arguments else old, self.context
            )
        except Problem as problem:
            self.report(number + 1, str(problem))
            return self.lines[number : last + 1], last + 1
        if kind == "exercise":
            new = "\n".join(self.sentences(self.values_first(new), number + 2))
        if self.context.check:
            if block_differs(old, new, kind):
                self.report(number + 1, f"{kind} {arguments}: {first_difference(old, new)}")
            new = old
        return [self.lines[number], *new.rstrip("\n").split("\n"), END], last + 1

    def values_first(self, text):
        """An exercise's text comes from its file with ? for values: they are made before anything is
        compared."""
        return weave_inline(text, 1, self.context.names, lambda line, said: None, False).split("\n")

    def figure(self, figure, number):
        self.figures += 1
        image = next((line for line in self.lines[number + 1 : number + 3] if line.strip()), "")
        shown = re.match(r"!\[(.*)\]\((\S+)\)", image)
        try:
            if shown is None or not shown.group(1).strip():
                raise Problem(
                    "after a figure comes its image with alternative text: ![what it shows](figures/NAME.svg)"
                )
            made = make_figure(figure.group(1), self.context, lambda said: self.report(number + 1, said))
            if made is not None and "chapters/" + shown.group(2) != made:
                raise Problem(f"the image is {shown.group(2)}, but the figure made is {made}")
        except Problem as problem:
            self.report(number + 1, str(problem))
        return [self.lines[number]], number + 1

    def trap(self, trap, number):
        name = trap.group(1)
        self.traps.append((name, number + 1))
        return [f'<!-- trap {name} --><a id="trap-{name}"></a>'], number + 1

    def title(self):
        return self.lines[0].removeprefix("# ")
