"""Pages that are made whole: the glossary, from every chapter's terms, and the index of tensors, from a
run."""

import re

from problem import Problem
from traces import ROOT

FOLDER = ROOT / "chapters"


def glossary(chapters):
    words = {}
    for chapter in chapters:
        for word, meaning in chapter.terms:
            words.setdefault(word.lower(), (word, meaning, chapter))
    lines = [
        "# Glossary",
        "<!-- made by chapters/weave from the terms at the end of each chapter -->",
        "",
        "The words of this book, each with the chapter that explains it first. Names in `code` are names in "
        "the source.",
        "",
    ]
    for key in sorted(words, key=lambda word: re.sub(r"\W", "", word)):
        word, meaning, chapter = words[key]
        meaning = meaning[:1].upper() + meaning[1:].rstrip(".")
        lines.append(
            f'- <a id="{anchor_of(key)}"></a>**{word}**: {meaning}. ([{chapter.title()}]({chapter.name}))'
        )
    return "\n".join(lines) + "\n"


def anchor_of(word):
    return "term-" + re.sub(r"\W+", "-", word).strip("-")


def pattern(name):
    """Layers of one kind have one row: their number becomes N."""
    return re.sub(r"\.layers\.\d+", ".layers.N", name)


def chapter_of(entry, chapters):
    """Of the chapters on the same side (text, vision), the one that names the tensor most exactly, the
    earlier of equals; where none names it, the one that covers its source file."""
    file = entry.get("source", "").rpartition(":")[0]
    folder = file.rpartition("/")[0]
    name = pattern(entry["name"])
    best, longest = None, 0
    for chapter in chapters:
        if folder != "reference" and not any(covered.startswith(folder + "/") for covered in chapter.covers):
            continue
        for named in map(pattern, chapter.trace_names):
            if len(named) > longest and ("." + name).endswith("." + named):
                best, longest = chapter, len(named)
    return best or next((chapter for chapter in chapters if file in chapter.covers), None)


def tensor_rows(context, chapters, report):
    rows = {}
    for run in ("demo", "hf"):
        for entry in context.names[run].load().entries:
            key = pattern(entry["name"])
            if key in rows:
                continue
            chapter = chapter_of(entry, chapters)
            file, _, line = entry.get("source", "").rpartition(":")
            if chapter is None and file.startswith(("reference/text/", "reference/vision/")):
                report(f"{entry['name']} is recorded in {file}, which no chapter covers")
            where = f"[{file}:{line}](../{file}#L{line})" if (ROOT / file).is_file() else file
            told = f"[{chapter.title()}]({chapter.name})" if chapter else ""
            rows[key] = f"| `{key}` | {', '.join(entry['axes'])} | {told} | {where} |"
    return list(rows.values())


def tensors(chapters, context):
    report = lambda said: context.problems.add("chapters/tensors.md", 1, said)
    lines = [
        "# Index of tensors",
        "<!-- made by chapters/weave from a trace of the shipped model -->",
        "",
        "Every tensor that a run records, in the order of computation: its axes, the chapter that explains "
        "it, and the line "
        "of the source that writes it down. N stands for a layer's number. `build/trace show build/book/demo "
        "NAME` shows one.",
        "",
        "| tensor | axes | chapter | source |",
        "| --- | --- | --- | --- |",
        *tensor_rows(context, chapters, report),
    ]
    return "\n".join(lines) + "\n"


def generated_pages(chapters, context):
    try:
        return [
            (FOLDER / "glossary.md", glossary(chapters)),
            (FOLDER / "tensors.md", tensors(chapters, context)),
        ]
    except Problem as problem:
        context.problems.add("chapters/tensors.md", 1, str(problem))
        return []
