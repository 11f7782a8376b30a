"""The report as it is used: words kept and let go, true colours, self-attention, the tour, two window
sizes."""

import subprocess
import time

from page_truth import Truth, check


def token_at(page, token):
    """The middle of a token's button, scrolled into sight."""
    return page.run(
        "const b = document.querySelectorAll('.tokens button')[arguments[0]]; b.scrollIntoView({block: "
        "'center'}); const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]",
        token)


def chosen(page):
    return int(page.run("return document.body.dataset.token"))


def check_lock(page, truth):
    """Hover previews, a click keeps, the mouse may cross other words, Escape lets go; a third pin says what
    it replaces."""
    first, other = truth.n_prompt + 1, truth.n_prompt + 4
    page.key("escape")
    page.move(2, 2)
    before = chosen(page)
    page.move(*token_at(page, other))
    check("hovering previews", chosen(page) == other)
    page.move(2, 2)
    check("leaving the words ends the preview", chosen(page) == before, chosen(page))
    page.click(*token_at(page, first))
    page.move(*token_at(page, other))
    check("a clicked word stays while the mouse crosses others", chosen(page) == first)
    check(
        "and the button says so",
        page.run(
            "return document.querySelectorAll('.tokens button')[arguments[0]].getAttribute('aria-pressed')",
            first) == "true")
    page.key("escape")
    page.move(2, 2)
    page.move(*token_at(page, other))
    check("Escape lets go", chosen(page) == other)
    page.run("document.querySelectorAll('.tokens button')[arguments[0]].focus()", first)
    page.key("enter")
    page.move(2, 2)
    page.move(*token_at(page, other))
    check("Enter keeps a word too", chosen(page) == first)
    page.key("right")
    check("the arrows move a kept word on", chosen(page) == first + 1)
    page.key("p")
    said = page.run("return document.getElementById('pin-state').textContent")
    check(
        "a third pin says what it replaces", "it replaced" in said
        and page.run("return document.querySelectorAll('.pin').length") == 2 * len(truth.header["images"]),
        said)
    page.key("escape")
    page.run("document.querySelectorAll('.tokens button')[1].focus()")
    sentence = page.run("return document.getElementById('sentence').textContent")
    check("a prompt word is not called predicted", "given in the prompt" in sentence
          and "predicts it" not in sentence, sentence)


def check_true_colours(page, truth):
    """Every pixel of the overlay is the picture's own, dimmed by one factor for all three channels."""
    word = max(range(truth.n_prompt,
                     len(truth.tokens) - 1), key=lambda t: truth.strongest(truth.layers[-1], None, t)[1])
    page.run("document.querySelectorAll('.tokens button')[arguments[0]].focus()", word)
    pixels = ("const c = document.querySelector('.stage canvas'), "
              "d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, out = []; "
              "for (let i = 0; i < d.length; i += 4 * 997) out.push([d[i], d[i + 1], d[i + 2]]); return out")
    page.key("o")
    original = page.run(pixels)
    page.key("o")
    page.key("c")
    overlaid = page.run(pixels)
    wrong, frame = [], []
    for before, after in zip(original, overlaid):
        lit = max(range(3), key=lambda channel: before[channel])
        factor = after[lit] / before[lit] if before[lit] > 60 else None
        outlined = after[0] == after[1] == after[2] != before[0]  # the frame of the strongest patch is gray
        if factor is not None and any(abs(a - factor * b) > 2.5 for a, b in zip(after, before)):
            (frame if outlined else wrong).append((before, after))
    check("true colours keep each pixel's colour", not wrong, wrong[:3])
    check("but for the thin frame of one patch", len(frame) <= max(3, len(original) // 50), frame[:3])
    check("and dim what was not looked at", sum(map(sum, overlaid)) < 0.6 * sum(map(sum, original)))
    page.key("c")


def check_self_attention(page, truth):
    """The grid of heads, one row's words, scores, shares and lengths against the tensor files."""
    layers = sorted(
        int(name.split(".")[2]) for name, step in truth.files
        if name.startswith("language_model") and name.endswith("self_attn.probs") and step == 0)
    thumbs = page.run(
        "return [...document.querySelectorAll('.thumb')].map(b => b.getAttribute('aria-label'))")
    n_heads = truth.tensor(f"language_model.layers.{layers[0]}.self_attn.probs", 0)[0][0]
    check("there is a square for every layer and head",
          thumbs == [f"layer {layer}, head {h}" for layer in layers for h in range(n_heads)], thumbs[:3])
    for index, token in [(0, truth.n_prompt), (len(thumbs) // 2, truth.n_prompt - 2),
                         (len(thumbs) - 1, len(truth.tokens) - 2)]:
        page.run(
            "document.querySelectorAll('.thumb')[arguments[0]].click(); document.querySelectorAll('.tokens "
            "button')[arguments[1]].focus()",
            index, token)
        layer, head = layers[index // n_heads], index % n_heads
        step, row = truth.place(token)
        name = f"language_model.layers.{layer}.self_attn."
        (_, rows, keys), probs = truth.tensor(name + "probs", step)
        line = probs[(head * rows + row) * keys:(head * rows + row + 1) * keys][:token]
        shown = page.run(
            "return [...document.querySelectorAll('#inner-words span')].map(s => s.dataset.share)")
        check(f"self-attention, layer {layer} head {head}, token {token}: shares",
              all(abs(float(a) - b) < 1.6e-5 for a, b in zip(shown[:token], line)), shown[:5])
        check(f"self-attention, token {token}: later words are masked",
              set(shown[token:]) <= {"masked"} and "masked" not in shown[:token])
        table = page.run(
            "return [...document.querySelectorAll('#inner-rows tr')].map(r => [...r.cells].map(c => "
            "c.textContent))"
        )
        best = max(range(token), key=lambda key: line[key])
        check(f"self-attention, token {token}: the strongest stands first",
              abs(line[int(table[0][0])] - line[best]) < 2e-5, table[0])
        scores = truth.tensor(name + "scores", step)[1]
        score = scores[(head * rows + row) * keys + int(table[0][0])]
        check(f"self-attention, token {token}: its score",
              abs(float(table[0][2]) - score) < 0.006, f"{table[0]} {score}")


def check_tour(page, truth):
    """Six to eight steps through this run, in its own numbers; Back, Next, Leave; the answer plays and
    stops."""
    page.run("document.getElementById('tour-start').click()")
    titles = []
    for _ in range(12):
        titles.append(page.run("return document.getElementById('tour-title').textContent"))
        if titles[-1].startswith("1 of") and len(titles) == 1:
            tiles = truth.header["images"][0]["tiles"] if truth.header["images"] else None
            text = page.run("return document.getElementById('tour-text').textContent")
            check("the tour's first step has the run's own tiles", tiles is None
                  or f"{tiles[0]} \u00d7 {tiles[1]} tiles" in text, text)
        if page.run("return document.getElementById('tour-next').textContent") == "Done":
            break
        page.run("document.getElementById('tour-next').click()")
    wanted = range(6, 9) if truth.header["images"] else range(4, 9)
    check("the tour has six to eight steps",
          len(titles) in wanted and len(set(titles)) == len(titles), titles)
    page.run("document.getElementById('tour-next').click()")
    check("Done ends it", page.run("return document.getElementById('tour').hidden"))
    start = chosen(page)
    page.run("document.getElementById('play').click()")
    time.sleep(2.2)
    check("the answer plays word by word",
          chosen(page) >= min(start, truth.n_prompt) + 1 and chosen(page) != start,
          [start, chosen(page)])
    # On a busy machine a short answer may have ended by itself.
    page.run(
        "const b = document.getElementById('play'); if (b.getAttribute('aria-pressed') === 'true') b.click()")
    now = chosen(page)
    time.sleep(1.1)
    check("and stops", chosen(page) == now)
    page.key("escape")


def check_in_sight(page, truth):
    """Picture, ledger and legend fit the first screen; on a phone a tapped word's map is in sight."""
    box = "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.top, r.bottom]"
    page.size(1440, 900)
    page.run("window.scrollTo(0, 0)")
    top, bottom = page.run(box, ".legend")
    check("1440 x 900: picture, ledger and legend are whole", 0 < top and bottom <= 900, [top, bottom])
    page.size(390, 844)
    page.click(*token_at(page, len(truth.tokens) - 3))
    top, bottom = page.run(box, ".stage canvas")
    check("390 x 844: the tapped word's map is in sight", top >= 0 and bottom <= 844, [top, bottom])
    check("390 x 844: the meters are there",
          page.run("return getComputedStyle(document.querySelector('.words meter')).display") != "none")
    page.key("escape")
    page.size(1280, 900)


def check_text_only(page, reference, viz, folder):
    """A run without a picture has a full page: words reading words, a tour, next words."""
    run, html = folder / "text", folder / "text.html"
    subprocess.run([reference, "run", "--prompt", "What is your name?", "--trace",
                    str(run)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([viz, "report", str(run), "--output", str(html)], check=True, stdout=subprocess.DEVNULL)
    truth = Truth(run)
    page.open(html.as_uri())
    page.wait_ready()
    check("text only: no empty picture part",
          page.run("return document.getElementById('look-section').hidden"))
    check(
        "text only: every token has a button in sight",
        page.run(
            "return [...document.querySelectorAll('.tokens button')].filter(b => "
            "b.getClientRects().length).length"
        ) == len(truth.tokens))
    check_self_attention(page, truth)
    check_tour(page, truth)
    check("text only: nothing is wider than the window",
          page.run("return document.documentElement.scrollWidth <= window.innerWidth"))
    check("text only: no console errors", not page.console())
