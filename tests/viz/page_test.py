"""The report page in a real browser: what it shows is read back and compared with the trace it was made from.

    python3 tests/viz/page_test.py [--trace DIR] [--viz build/viz] [--reference build/reference]
    [--screenshots DIR]

Needs Chromium and ChromeDriver (Debian: chromium, chromium-driver) and html5lib (python3-html5lib). Without
--trace it records a run of the shipped model. Exit 0: all checks passed; 1: one failed; 2: something needed
is missing.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import html5lib
except ImportError:
    print("page_test: html5lib is not installed; install python3-html5lib", file=sys.stderr)
    sys.exit(2)

from browser import Browser
from markup_test import html_problems
from page_interactions import (check_in_sight, check_lock, check_self_attention, check_text_only, check_tour,
                               check_true_colours)
from page_truth import Truth, check, counted, failures, same_map

def check_tokens(page, truth):
    buttons = page.run(
        "return [...document.querySelectorAll('.tokens button')].map(b => { const r = "
        "b.getBoundingClientRect(); return [b.textContent, r.x + r.width / 2, r.y + r.height / 2] })"
    )
    check("every token has a button", len(buttons) == len(truth.tokens), len(buttons))
    for token in range(len(buttons)):
        x, y = page.run(
            "const b = document.querySelectorAll('.tokens button')[arguments[0]]; b.scrollIntoView({block: "
            "'center'}); const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]",
            token)
        page.move(x, y)
        check(f"hovering token {token} chooses it",
              page.run("return document.body.dataset.token") == str(token))
        if token > 0 and truth.place(token):
            same_map(page, truth, truth.layers[-1], None, token, "hover")
            sentence = page.run("return document.getElementById('sentence').textContent")
            check(f"token {token}: the sentence names row {token - 1}", f"row {token - 1}," in sentence
                  and f"token {token}." in sentence, sentence)


def check_keys(page, truth):
    last = len(truth.tokens) - 3
    page.move(2, 2)
    page.run("document.querySelectorAll('.tokens button')[arguments[0]].focus()", last)
    same_map(page, truth, truth.layers[-1], None, last, "focus")
    page.key("down")
    same_map(page, truth, truth.layers[max(0, len(truth.layers) - 2)], None, last, "layer key")
    page.key("up")
    page.key("left")
    check("the left key goes to the word before",
          page.run("return document.body.dataset.token") == str(last - 1))
    for head in range(truth.heads(truth.layers[-1]) - 1, -1, -1):
        page.key("[")
        same_map(page, truth, truth.layers[-1], head, last - 1, "head key")
    page.key("]")
    same_map(page, truth, truth.layers[-1], 1, last - 1, "head key back")
    page.key("m")
    same_map(page, truth, truth.layers[-1], None, last - 1, "mean key")
    page.key("p")
    page.key("right")
    page.key("p")
    check("two maps are pinned",
          page.run("return document.querySelectorAll('.pin').length") == 2 * len(truth.header["images"]))


def check_tab(page, html):
    """Everything that can be used is reached with the Tab key alone, and shows that it has the focus."""
    page.open(html.as_uri())
    page.wait_ready()
    seen, bare = [], []
    for _ in range(260):
        page.key("tab")
        name, outline = page.run(
            "const e = document.activeElement; return [e.id || (e.closest('#graph') ? 'box' : "
            "e.dataset.token !== undefined ? 'token' : e.tagName), getComputedStyle(e).outlineStyle]"
        )
        seen.append(name)
        if outline == "none":
            bare.append(name)
        if name == "search":
            break
    for wanted in ("layer", "head", "tour-start", "play", "pin", "true-colours", "plain", "CANVAS", "token",
                   "graph-layer", "zoom-in", "graph", "box", "search"):
        check(f"Tab reaches {wanted}", wanted in seen, seen)
    check("whatever has the focus is outlined", not bare, bare)


def check_patches(page, truth):
    word = max(range(truth.n_prompt,
                     len(truth.tokens) - 1), key=lambda t: truth.strongest(truth.layers[-1], None, t)[1])
    patch, _ = truth.strongest(truth.layers[-1], None, word)
    image = truth.header["images"][0]
    columns = image["tiles"][1] * (image["tile_size"] // image["patch_size"])
    box = page.run(
        "const c = document.querySelector('.stage canvas'); c.scrollIntoView({block: 'center'}); const r = "
        "c.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
    )
    x = box[0] + (patch % columns + 0.5) * image["patch_size"] / image["resized"][1] * box[2]
    y = box[1] + (patch // columns + 0.5) * image["patch_size"] / image["resized"][0] * box[3]
    page.move(x, y)
    weights = page.run(
        "return [...document.querySelectorAll('.tokens button')].map(b => Number(b.dataset.weight))")
    for token in range(1, len(truth.tokens)):
        wanted = truth.grid(truth.layers[-1], None,
                            token)[patch] if truth.place(token) and truth.sees(token) else 0
        most = max(truth.grid(truth.layers[-1], None, token)) if truth.place(token) else 0
        check(f"patch {patch} lights token {token} as much as it was read",
              abs(weights[token] - wanted) <= most / 65535 + 1e-7, f"{weights[token]} {wanted}")
    pointed = page.run("return document.getElementById('pointed').textContent")
    check("the patch is named", f"row {patch // columns}, column {patch % columns}:" in pointed, pointed)
    page.run("document.querySelector('.stage canvas').focus()")
    page.key("right")
    page.key("down")
    page.key("escape")
    check("Escape leaves the picture",
          page.run("return document.getElementById('pointed').textContent") == "")


def check_rest(page, truth, html):
    steps = page.run(
        "return [...document.querySelectorAll('#steps tr')].map(r => [...r.querySelectorAll('.words "
        "span')].map(s => [s.firstChild.textContent, parseFloat(s.lastChild.textContent)]))"
    )
    check("every step has its next words", len(steps) == len(truth.header["steps"]), len(steps))
    for index, step in enumerate(steps):
        check(f"step {index}: greedy took the likeliest",
              truth.tokens[truth.n_prompt + index].strip() == step[0][0].strip(), step)
    page.run(
        "const s = document.getElementById('search'); s.value = 'cross_attn.probs step:0'; "
        "s.dispatchEvent(new Event('input'))"
    )
    names = page.run(
        "return [...document.querySelectorAll('#tensors tr')].map(r => r.firstChild.textContent)")
    check("the table finds tensors",
          names == [f"language_model.layers.{i}.cross_attn.probs" for i in truth.layers], names)
    page.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))")
    check(
        "the table counts every tensor", f"of {len(truth.header['tensors'])} "
        in page.run("return document.getElementById('found').textContent")
        or not page.run("return document.getElementById('left').hidden"))
    check(
        "images have alternative texts",
        page.run(
            "return [...document.images].every(i => i.alt) && [...document.querySelectorAll('.stage "
            "canvas')].every(c => c.getAttribute('aria-label'))"
        ))
    check("nothing is wider than the window",
          page.run("return document.documentElement.scrollWidth <= window.innerWidth"))
    live = page.run(
        "const whole = document.documentElement.cloneNode(true); whole.querySelector('#data').textContent = "
        "'{}'; return whole.outerHTML"
    )
    problems = html_problems("<!DOCTYPE html>\n" + live, html5lib, html.parent)
    check("the page as it stands in the browser is valid HTML", problems == [], problems[:5])
    check(
        "no external address",
        page.run("return performance.getEntriesByType('resource').every(e => /^(data|blob):/.test(e.name))"))


def check_first_word(page, truth):
    """A newcomer sees the most pointed word's heatmap without touching anything."""
    word = max((t for t in range(truth.n_prompt, len(truth.tokens)) if not truth.tokens[t].startswith("<|")),
               key=lambda t: truth.strongest(truth.layers[-1], None, t)[1])
    check("the page opens with the most pointed word chosen",
          page.run("return document.body.dataset.token") == str(word))
    same_map(page, truth, truth.layers[-1], None, word, "opening")


def check_spread(page, truth):
    """Each head's entropy over its keys, in bits, as the tensor files give it."""
    layer, token = truth.layers[-1], truth.n_prompt + 2
    page.run("document.querySelectorAll('.tokens button')[arguments[0]].focus()", token)
    step, row = truth.place(token)
    (n_heads, rows, n_keys), values = truth.tensor(f"language_model.layers.{layer}.cross_attn.probs", step)
    shown = page.run(
        "return [...document.querySelectorAll('#spreads button b')].map(b => parseFloat(b.textContent))")
    check("every head and their mean has its spread", len(shown) == n_heads + 1, shown)
    for head in range(n_heads):
        keys = values[(head * rows + row) * n_keys:(head * rows + row + 1) * n_keys]
        bits = -sum(p / sum(keys) * math.log2(p / sum(keys)) for p in keys if p > 0)
        check(f"head {head}: spread", abs(shown[head] - bits) <= 0.051, f"{shown[head]} {bits}")
    page.run("document.querySelectorAll('#spreads button')[1].click()")
    check("a spread's button chooses its head",
          page.run("return document.getElementById('head-name').textContent") == "head 1")
    check("the sentence says the spread", "Spread: "
          in page.run("return document.getElementById('sentence').textContent"))
    page.key("m")


def check_graphs(page, truth, html):
    """Every layer's graph is drawn, and its boxes lead to files that are there, by mouse and by keyboard."""
    state = """const s = document.querySelector('#graph svg'),
            ids = [...document.querySelectorAll('[id]')].map(e => e.id);
        return {nodes: s.querySelectorAll('.node').length,
            links: [...s.querySelectorAll('a')].map(a => a.getAttribute('href')),
            label: s.getAttribute('aria-label'),
                unique: new Set(ids).size === ids.length, wide: s.getBoundingClientRect().width,
                    scripts: s.querySelectorAll('script,style,foreignObject,image').length}"""
    titles = page.run("return [...document.getElementById('graph-layer').options].map(o => o.textContent)")
    check(
        "there is a graph for every layer",
        len(titles) == len({
            ".".join(n.split(".")[:4 if n.startswith("vision") else 3]) for n, _ in truth.files
            if ".layers." in n}), titles)
    for index, title in enumerate(titles):
        page.run(
            "const s = document.getElementById('graph-layer'); s.value = String(arguments[0]); "
            "s.dispatchEvent(new Event('change'))",
            index)
        graph = page.run(state)
        check(f"{title}: drawn", graph["nodes"] > 10 and graph["wide"] > 100 and title in graph["label"],
              graph)
        check(f"{title}: ids are unique, and nothing but shapes", graph["unique"] and graph["scripts"] == 0)
        check(f"{title}: its boxes lead to files that are there",
              len(graph["links"]) > 10 and all((html.parent / link).is_file() for link in graph["links"]),
              graph["links"])
    x, y = page.run(
        "const a = document.querySelector('#graph svg a'); a.scrollIntoView({block: 'center'}); const r = "
        "a.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]"
    )
    target = page.run(
        "return new URL(document.querySelector('#graph svg a').getAttribute('href'), location.href).href")
    for way in ("click", "keyboard"):
        here = page.run("return location.href")
        if way == "click":
            page.click(x, y)
        else:
            page.run("document.querySelector('#graph svg a').focus()")
            page.key("enter")
        time.sleep(0.2)
        check(f"a box of the graph leads to its source: {way}",
              page.call("GET", "/url") == target, page.call("GET", "/url"))
        page.open(here)
        page.wait_ready()
    wide = "return document.querySelector('#graph svg').getBoundingClientRect().width"
    before = page.run(wide)
    page.run("document.getElementById('graph').focus()")
    page.key("+")
    check("the graph grows with the + key", page.run(wide) > 1.2 * before)
    page.run("document.getElementById('zoom-fit').click()")
    check("and fits again", abs(page.run(wide) - before) < 1)


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
        const ground = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c;
            } return 'rgb(255, 255, 255)'; };
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


def check_page(page, truth, html, screenshots):
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
            check_page(page, Truth(trace), html, options.screenshots)
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
