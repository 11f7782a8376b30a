"""Checks of page_test.py: words, keys, patches, meters and layer graphs show what the trace holds."""

import math

import html5lib
from markup_test import html_problems
from page_truth import check, same_map


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
    for _ in range(340):
        page.key("tab")
        name, outline = page.run(
            "const e = document.activeElement; return [e.closest('.node') ? 'box' : e.id || "
            "(e.dataset.token !== undefined ? 'token' : e.tagName), getComputedStyle(e).outlineStyle]"
        )
        seen.append(name)
        if outline == "none":
            bare.append(name)
        if name == "search":
            break
    for wanted in ("layer", "head", "tour-start", "play", "pin", "true-colours", "plain", "CANVAS", "token",
                   "graph-layer", "zoom-in", "graph", "box", "tensor-step", "tensor-find", "search"):
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
    """Every layer's graph is drawn, and each of its boxes opens a tensor of the trace."""
    state = """const s = document.querySelector('#graph svg'),
            ids = [...document.querySelectorAll('[id]')].map(e => e.id);
        return {nodes: s.querySelectorAll('.node').length,
            tensors: [...s.querySelectorAll('.node')].map(n => n.dataset.tensor || null),
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
        check(f"{title}: its boxes open tensors of the trace",
              len(graph["tensors"]) > 10 and all((name, 0) in truth.files for name in graph["tensors"]),
              graph["tensors"])
    wide = "return document.querySelector('#graph svg').getBoundingClientRect().width"
    before = page.run(wide)
    page.run("document.getElementById('graph').focus()")
    page.key("+")
    check("the graph grows with the + key", page.run(wide) > 1.2 * before)
    page.run("document.getElementById('zoom-fit').click()")
    check("and fits again", abs(page.run(wide) - before) < 1)
