"""Renders the woven chapters as a site that reads from disk, without a network.

    build/book-python/bin/python chapters/site [--pdf]

Needs mdbook and latex2mathml (`make book` brings them). Writes build/book/site: index.html is the first
page, print.html the whole book; with --pdf also pictor-book.pdf, printed by Chromium.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from listings import write_listings
from pages import page_name, rewritten
from parts import AFTER, CHAPTERS, SITE, WORK, numbered, summary

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def make_source():
    """mdBook's input folder; returns the repository files that chapters link to."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "src").mkdir(parents=True)
    shutil.copy(CHAPTERS / "book.toml", WORK)
    shutil.copytree(CHAPTERS / "site" / "theme", WORK / "theme")
    linked = set()
    pages = [path for _, path in numbered()] + [
        CHAPTERS / name for name in AFTER if (CHAPTERS / name).is_file()
    ]
    for path in pages:
        (WORK / "src" / path.name).write_text(rewritten(path, linked))
    (WORK / "src" / "SUMMARY.md").write_text(summary())
    shutil.copytree(
        CHAPTERS / "figures", WORK / "src" / "figures", ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    for drawing in (WORK / "src" / "figures").glob("*.svg"):
        drawing.write_text(with_page_links(drawing.read_text(), linked))
    return linked


def with_page_links(svg, linked):
    """A drawing's links to chapters and sources lead to their pages; the sources are noted."""

    def page(found):
        file, anchor = found.group(1), found.group(2)
        if file.startswith("chapters/") and file.endswith(".md"):
            return f'href="../{file[9:-3]}.html{anchor}"'
        linked.add(file)
        return f'href="../files/{page_name(file)}{anchor}"'

    return re.sub(r'href="\.\./\.\./([^"#]+)(#?[^"]*)"', page, svg)


# mdBook's frame, where an accessibility checker finds fault: landmarks, and a label that acts as a button.
REPAIRS = (
    (
        '<div id="mdbook-menu-bar" class="menu-bar sticky">',
        '<div id="mdbook-menu-bar" class="menu-bar sticky" role="banner">',
    ),
    (
        '<div id="mdbook-search-wrapper" class="hidden">',
        '<div id="mdbook-search-wrapper" class="hidden" role="search">',
    ),
    (
        '<label id="mdbook-sidebar-toggle" class="icon-button" for="mdbook-sidebar-toggle-anchor"',
        '<button type="button" id="mdbook-sidebar-toggle" class="icon-button"',
    ),
    ("</label>", "</button>"),
)


def repair():
    for page in SITE.glob("*.html"):
        text = page.read_text()
        if 'id="mdbook-menu-bar"' in text:
            for old, new in REPAIRS:
                if old not in text:
                    sys.exit(f"site: {page.name}: mdBook's page has changed: it holds no {old}")
                text = text.replace(old, new, 1)
            page.write_text(text)


def render():
    shutil.rmtree(SITE, ignore_errors=True)
    mdbook = Path(sys.executable).parent / "mdbook"
    run = subprocess.run([mdbook, "build", WORK], capture_output=True, text=True)
    if run.returncode != 0 or "ERROR" in run.stderr:
        sys.exit(f"site: mdbook: exit {run.returncode}: {run.stderr}")
    repair()


def print_pdf():
    with tempfile.TemporaryDirectory() as profile:
        pdf = SITE / "pictor-book.pdf"
        command = [
            "chromium",
            *CHROMIUM,
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={pdf}",
            (SITE / "print.html").as_uri(),
        ]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not pdf.is_file() or pdf.read_bytes()[:5] != b"%PDF-":
            sys.exit(f"site: chromium printed nothing: {run.stderr[-600:]}")


def main():
    linked = make_source()
    render()
    pages = write_listings(linked)
    if "--pdf" in sys.argv[1:]:
        print_pdf()
    print(f"{len(numbered())} chapters and {pages} listings: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
