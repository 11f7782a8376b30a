"""A chapter as mdBook gets it: comments taken out, formulas as MathML, links to the repository as links to
listings."""

import html
import re

from latex2mathml.converter import convert

from parts import ROOT, outside_code

FORMULA = re.compile(r"\$([^$\n]+)\$")
FORMULA_BLOCK = re.compile(r"^```math\n(.*?)^```[ \t]*$|^\$\$\n?(.*?)\$\$[ \t]*$", re.M | re.S)
LINK = re.compile(r"(\]\()([^()\s]+)(\))")


def mathml(latex, display):
    """One line; signs that Markdown would read are written as entities."""
    made = convert(latex.strip(), display="block" if display else "inline").replace("\n", " ")
    made = made.replace("*", "&#42;").replace("_", "&#95;").replace("`", "&#96;")
    label = html.escape(" ".join(latex.split()), quote=True).replace("*", "&#42;").replace("_", "&#95;")
    label = label.replace("\\", "&#92;").replace("`", "&#96;")
    return made.replace("<math ", f'<math aria-label="{label}" ', 1)


def block_formula(found):
    made = mathml(found.group(1) or found.group(2), True)
    return f'\n<div class="formula" tabindex="0" role="group" aria-label="formula">{made}</div>\n'


def page_name(name):
    """mdBook takes a link with .md in it for one of its own pages."""
    return re.sub(r"\.md$", "-md", name) + ".html"


def listing_target(path, target, listings):
    """The page of a file of the repository; the file is noted, so that its page is made."""
    file, _, anchor = target.partition("#")
    place = (path.parent / file).resolve()
    rendered = (place.parent == path.parent and place.suffix == ".md") or place.parent.name == "figures"
    if ROOT not in place.parents or rendered:
        return target
    name = place.relative_to(ROOT).as_posix()
    listings.add(name)
    if place.suffix in (".png", ".svg"):
        return f"files/{name}"
    return f"files/{page_name(name)}" + (f"#{anchor.split('-')[0]}" if anchor else "")


FENCED = re.compile(r"(^(`{3,})[^\n]*\n.*?^\2[ \t]*$)", re.M | re.S)


def without_comments(text):
    """Between code blocks only: a comment may hold anything, an example of one may not."""
    pieces = FENCED.split(text)
    for place in range(0, len(pieces), 3):
        pieces[place] = re.sub(r"^<!--.*?-->\n?|<!--.*?-->", "", pieces[place], flags=re.M | re.S)
    return "".join(piece for place, piece in enumerate(pieces) if place % 3 != 2)


def rewritten(path, listings):
    text = FORMULA_BLOCK.sub(block_formula, without_comments(path.read_text()))

    def link(found):
        target = found.group(2)
        if "://" in target or target.startswith("#"):
            return found.group(0)
        return found.group(1) + listing_target(path, target, listings) + found.group(3)

    def change(piece):
        return LINK.sub(link, FORMULA.sub(lambda found: mathml(found.group(1), False), piece))

    return re.sub(r"\n{3,}", "\n\n", outside_code(text, change))
