"""What only the whole book can tell: links, traps, files without a chapter, exercises."""

import re

from traces import ROOT

TRAP_ROOMS = ("base", "reference", "viz", "trace", "models")


def slug(heading):
    """The anchor that code hosts and mdBook make of a heading."""
    text = re.sub(r"<[^>]*>|[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path):
    text = path.read_text()
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", outside, re.M)} | set(
        re.findall(r'id="([^"]+)"', text)
    )


def without_code(text):
    blank = lambda found: re.sub(r"[^\n]", " ", found.group(0))
    return re.sub(r"`[^`\n]*`", blank, re.sub(r"^(`{3,})[^`]*?^\1", blank, text, flags=re.M | re.S))


def dead_link(path, target):
    """Why it is dead, or nothing."""
    if re.match(r"https?://[\w.-]+(/\S*)?$", target):
        return ""
    if "://" in target or target.startswith(("/", "mailto:")):
        return "neither a https address nor a relative path"
    file, _, anchor = target.partition("#")
    place = (path.parent / file).resolve() if file else path.resolve()
    if not place.exists():
        return "leads nowhere"
    if ROOT not in place.parents and place != ROOT:
        return "leads out of the repository"
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor)
    if lines and place.suffix != ".md":
        length = place.read_text().count("\n") + 1
        return "" if int(lines.group(2) or lines.group(1)) <= length else f"{file} has only {length} lines"
    if anchor and (place.suffix != ".md" or anchor not in anchors(place)):
        return f"{file or 'this chapter'} has no anchor {anchor!r}"
    return ""


def check_links(chapter, text, report):
    clean = without_code(text)
    for found in re.finditer(r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)|href=\"([^\"]+)\"", clean):
        target = found.group(1) if found.group(1) is not None else found.group(2)
        wrong = dead_link(chapter.path, target)
        if wrong:
            report(clean.count("\n", 0, found.start()) + 1, f"link {target}: {wrong}")


def traps_in_source():
    """name -> file:line of its first mark."""
    found = {}
    for room in TRAP_ROOMS:
        for file in sorted((ROOT / room).rglob("*")):
            if file.suffix in (".cpp", ".h", ".py"):
                for number, line in enumerate(file.read_text().split("\n"), 1):
                    for name in re.findall(r"TRAP\(([a-z0-9_]+)\)", line):
                        found.setdefault(name, f"{file.relative_to(ROOT)}:{number}")
    return found


def check_book(chapters, exercises, problems):
    """Across chapters. Whoever writes is told in which file the missing thing is."""
    marked, told = traps_in_source(), {}
    for chapter in chapters:
        for name, line in chapter.traps:
            if name not in marked:
                chapter.report(line, f"no TRAP({name}) in {', '.join(TRAP_ROOMS)}")
            if name in told:
                chapter.report(line, f"trap {name} is told in {told[name]} already; a name has one anchor")
            told.setdefault(name, chapter.name)
        for number in chapter.exercises:
            if number not in exercises or number.split(".")[0] != chapter.name[:2]:
                chapter.report(
                    1,
                    f"exercise {number}: exercises of this chapter are in exercises/{chapter.name[:2]}.json",
                )
        if chapter.name[:2].isdigit() and len(chapter.exercises) < 2 and chapter.covers:
            chapter.report(1, f"has {len(chapter.exercises)} exercises; at least two would be right")
    for name in sorted(set(marked) - set(told)):
        file, line = marked[name].split(":")
        problems.add(file, int(line), f"TRAP({name}) is told in no chapter: <!-- trap {name} -->")
    covered = {file for chapter in chapters for file in chapter.covers}
    for room in ("text", "vision"):
        for file in sorted((ROOT / "reference" / room).glob("*.*")):
            if str(file.relative_to(ROOT)) not in covered:
                problems.add(str(file.relative_to(ROOT)), 1, "no chapter covers this file")
    used = {number for chapter in chapters for number in chapter.exercises}
    for number in sorted(set(exercises) - used):
        problems.add(
            f"chapters/exercises/{number.split('.')[0]}.json", 1, f"exercise {number} is in no chapter"
        )
