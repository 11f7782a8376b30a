"""Every SVG and HTML that viz makes is valid, hostile names and tokens included.

    python3 tests/viz/markup_test.py [--viz build/viz] [--reference build/reference]

HTML: html5lib's parser must find no error, and ids, labels, links and scripts are looked at. SVG: xmllint
validates against the W3C's SVG 1.1 DTD; ids, references, links and style sheets are looked at. Each check is
first tried on broken files, which it must refuse. Needs Debian's python3-html5lib, libxml2-utils and
w3c-sgml-lib. Last line: "N passed, N failed"; exit 0 when none failed, 2 when something needed is missing.
"""

import argparse
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

DTD = Path("/usr/share/xml/w3c-sgml-lib/schema/dtd/REC-SVG11-20110816/svg11.dtd")
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
ELEMENTS = {
    "svg", "g", "path", "polygon", "polyline", "ellipse", "rect", "line", "text", "title", "a", "image",
    "style"}
HOSTILE = [
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "\"'`${alert(3)}", "a\"];b[label=\"x",
    "]]>&amp;<!--", "\\N\\G\\E", " \U0001F600", " \u05e9\u05dc\u05d5\u05dd", "\u202egnp.exe",
    "javascript:alert(4)", "<TABLE><TR>", "-->", "\x00\x1b[31m", "\n", "&#0;", "<svg onload=alert(5)>"]


def link_problem(link, folder):
    """A link may only lead to a file that is there."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", link):
        return f"leads out of the folder: {link[:80]}"
    return "" if link.startswith("#") or (folder
                                          / link.split("#")[0]).is_file() else f"leads nowhere: {link[:80]}"


def style_problems(css):
    return [
        f"style sheet has {word}" for word in ("@import", "url(", "expression", "</", "<!--") if word in css]


def svg_problems(text, folder):
    """What is wrong with an SVG document; empty when nothing is."""
    result = subprocess.run(["xmllint", "--huge", "--nonet", "--noout", "--dtdvalid",
                             str(DTD), "-"], input=text.encode(), capture_output=True)
    problems = [line[:200] for line in result.stderr.decode(
        errors="replace").splitlines()[:5]] if result.returncode else []
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return problems + [f"not well-formed: {error}"]
    ids = Counter(e.get("id") for e in root.iter() if e.get("id"))
    problems += [f"id {name} occurs {count} times" for name, count in ids.items() if count > 1]
    if root.tag != SVG + "svg" or not (root.findtext(SVG + "title") or "").strip():
        problems.append("is no svg with a title")
    for element in root.iter():
        name = element.tag.removeprefix(SVG)
        if name not in ELEMENTS:
            problems.append(f"element {element.tag}")
        for key, value in element.attrib.items():
            if key.lower().startswith("on") or key == "style":
                problems.append(f"attribute {key}")
            problems += [
                f"url({target}) is not there" for target in re.findall(r"url\(#?([^)]*)\)", value)
                if target not in ids]
        if name == "style":
            problems += style_problems(element.text or "")
        if name == "image":
            problems += [] if element.get(
                HREF, "").startswith("data:image/png;base64,") and element.findtext(SVG + "title") else [
                    "an image from elsewhere, or without a title"]
        elif name == "a":
            problems += filter(None, [link_problem(element.get(HREF, "javascript:"), folder)])
        elif element.get(HREF) is not None:
            problems.append(f"{name} has a link")
    return problems


def html_problems(text, html5lib, folder):
    """What is wrong with an HTML page that brings all it needs; empty when nothing is."""
    problems = []
    try:
        root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    except html5lib.html5parser.ParseError as error:
        # goes on after an error, and so lists them all
        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        root, lines = parser.parse(text), text.splitlines()
        problems = [
            f"line {line}: {code} {details}: "
            f"{lines[line - 1][max(0, column - 40):column + 20] if line <= len(lines) else ''}"
            for (line, column), code, details in parser.errors] or [str(error)]
    ids = Counter(e.get("id") for e in root.iter() if e.get("id"))
    problems += [f"id {name} occurs {count} times" for name, count in ids.items() if count > 1]
    if not root.get("lang") or not root.findtext("head/title"):
        problems.append("no language or no title")
    headings = [
        int(e.tag[1]) for e in root.iter() if isinstance(e.tag, str) and re.fullmatch("h[1-6]", e.tag)]
    if headings[:1] != [1] or any(after > before + 1 for before, after in itertools.pairwise(headings)):
        problems.append(f"headings {headings}")
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        for key, value in element.attrib.items():
            if key.startswith("on"):
                problems.append(f"attribute {key} of {element.tag}")
            if key in ("aria-labelledby", "aria-describedby", "for"):
                problems += [f"{key}={name} is not there" for name in value.split() if name not in ids]
            if element.tag.endswith("a") and key == "href":
                problems += filter(None, [link_problem(value, folder)])
            elif key in ("src", "href", "action", "srcset") and not value.startswith(("data:", "#")):
                problems.append(f"{element.tag} {key}={value[:60]}")
        if element.tag == "img" and not element.get("alt"):
            problems.append("img without alternative text")
        if element.tag in ("canvas", "svg") and not element.get("aria-label") and element.get(
                "aria-hidden") != "true" and element.get("role") != "img":
            problems.append(f"{element.tag} without a name")
        if element.tag == "style":
            problems += style_problems(element.text or "")
        if element.tag in ("iframe", "object", "embed", "form", "base",
                           "link") and not element.get("href", "").startswith("data:"):
            problems.append(f"element {element.tag}")
    return problems


class Counted:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, problems):
        self.passed, self.failed = self.passed + (not problems), self.failed + bool(problems)
        if problems:
            print(f"FAILED: {what}:", *problems[:8], sep="\n    ")

    def refused(self, what, problems):
        self.check(f"{what} is refused", [] if problems else ["the check found nothing wrong"])


def check_the_checks(counted, html5lib, svg, html):
    """A check that finds nothing in these finds nothing at all. Each spoils one thing in a valid file."""
    here = Path(".")
    broken = {
        "an unclosed element": svg.replace("</svg>", "", 1),
        "a script": svg.replace("</title>", "</title><script>1</script>",
                                1), "an event attribute": svg.replace("<rect ", "<rect onclick=\"x()\" ", 1),
        "an id twice": svg.replace("</title>", "</title><g id=\"i\"/><g id=\"i\"/>",
                                   1), "an element that is none": svg.replace("<rect ", "<rectangle ", 1),
        "an attribute that is none": svg.replace("<rect ", "<rect colour=\"red\" ", 1),
        "a link to elsewhere": svg.replace("</title>", "</title><a xlink:href=\"https://example.org/\"/>", 1),
        "a link to a missing file": svg.replace("</title>", "</title><a xlink:href=\"missing.cpp\"/>", 1),
        "a paint that is not there": svg.replace("<rect ", "<rect fill=\"url(#none)\" ", 1),
        "a style sheet from elsewhere": svg.replace("</title>",
                                                    "</title><style type=\"text/css\">@import 'x'</style>",
                                                    1)}
    for what, text in broken.items():
        counted.refused(f"SVG with {what}", svg_problems(text, here) if text != svg else [])
    broken = {
        "an unclosed element": html.replace("</section>", "", 1), "a misplaced element": html.replace(
            "<ul id", "<table><p>x</p></table><ul id",
            1), "an attribute twice": html.replace("<html ", "<html lang=\"en\" lang=\"de\" ", 1),
        "an id twice": html.replace("<main>", "<main id=\"title\">",
                                    1), "an event attribute": html.replace("<main>", "<main onclick=\"x()\">",
                                                                           1),
        "an image without text": html.replace("<main>", "<main><img src=\"data:,\">", 1),
        "a script from elsewhere": html.replace("<main>",
                                                "<main><script src=\"https://example.org/x.js\"></script>",
                                                1),
        "a label for nothing": html.replace("<main>", "<main aria-labelledby=\"nothing\">",
                                            1), "no document type": html.replace("<!DOCTYPE html>", "", 1),
        "a heading left out": html.replace("<h2 ", "<h4 ", 1).replace("</h2>", "</h4>", 1)}
    for what, text in broken.items():
        counted.refused(f"HTML with {what}", html_problems(text, html5lib, here) if text != html else [])


def spoil(trace, folder):
    """The same trace with hostile words, names, axes and sources, and a tensor of NaN."""
    spoiled = folder / "a<b>&\"c'"
    shutil.copytree(trace, spoiled)
    header = json.loads((spoiled / "trace.json").read_text())
    for part in ("prompt", "generated"):
        header[part]["token_texts"] = [
            HOSTILE[i % len(HOSTILE)] for i in range(len(header[part]["token_texts"]))]
    for i, entry in enumerate(header["tensors"]):
        entry["source"] = HOSTILE[i % len(HOSTILE)]
        entry["chapter"] = HOSTILE[(i + 3) % len(HOSTILE)]
        if entry["step"] == 0 and "file" in entry:
            entry["axes"] = [HOSTILE[(i + k) % len(HOSTILE)] for k in range(len(entry["axes"]))]
            file = spoiled / entry["file"]
            file.write_text(
                re.sub(r'"axes": ?\[[^\]]*\]', lambda _: '"axes": ' + json.dumps(entry["axes"]),
                       file.read_text(), count=1))
        if i % 5 == 0:
            entry["statistics"] = {
                **entry["statistics"], "min": None, "max": None, "mean": None, "std": None, "nonfinite": 1}
    header["reference"] = header["producer"] = HOSTILE[0]
    (spoiled / "trace.json").write_text(json.dumps(header))
    return spoiled


def drawings(viz, trace, folder, tag):
    """Draws everything there is of a trace; yields the files."""
    header = json.loads((trace / "trace.json").read_text())
    token = str(len(header["prompt"]["token_texts"]) + 3)
    commands = [["layer", str(trace), "--layer", layer] for layer in ("0", "3", "vision.0", "global.0")]
    commands += [["layer", str(trace), "--layer", "3", "--step", "2"],
                 ["heatmap", str(trace), "--layer", "vision.1", "--patch", "2,3"],
                 ["heatmap", str(trace), "--token", "1"]]
    commands += [["heatmap", str(trace), "--token", token, *more]
                 for more in ([], ["--head", "0"], ["--head", "max"], ["--head", "entropy"],
                              ["--weight", "values"], ["--smooth"], ["--minus", str(trace)])]
    commands += [["heatmap", str(trace), "--sheet", sheet] for sheet in ("heads", "layers", "answer")]
    commands += [["architecture", "--trace", str(trace), "--style", style] for style in ("slide", "article")]
    commands += [["architecture", "--corrections", "--style", style] for style in ("slide", "article")]
    for i, command in enumerate(commands):
        output = folder / f"{tag}-{i}.svg"
        subprocess.run([viz, *command, "--output", str(output)], check=True, stdout=subprocess.DEVNULL)
        yield f"{tag}: {' '.join(command[:1] + command[2:])}", output
    output = folder / f"{tag}.html"
    subprocess.run([viz, "report", str(trace), "--output", str(output)], check=True,
                   stdout=subprocess.DEVNULL)
    yield f"{tag}: report", output


def architectures(viz, folder):
    """The diagram of every preset, in both styles, folded and not; and of models with hostile names."""
    models = [["--preset", "11b"], ["--preset", "90b"], ["--model", "models/pictor"]]
    for i, name in enumerate(HOSTILE):
        if "\x00" not in name and "/" not in name:
            hostile = folder / f"{i}" / name
            hostile.mkdir(parents=True)
            shutil.copy("models/pictor/config.json", hostile)
            models.append(["--config", str(hostile / "config.json")])
    for i, model in enumerate(models):
        for style in ("slide", "article"):
            for unfold in ([], ["--unfold"]) if i < 3 and style == "article" else ([],):
                output = folder / f"architecture-{i}-{style}{'-unfold' if unfold else ''}.svg"
                subprocess.run(
                    [viz, "architecture", *model, "--style", style, *unfold, "--output",
                     str(output)], check=True, stdout=subprocess.DEVNULL)
                yield f"architecture {model[1]!r} {style} {' '.join(unfold)}", output


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viz", default="build/viz")
    parser.add_argument("--reference", default="build/reference")
    options = parser.parse_args()
    try:
        import html5lib
    except ImportError:
        print("markup_test: html5lib is not installed; install python3-html5lib", file=sys.stderr)
        return 2
    if not shutil.which("xmllint") or not DTD.is_file():
        print(f"markup_test: xmllint or {DTD} is missing; install libxml2-utils and w3c-sgml-lib",
              file=sys.stderr)
        return 2
    counted = Counted()
    Path("build").mkdir(exist_ok=True)
    # in the checkout, so that links lead somewhere
    with tempfile.TemporaryDirectory(prefix="markup-", dir="build") as name:
        folder = Path(name)
        trace = folder / "run"
        subprocess.run([
            options.reference, "run", "--image", "models/pictor/pictures/demo.png", "--prompt",
            "What is in this image?", "--max-new-tokens", "6", "--trace",
            str(trace), "--trace-values", "all"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        valid = {}
        for source in (architectures(options.viz, folder), drawings(
                options.viz, trace, folder,
                "run"), drawings(options.viz, spoil(trace, folder), folder, "hostile")):
            for what, file in source:
                text = file.read_text()
                valid[file.suffix] = text if not what.startswith("hostile") else valid[file.suffix]
                if file.suffix == ".svg":
                    counted.check(what, svg_problems(text, file.parent))
                    continue
                counted.check(what, html_problems(text, html5lib, file.parent))
                graphs = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["graphs"]
                ids = Counter(found for graph in graphs
                              for found in re.findall(r' id="([^"]*)"', graph["svg"]))
                counted.check(f"{what}: ids of all its graphs differ",
                              [found for found, count in ids.items() if count > 1])
                for graph in graphs:
                    counted.check(f"{what}: graph of {graph['title']}",
                                  svg_problems(graph["svg"], file.parent))
        check_the_checks(counted, html5lib, valid[".svg"], valid[".html"])
    print(f"{counted.passed} passed, {counted.failed} failed")
    return 1 if counted.failed or not counted.passed else 0


if __name__ == "__main__":
    sys.exit(main())
