"""The report page in a real browser: what it shows is read back and compared with the trace it was made from.

    python3 tests/viz/page_test.py [--trace DIR] [--viz build/viz] [--reference build/reference]
    [--screenshots DIR]

Needs Chromium and ChromeDriver (Debian: chromium, chromium-driver) and html5lib (python3-html5lib). Without
--trace it records a run of the shipped model. Exit 0: all checks passed; 1: one failed; 2: something needed
is missing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import html5lib  # noqa: F401 page_basics needs it
except ImportError:
    print("page_test: html5lib is not installed; install python3-html5lib", file=sys.stderr)
    sys.exit(2)

from browser import Browser
from page_basics import (check_first_word, check_graphs, check_keys, check_patches, check_rest, check_spread,
                         check_tab, check_tokens)
from page_interactions import (check_in_sight, check_lock, check_self_attention, check_text_only, check_tour,
                               check_true_colours)
from page_numbers import check_numbers
from page_truth import Truth, check, counted, failures


def check_preferences(page):
    """Reduced motion stops what moves; a dark page is dark everywhere and still has contrast."""
    moving = ("return [...document.querySelectorAll('*')].filter(e => "
              "getComputedStyle(e).transitionDuration !== '0s' || "
              "getComputedStyle(e).animationName !== 'none').length")
    page.prefer(still=False)
    check("words fade in where motion is welcome", page.run(moving) > 0)
    page.prefer(still=True)
    check("nothing moves under reduced motion", page.run(moving) == 0)
    contrast = """const light = c => { const v = c.match(/[\\d.]+/g).slice(0,
            3).map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
        // What is seen behind a text: its own ground over that of what it stands in.
        const ground = e => { if (!e) return 'rgb(255, 255, 255)';
            const c = getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).map(Number);
            const own = c.length < 4 ? 1 : c[3];
            if (own === 1) return `rgb(${c.join(', ')})`;
            const below = ground(e.parentElement).match(/[\\d.]+/g).map(Number);
            return `rgb(${below.map((b, i) => b + own * (c[i] - b)).join(', ')})`; };
        const low = [];
        const texts = 'h1,h2,p,label,button,td,th,kbd,figcaption,li,output,.part,.words span';
        for (const e of document.querySelectorAll(texts)) {
            if (!e.textContent.trim() || e.closest('[hidden]') || !e.getClientRects().length) continue;
            const a = light(getComputedStyle(e).color), b = light(ground(e)), ratio = (Math.max(a,
                b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) low.push([e.tagName, e.className, e.textContent.slice(0, 30), ratio.toFixed(2)]);
        }
        const box = document.querySelector('#graph .node path, #graph .node polygon');
        return {page: light(getComputedStyle(document.body).backgroundColor), low: low.slice(0, 5),
            box: light(getComputedStyle(box).fill),
            ink: light(getComputedStyle(document.querySelector('#graph .node text')).fill)}"""
    for dark in (False, True):
        page.prefer(dark, True)
        seen = page.run(contrast)
        check(f"dark {dark}: the page is", seen["page"] < 0.05 if dark else seen["page"] > 0.9, seen)
        check(f"dark {dark}: every text has a contrast of 4.5", seen["low"] == [], seen["low"])
        check(f"dark {dark}: the graph too", (max(seen["box"], seen["ink"]) + 0.05) /
              (min(seen["box"], seen["ink"]) + 0.05) >= 4.5 and (seen["box"] < 0.2) == dark, seen)
    page.prefer()


def check_page(page, truth, html, options):
    screenshots = options.screenshots
    page.size(1280, 900)
    page.prefer()
    start = time.monotonic()
    page.open(html.as_uri())
    while page.run(
            "return document.body.dataset.ready !== 'yes' || Number(document.body.dataset.pictures || 0) < "
            "arguments[0]",
            len(truth.header["images"])) and time.monotonic() - start < 20:
        time.sleep(0.02)
    seconds = time.monotonic() - start
    check("the page opens in under 2 seconds", seconds < 2, f"{seconds:.2f} s")
    check_first_word(page, truth)
    check_tokens(page, truth)
    check_keys(page, truth)
    check_lock(page, truth)
    check_true_colours(page, truth)
    check_self_attention(page, truth)
    check_tour(page, truth)
    check_in_sight(page, truth)
    check_patches(page, truth)
    check_rest(page, truth, html)
    check_spread(page, truth)
    check_tab(page, html)
    check_graphs(page, truth, html)
    check_numbers(page, truth, html, options.trace_program)
    check_preferences(page)
    word = max(range(truth.n_prompt,
                     len(truth.tokens) - 1), key=lambda t: truth.strongest(truth.layers[-1], None, t)[1])
    page.run(
        "window.scrollTo(0, 0); document.querySelectorAll('.tokens "
        "button')[arguments[0]].focus({preventScroll: true})",
        word)
    for name, width, height, dark in [("light", 1280, 900, False), ("dark", 1280, 900, True),
                                      ("small", 390, 800, False)]:
        page.size(width, height)
        page.prefer(dark)
        time.sleep(0.2)
        check(f"{name}: nothing is wider than the window",
              page.run("return document.documentElement.scrollWidth <= window.innerWidth"),
              page.run("return [document.documentElement.scrollWidth, window.innerWidth]"))
        if screenshots:
            screenshots.mkdir(parents=True, exist_ok=True)
            page.size(width, page.run("return document.documentElement.scrollHeight"))
            page.screenshot(screenshots / f"page-{name}.png")
    messages = page.console()
    check("no console errors", not messages, messages)


HOSTILE = [
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 2</script>",
    "<img src=x onerror='window.hacked=3'>", "\"'`${window.hacked=4}", " \U0001F600",
    " \u05e9\u05dc\u05d5\u05dd", "&lt;b&gt;", "javascript:window.hacked=5", "]]>", "<!--", "\u2028",
    "{{constructor}}"]


AXE = """
window.violations = null;
axe.run(document, {preload: false, resultTypes: ['violations']}).then(found => {
  const places = v => v.nodes.slice(0, 4).map(node => node.html.slice(0, 160)).join(' | ');
  window.violations = found.violations.map(v => v.id + ' (' + v.nodes.length + '): ' + places(v));
}, error => { window.violations = ['axe failed: ' + error]; });
"""


def check_accessible(page, what, html):
    """axe-core finds nothing wrong, in both themes, on a desk and on a phone."""
    axe = next(Path("build/book-python").glob("lib/python*/site-packages/axe_playwright_python/axe.min.js"))
    for dark in (False, True):
        for width, height in ((1440, 900), (390, 844)):
            page.size(width, height)
            page.prefer(dark, True)
            page.open(html.as_uri())
            time.sleep(1.5)
            page.run(axe.read_text())
            page.run(AXE)
            found = None
            for _ in range(300):
                found = page.run("return window.violations")
                if found is not None:
                    break
                time.sleep(0.1)
            wrong = "axe did not end" if found is None else "\n  ".join(found)
            theme = "dark" if dark else "light"
            check(f"axe finds nothing on the {what}, {theme}, {width} wide", not wrong, wrong)
    page.prefer()


def check_difference_page(page, options, trace, folder):
    """The page of trace diff, on a run under the other rules."""
    other, html = folder / "other-rules", folder / "diff.html"
    image = options.image or str(sorted(Path("models/pictor/pictures").glob("*.png"))[0])
    subprocess.run([options.reference, "run", "--image", image, "--prompt", "What is in this image?",
                    "--reference", "transformers", "--trace", str(other)],
                   check=True, stdout=subprocess.DEVNULL)
    difference = subprocess.run([options.trace_program, "diff", str(trace), str(other), "--html", str(html)],
                                stdout=subprocess.DEVNULL)
    check("trace diff finds a difference", difference.returncode == 1, difference.returncode)
    check_accessible(page, "page of a difference", html)


def check_two_pictures(page, reference, viz, folder):
    """Two pictures stand on one scale: the legend ends at the strongest patch of both."""
    run, html = folder / "two", folder / "two.html"
    pictures = [
        argument for name in ("demo", "tile")
        for argument in ("--image", f"models/pictor/pictures/{name}.png")]
    subprocess.run([
        reference, "run", *pictures, "--prompt", "What is in this image?", "--max-new-tokens", "2", "--trace",
        str(run), "--trace-only", "*cross_attn.probs", "--trace-only", "*mask"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([viz, "report", str(run), "--output", str(html)], check=True, stdout=subprocess.DEVNULL)
    page.open(html.as_uri())
    page.wait_ready()
    seen = page.run(
        """return {most: document.getElementById('most').textContent,
            stages: [...document.querySelectorAll('.stage')].map(s => ({
                value: Number(s.querySelector('canvas').dataset.value),
                caption: s.querySelector('figcaption').textContent,
        sum: [...s.querySelectorAll('.ledger-words b')].reduce((a, b) => a + parseFloat(b.textContent),
            0)}))}"""
    )
    strong, weak = sorted(seen["stages"], key=lambda stage: -stage["value"])
    check("two pictures: the legend ends at the strongest of both", strong["caption"].endswith(seen["most"])
          and not weak["caption"].endswith(seen["most"]), seen)
    check("two pictures: each ledger adds up to 100",
          all(abs(stage["sum"] - 100) < 1e-6 for stage in seen["stages"]), seen)


def check_hostile(page, trace, viz, folder):
    """Tokens that would be markup or script: shown as the text they are, and nothing of them runs."""
    spoiled = folder / "<b>spoiled"
    shutil.copytree(trace, spoiled)
    header = json.loads((spoiled / "trace.json").read_text())
    for part in ("prompt", "generated"):
        texts = header[part]["token_texts"]
        header[part]["token_texts"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(texts))]
    for entry in header["tensors"]:
        entry["source"] = "javascript:window.hacked=6"
        entry["chapter"] = "\"><script>window.hacked = 7</script>"
    header["reference"] = header["producer"] = "<svg onload='window.hacked=8'>"
    (spoiled / "trace.json").write_text(json.dumps(header))
    html = folder / "hostile.html"
    subprocess.run(
        [viz, "report", str(spoiled), "--output", str(html)], check=True, stdout=subprocess.DEVNULL)
    page.size(1280, 900)
    page.open(html.as_uri())
    for _ in range(100):
        if page.run("return document.body.dataset.ready === 'yes'"):
            break
        time.sleep(0.05)
    page.run(
        "for (const b of document.querySelectorAll('.tokens button')) b.focus(); const s = "
        "document.getElementById('search'); s.value = 'probs'; s.dispatchEvent(new Event('input'))"
    )
    check("nothing of a hostile trace runs", page.run("return window.hacked === undefined"))
    check("the page has its own two scripts", page.run("return document.scripts.length") == 2)
    shown = page.run("return [...document.querySelectorAll('#prompt button')].map(b => b.textContent)")
    check("hostile words are shown as they are", all(a == b for a, b in zip(shown, HOSTILE)),
          shown[:len(HOSTILE)])
    check("a hostile trace gives no console errors", not page.console())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--viz", default="build/viz")
    parser.add_argument("--reference", default="build/reference")
    parser.add_argument("--trace-program", default="build/trace")
    parser.add_argument("--image", default="")
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    if not list(Path("build/book-python").glob("lib/python*/site-packages/axe_playwright_python/axe.min.js")):
        print("page_test: build/book-python is missing; `make book` brings it, and axe-core with it",
              file=sys.stderr)
        return 2
    if not shutil.which("chromedriver"):
        print("page_test: chromedriver is not installed; install chromium and chromium-driver",
              file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pictor-page-") as name:
        folder = Path(name)
        trace = options.trace
        if trace is None:
            trace = folder / "run"
            image = options.image or str(sorted(Path("models/pictor/pictures").glob("*.png"))[0])
            subprocess.run([
                options.reference, "run", "--image", image, "--prompt", "What is in this image?", "--trace",
                str(trace)], check=True, stdout=subprocess.DEVNULL)
        html = folder / "report.html"
        subprocess.run([options.viz, "report", str(trace), "--output",
                        str(html)], check=True, stdout=subprocess.DEVNULL)
        check("the page is under 4 MB", html.stat().st_size < 4e6, html.stat().st_size)
        page = Browser(folder / "profile")
        try:
            check_page(page, Truth(trace), html, options)
            check_two_pictures(page, options.reference, options.viz, folder)
            check_text_only(page, options.reference, options.viz, folder)
            check_hostile(page, trace, options.viz, folder)
            check_accessible(page, "report", html)
            check_difference_page(page, options, trace, folder)
        finally:
            page.close()
    print(f"{counted['checks'] - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
