"""The rendered book in a real browser: accessible in both themes, narrow screens, search, no dead link.

    python3 tests/book/site_test.py [--all] [--screenshots DIR]

Renders build/book/site first (build/book-python has mdBook, latex2mathml and axe-core). Without --all a few
pages of every kind are looked at in the browser; links are followed on all of them. Needs Chromium and
ChromeDriver. The last line is "N passed, N failed"; exit 2 when something needed is missing.
"""

import argparse
import html.parser
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = ROOT / "build" / "book" / "site"
PYTHON = ROOT / "build" / "book-python" / "bin" / "python"
sys.path.insert(0, str(ROOT / "tests" / "viz"))
sys.dont_write_bytecode = True
from browser import Browser

SOME = ("index", "01-the-whole", "14-cross-attention", "tensors", "files/reference/text/cross_attention.cpp")
AXE = """
window.violations = null;
axe.run(document, {preload: false, resultTypes: ['violations']}).then(found => {
  const places = v => v.nodes.slice(0, 4).map(node => node.html.slice(0, 120)).join(' | ');
  window.violations = found.violations.map(v => v.id + ' (' + v.nodes.length + '): ' + places(v));
}, error => { window.violations = ['axe failed: ' + error]; });
"""
# What reaches beyond the window without being inside something that scrolls sideways.
TOO_WIDE = """
const scrolls = part => ['auto', 'scroll'].includes(getComputedStyle(part).overflowX);
const wide = part => part.getBoundingClientRect().right > 391 || part.scrollWidth > part.clientWidth + 1;
const inside = part => part.closest('math, svg') || scrolls(part) || part.closest('[data-scrolls]');
for (const part of document.querySelectorAll('main *')) if (scrolls(part)) part.dataset.scrolls = '';
return [...document.querySelectorAll('main, main *')]
  .filter(part => part.clientWidth > 0 && wide(part) && !inside(part)).slice(0, 3)
  .map(part => part.tagName + ' is ' + part.scrollWidth + ' wide: ' + part.textContent.trim().slice(0, 60));
"""
results = []


def check(what, wrong):
    results.append((what, wrong))
    if wrong:
        print(f"FAILED: {what}: {wrong}")


class Page(html.parser.HTMLParser):
    """What a page points at, and what can be pointed at in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if (
                name in ("href", "src", "xlink:href")
                and value
                and not (tag == "link" and "canonical" in str(attributes))
            ):
                self.links.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


def dead_links():
    pages = {
        path: Page(path.read_text())
        for path in (*SITE.rglob("*.html"), *(SITE / "figures").glob("*.svg"))
        if path.name not in ("404.html", "toc.html")
    }
    dead, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme in ("https", "mailto", "data", "javascript"):
                continue
            followed += 1
            target = path if not parts.path else (path.parent / urllib.parse.unquote(parts.path)).resolve()
            if parts.scheme or not target.exists():
                dead.append(f"{path.relative_to(SITE)}: {link}")
            elif (
                parts.fragment
                and target in pages
                and urllib.parse.unquote(parts.fragment) not in pages[target].anchors
            ):
                dead.append(f"{path.relative_to(SITE)}: {link}: no such anchor")
    check(
        f"{followed} links of {len(pages)} pages lead somewhere",
        "; ".join(dead[:12]) if dead or followed < 100 else "",
    )


def wait(browser, expression, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        found = browser.run(f"return {expression}")
        if found:
            return found
        time.sleep(0.05)
    return None


def look_at(browser, page, dark, axe, screenshots):
    theme = "dark" if dark else "light"
    browser.size(1200, 900)
    browser.open((SITE / f"{page}.html").as_uri())
    browser.run("localStorage.setItem('mdbook-theme', arguments[0])", "navy" if dark else "light")
    browser.open((SITE / f"{page}.html").as_uri() + "?theme")
    browser.run(axe)
    browser.run(AXE)
    found = wait(browser, "window.violations")
    found = browser.run("return window.violations") if found is None else found
    check(f"axe finds nothing in {page}, {theme}", "axe did not end" if found is None else "\n  ".join(found))
    if screenshots:
        browser.screenshot(screenshots / f"{page.replace('/', '-')}-{theme}.png")
    browser.size(390, 844)
    browser.open((SITE / f"{page}.html").as_uri() + "?narrow")  # as a phone opens it: without the side bar
    check(f"{page} is no wider than 390 pixels, {theme}", "; ".join(browser.run(TOO_WIDE)))
    if screenshots:
        browser.screenshot(screenshots / f"{page.replace('/', '-')}-{theme}-390.png")
    said = [line for line in browser.console() if "favicon" not in line]
    check(f"the console is silent in {page}, {theme}", "; ".join(said))


def search(browser):
    browser.size(1200, 900)
    browser.open((SITE / "index.html").as_uri() + "?search=softmax")
    found = wait(browser, "document.querySelectorAll('#mdbook-searchresults li, #searchresults li').length")
    check("the search finds softmax, from disk", "" if found else "it found nothing")


def own_script(browser):
    """mdBook's own script runs: it colours code, and its menu changes the theme."""
    browser.size(1200, 900)
    browser.open((SITE / "21-linear.html").as_uri())
    coloured = wait(browser, "!!document.querySelector('.hljs-keyword')")
    check("code is coloured", "" if coloured else "it is not")
    browser.run("document.getElementById('mdbook-theme-toggle').click()")
    browser.run("document.getElementById('mdbook-theme-navy').click()")
    dark = wait(browser, "document.documentElement.classList.contains('navy')")
    check("the menu makes the page dark", "" if dark else "it does not")


def next_and_previous(browser):
    browser.open((SITE / "index.html").as_uri())
    seen = set()
    for _ in range(60):
        here = browser.run("return location.pathname")
        if here in seen:
            break
        seen.add(here)
        if not browser.run(
            "const next = document.querySelector('a[rel~=next]'); if (next) next.click(); return !!next"
        ):
            break
    pages = len(list(SITE.glob("[0-9][0-9]-*.html")))
    check("'next' leads through every chapter", "" if len(seen) >= pages else f"{len(seen)} pages of {pages}")


def main():
    parser = argparse.ArgumentParser(description="the book's site in a browser")
    parser.add_argument("--all", action="store_true", help="every chapter in the browser")
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    axes = list(
        (ROOT / "build" / "book-python").glob("lib/python*/site-packages/axe_playwright_python/axe.min.js")
    )
    if not axes:
        print("site_test: build/book-python is missing; `make book` brings it", file=sys.stderr)
        return 2
    run = subprocess.run([PYTHON, ROOT / "chapters" / "site"], capture_output=True, text=True)
    check("the site is rendered", "" if run.returncode == 0 else run.stderr + run.stdout)
    dead_links()
    pages = [page for page in SOME if (SITE / f"{page}.html").is_file()]
    if arguments.all:
        pages += [
            path.stem
            for path in sorted(SITE.glob("*.html"))
            if path.stem not in pages and path.stem not in ("404", "print", "toc")
        ]
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            for dark in (False, True):
                for page in pages:
                    look_at(browser, page, dark, axes[0].read_text(), arguments.screenshots)
            search(browser)
            own_script(browser)
            next_and_previous(browser)
        finally:
            browser.close()
    failed = [result for result in results if result[1]]
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
