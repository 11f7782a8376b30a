"""A page for each source file: numbered lines with anchors, and links back to the chapters that quote or
explain it."""

import html
import re

from pages import page_name
from parts import CHAPTERS, ROOT, SITE, numbered, title

TEXT = {".cpp", ".h", ".py", ".md", ".json", ".jinja", ".sh", ".txt", ".gdb", ""}
ROOMS = ("reference", "base", "viz", "trace")
PAGE = """<!doctype html>
<html lang="en" class="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} - The Pictor book</title>
<link rel="stylesheet" href="{up}files/listing.css">
<script src="{up}files/listing.js"></script>
</head>
<body>
<header><nav aria-label="Book"><a href="{up}index.html">The Pictor book</a></nav>
<h1>{name}</h1>{told}</header>
<main>{body}</main>
</body>
</html>
"""


def quotes():
    """file -> [(first line, last line, chapter, its title)], from the links under quoted code."""
    found = {}
    for _, path in numbered():
        for file, first, last in re.findall(
            r"<sub>\[[^\]]*\]\(\.\./([^#)]+)#L(\d+)(?:-L(\d+))?\)</sub>", path.read_text()
        ):
            found.setdefault(file, []).append((int(first), int(last or first), path.stem, title(path)))
    return found


def covers():
    """file -> [(chapter, its title)], from the second line of each chapter."""
    found = {}
    for _, path in numbered():
        line = re.match(r"[^\n]*\n<!-- chapter covers:\s*([^;]*?)(?:;.*)? -->", path.read_text())
        for file in line.group(1).split() if line else ():
            found.setdefault(file, []).append((path.stem, title(path)))
    return found


def traps():
    """name -> chapter that tells it."""
    return {
        name: path.stem
        for _, path in numbered()
        for name in re.findall(r'id="trap-([a-z0-9_]+)"', path.read_text())
    }


def chapter_links(chapters, up):
    unique = dict(chapters)
    links = ", ".join(f'<a href="{up}{stem}.html">{html.escape(name)}</a>' for stem, name in unique.items())
    return f"<p>Explained in: {links}</p>" if links else ""


def line_html(text, trap_of, up):
    text = html.escape(text)

    def trap(found):
        stem = trap_of.get(found.group(1))
        return (
            f'<a href="{up}{stem}.html#trap-{found.group(1)}">{found.group(0)}</a>'
            if stem
            else found.group(0)
        )

    return re.sub(r"TRAP\(([a-z0-9_]+)\)", trap, text)


def numbered_lines(text, quoted, trap_of, up):
    starts = {}
    for first, _, stem, name in quoted:
        starts.setdefault(first, {})[stem] = name
    rows = []
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        back = "".join(
            f'<a class="back" href="{up}{stem}.html">quoted in {html.escape(name)}</a>'
            for stem, name in starts.get(number, {}).items()
        )
        rows.append(
            f'<span class="line" id="L{number}"><a class="number" href="#L{number}" aria-label="line '
            f'{number}">'
            f"{number}</a>{line_html(line, trap_of, up)}{back}</span>"
        )
    return '<pre tabindex="0" aria-label="source">' + "\n".join(rows) + "</pre>"


def folder_page(folder, up):
    names = sorted(
        path.name + ("/" if path.is_dir() else "")
        for path in folder.iterdir()
        if not path.name.startswith((".", "__"))
    )
    return "<ul>" + "".join(f"<li><code>{html.escape(name)}</code></li>" for name in names) + "</ul>"


def write_listings(linked):
    """Pages of every source of the programs and of whatever a chapter links to; returns how many."""
    files = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".cpp", ".h")
    }
    quoted, covered, trap_of = quotes(), covers(), traps()
    for name in sorted(files | linked):
        place = ROOT / name
        if place.suffix in (".png", ".svg"):
            (SITE / "files" / name).parent.mkdir(parents=True, exist_ok=True)
            (SITE / "files" / name).write_bytes(place.read_bytes())
            continue
        up = "../" * (name.count("/") + 1)
        told = chapter_links(
            covered.get(name, []) + [(stem, said) for _, _, stem, said in quoted.get(name, [])], up
        )
        if place.is_dir():
            body = folder_page(place, up)
        elif place.suffix in TEXT and place.stat().st_size < 400_000:
            body = numbered_lines(place.read_text(errors="replace"), quoted.get(name, []), trap_of, up)
        else:
            body = f"<p>{place.stat().st_size} bytes, not shown here.</p>"
        page = SITE / "files" / page_name(name)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(PAGE.format(theme="light", name=html.escape(name), up=up, told=told, body=body))
    for asset in ("listing.css", "listing.js"):
        (SITE / "files" / asset).write_bytes((CHAPTERS / "site" / "theme" / asset).read_bytes())
    return len(files | linked)
