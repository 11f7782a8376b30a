"""From the model to one number: layers, boxes, tensors, rows and the question why, against the trace."""

import re
import shlex
import subprocess

from page_truth import check

STATE = """return {name: document.getElementById('tensor-name').textContent,
    facts: document.getElementById('tensor-facts').textContent,
    step: document.getElementById('tensor-step').value,
    links: [...document.querySelectorAll('#tensor-facts a')].map(a => a.getAttribute('href')),
    tensors: [...document.querySelectorAll('#tensor-links button')].map(b => b.title),
    row: [...document.querySelectorAll('#row button')].map(b => b.textContent),
    graph: document.getElementById('graph').querySelector('svg').getAttribute('aria-label'),
    marked: [...document.querySelectorAll('#graph [aria-pressed=true]')].map(n => n.dataset.tensor),
    layer: [...document.querySelectorAll('.model [aria-current=true]')].map(b => b.dataset.opens)}"""


def close(shown, value):
    return abs(float(shown) - value) <= 5e-3 * abs(value) + 1e-12


def check_row(page, truth, name, step, head):
    """The row in the page is that of the tensor file: the last token's, of this head."""
    entry = truth.files[name, step]
    shape, values = truth.tensor(name, step)
    at = 0
    for axis, size in zip(entry["axes"][:-1], shape[:-1]):
        at = at * size + (size - 1 if axis == "token" else head if "head" in axis else 0)
    wanted = values[at * shape[-1]:(at + 1) * shape[-1]]
    seen = page.run(STATE)
    check(f"{name}, step {step}: the row", seen["name"] == name and seen["step"] == str(step)
          and len(seen["row"]) == len(wanted) and all(close(a, b) for a, b in zip(seen["row"], wanted)),
          [seen["name"], seen["step"], seen["row"][:4], wanted[:4]])
    return wanted, seen


def ask(page, which):
    page.run("document.querySelectorAll('#row button')[arguments[0]].click()", which)
    return page.run("return [document.getElementById('why-number').textContent, "
                    "document.getElementById('why-reason').textContent, "
                    "document.getElementById('why-command').textContent]")


def check_command(truth, program, command, value):
    """The command that the page offers runs, and finds the same number."""
    words = shlex.split(command)
    check("the command is trace why, with a page", words[:2] == ["build/trace", "why"]
          and words[-2] == "--html", command)
    ran = subprocess.run([program, "why", str(truth.folder), *words[3:-2]], capture_output=True, text=True)
    found = re.search(r"\] = (\S+)", ran.stdout)
    check("the command runs and has the page's number",
          ran.returncode == 0 and found and close(found[1], value), [command, ran.stderr, ran.stdout[:200]])


def check_numbers(page, truth, html, program):
    layer = truth.layers[-1]
    prefix = f"language_model.layers.{layer}"
    buttons = page.run("return [...document.querySelectorAll('.model button')].map(b => b.dataset.opens)")
    check("the model's line opens every layer", sorted(b for b in buttons if b.startswith(
        "language_model.layers")) == sorted({".".join(n.split(".")[:3]) for n, _ in truth.files
                                             if n.startswith("language_model.layers")}), buttons)
    page.run("document.querySelector('.model [data-opens=\"' + arguments[0] + '\"]').click()", prefix)
    seen = page.run(STATE)
    check("a layer opens its graph and its output", seen["name"] == prefix
          and f"layer {layer}" in seen["graph"] and seen["layer"] == [prefix], seen)
    wanted, _ = check_row(page, truth, prefix, 0, 0)
    number, reason, command = ask(page, 3)
    check("a state is what flowed in plus what the layer adds",
          " plus " in reason and f"= {number.split(' = ')[1].split(':')[0]}" in number
          and close(number.split(" = ")[1].split(":")[0], wanted[3]), [number, reason])
    check_command(truth, program, command, wanted[3])
    name = prefix + ".cross_attn.probs"
    x, y = page.run(
        "const b = document.querySelector('#graph [data-tensor=\"' + arguments[0] + '\"]'); "
        "b.scrollIntoView({block: 'center'}); const r = b.getBoundingClientRect(); "
        "return [r.x + r.width / 2, r.y + r.height / 2]", name)
    page.click(x, y)
    wanted, seen = check_row(page, truth, name, 0, 0)
    check("a clicked box is marked", seen["marked"] == [name], seen["marked"])
    entry = truth.files[name, 0]
    check("shape, source with its line, and chapter are beside the numbers",
          str(entry["shape"]) in seen["facts"] and entry["source"] in seen["facts"]
          and any(link.endswith("#L" + entry["source"].split(":")[1]) for link in seen["links"])
          and all((html.parent / link.split("#")[0]).is_file() for link in seen["links"])
          and len(seen["links"]) == 2, seen)
    best = max(range(len(wanted)), key=lambda i: wanted[i])
    number, reason, command = ask(page, best)
    check("a probability says its score, its sum and what competes",
          "divided by the sum over" in reason and "competes with" in reason, reason)
    check_command(truth, program, command, wanted[best])
    page.run("const s = document.getElementById('tensor-head'); s.value = '2'; "
             "s.dispatchEvent(new Event('change'))")
    check_row(page, truth, name, 0, 2)
    check("a tensor leads to what it is made from and what uses it",
          {prefix + ".cross_attn.masked_scores", prefix + ".cross_attn.context"} <= set(seen["tensors"]),
          seen["tensors"])
    page.run("document.querySelector('#tensor-links button').click()")
    check_row(page, truth, prefix + ".cross_attn.masked_scores", 0, 0)
    page.run("document.querySelector('#graph [data-tensor$=\"cross_attn.q_norm\"]').focus()")
    page.key("enter")
    check_row(page, truth, prefix + ".cross_attn.q_norm", 0, 0)
    page.run("document.getElementById('tensor-find').click()")
    check("a tensor is found in the table",
          page.run("return document.querySelector('#tensors td').textContent").endswith("q_norm"))
    page.run("document.querySelector('#tensors .link').click()")
    check("and the table opens it", page.run(STATE)["name"].endswith("q_norm"))
    page.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))")
    check_questions(page, truth, program)


def check_questions(page, truth, program):
    """Why, asked from a patch, from a share among words, and from a next word."""
    word, layer = int(page.run("return document.body.dataset.token")), truth.layers[-1]
    page.key("m")
    page.run("const c = document.querySelector('.stage canvas'); c.focus(); c.scrollIntoView()")
    best, _ = truth.strongest(layer, None, word)
    image = truth.header["images"][0]
    columns = image["tiles"][1] * (image["tile_size"] // image["patch_size"])
    for key in ["right"] + ["down"] * (best // columns) + ["right"] * (best % columns) + ["enter"]:
        page.key(key)
    number, command = page.run("return [document.getElementById('why-number').textContent, "
                               "document.getElementById('why-command').textContent]")
    step, row = truth.place(word)
    shape, values = truth.tensor(f"language_model.layers.{layer}.cross_attn.probs", step)
    head, token, key = (int(i) for i in re.search(r"\[([\d,]+)\]", command)[1].split(","))
    check("a patch is asked in its own step and row", f"--step {step} " in command and token == row, command)
    check_command(truth, program, command, values[(head * shape[1] + token) * shape[2] + key])
    most = max(range(shape[0]), key=lambda h: truth.grid(layer, h, word)[best])
    check("of the mean, the head that read the patch most is asked", head == most, [head, most, number])
    page.key("escape")
    for place, name in (("#inner-rows .link", "self_attn.probs"), ("#steps .link", "lm_head")):
        page.run("document.querySelector(arguments[0]).click()", place)
        command = page.run("return document.getElementById('why-command').textContent")
        asked, index = re.search(r" '([^']*)\[([\d,]+)\]'", command).groups()
        at_step = int(command.split("--step ")[1].split()[0])
        shape, values = truth.tensor(asked, at_step)
        at = 0
        for size, i in zip(shape, index.split(",")):
            at = at * size + int(i)
        check(f"{place} asks about {name}", asked.endswith(name), command)
        check_command(truth, program, command, values[at])
