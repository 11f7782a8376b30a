"""Where the program stands: which image or token, layer and step, found in the variables of its frames.

The model knows no layer numbers inside a step; the loops around it do. So the frames are walked outwards, and
each contributes what it has: attention its head and token, the decoder its layer, generate() the words.

A frame is what a debugger makes of it: `name` (the function, without namespaces; "" outside the program),
`node(variable)` or None where that is not in scope, `file` ("reference/text/rope.cpp") and `line` (the text).
"""

import os
import re

from pictor_debugger.common import heat, layout, steps, vocabulary
from pictor_debugger.common.layout import Unreadable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOOPS = ("head", "kv_head", "token", "row", "key", "channel", "pair")
MOST_FRAMES = 200
_words_of_file = {}


def short_name(name):
    """'pictor::(anonymous namespace)::attend_plain(...)' -> 'attend_plain'; "" for code of others."""
    if not name or "pictor::" not in name:
        return ""
    return re.sub(r"<.*|\(anonymous namespace\)::", "", name).split("(")[0].split("::")[-1]


def in_repository(path):
    """reference/text/rope.cpp, wherever the repository is."""
    path = (path or "").replace("\\", "/")
    at = path.rfind("/reference/")
    return path[at + 1 :] if at >= 0 else path


def whole(node, read):
    """An integer variable's value; None when it cannot be read."""
    try:
        if node is None or node.address is None or node.size not in (1, 2, 4, 8):
            return None
        return int.from_bytes(bytes(read(node.address, node.size)), "little", signed=True)
    except Unreadable:
        return None


def wholes(node, read, most=100000):
    """A std::vector of token ids as a list; empty when it cannot be read."""
    try:
        if node is None or node.address is None:
            return []
        start, count = layout.vector(read, node.address, 8)
        return list(layout.words(read, start, min(count, most))) if count else []
    except Unreadable:
        return []


class Place:
    """What is known where the program stands. Members are None or empty where it is not known."""

    def __init__(self, frames, read, arguments=()):
        self.read, self.arguments = read, arguments
        self.frames = [frame for _, frame in zip(range(MOST_FRAMES), frames) if frame.name]
        self.functions = [frame.name for frame in self.frames]
        self.loop = {}
        self.layer = self.layer_kind = self.kind = self.image_token = None
        self.prompt_ids, self.generated, self.step_ids = [], [], []
        self.pieces = None
        for frame in self.frames:
            self._take(frame)

    def frame(self, name):
        return next((frame for frame in self.frames if frame.name == name), None)

    def variable(self, function, name):
        """A variable of the innermost frame of this function, as a node, or None."""
        frame = self.frame(function)
        return frame.node(name) if frame else None

    def _take(self, frame):
        name = frame.name
        if self.layer is None and name in ("text_decoder", "local_layers", "vision_encoder"):
            self.layer = whole(frame.node("index"), self.read)
            if self.layer is not None:
                self.layer_kind = {
                    "text_decoder": "text",
                    "local_layers": "vision",
                    "vision_encoder": "global",
                }[name]
        if name in ("text_decoder", "prefill", "decode"):
            self.step_ids = self.step_ids or wholes(frame.node("token_ids"), self.read)
        if name in ("prefill", "decode"):
            self.kind = name
        if name == "generate":
            inputs = frame.node("inputs")
            self.prompt_ids = wholes(inputs.field("token_ids"), self.read) if inputs else []
            self.generated = wholes(frame.node("generated"), self.read)
        if name in ("answer", "run", "encode_chat"):
            self._find_words(frame)
        if not self.kind and name not in ("text_decoder", "vision_encoder", "generate", "run", "answer"):
            for word in LOOPS:
                value = whole(frame.node(word), self.read) if word not in self.loop else None
                if value is not None:
                    self.loop[word] = value

    def _find_words(self, frame):
        tokenizer, model = frame.node("tokenizer"), frame.node("model")
        try:
            if self.pieces is None and tokenizer is not None and tokenizer.type_name == "Tokenizer":
                # A shared_ptr to a State, whose first member are the pieces.
                self.pieces = int.from_bytes(
                    bytes(self.read(tokenizer.field("state_").address, 8)), "little"
                )
            if self.image_token is None and model is not None:
                self.image_token = whole(model.field("config").field("image_token"), self.read)
        except (Unreadable, TypeError):
            pass

    @property
    def first_token(self):
        if self.kind != "decode":
            return 0
        return len(self.prompt_ids) + len(self.generated) - len(self.step_ids)

    @property
    def step(self):
        return 0 if self.kind != "decode" else len(self.generated)

    def text(self, token):
        """The text of a token id; None when no tokenizer tells it."""
        try:
            if self.pieces:
                text = vocabulary.piece_in_memory(self.read, self.pieces, token)
                if text is not None:
                    return text
        except Unreadable:
            pass
        text = words_of_file(self.arguments).get(token)
        return "<|image|>" if text is None and token == self.image_token else text

    def word(self, token):
        """The same in quotes, or #324."""
        text = self.text(token)
        return f"#{token}" if text is None else vocabulary.quoted(text)

    def token_text(self, local):
        """'token 27 " black"' of a token of this step."""
        known = 0 <= local < len(self.step_ids)
        return f"token {self.first_token + local}" + (
            f" {self.word(self.step_ids[local])}" if known else ""
        )

    def local_token(self, wished, part):
        """Which token of this step is meant: by its number in the whole sequence, or by its word."""
        if wished.isdigit():
            local = int(wished) - (0 if part == "vision" else self.first_token)
            return local if part == "vision" or 0 <= local < len(self.step_ids) else None
        for local, token in enumerate(self.step_ids):
            text = self.text(token)
            if text is not None and vocabulary.same_word(wished, text):
                return local
        return None

    def patch_text(self, local):
        """A row of an image as tile and row."""
        n_rows = whole(self.variable("vision_attention", "n_rows"), self.read)
        return f"token {local}" + (f" (tile {local // n_rows}, row {local % n_rows})" if n_rows else "")

    def chapter(self):
        return steps.chapter_of(self.functions)

    def describe(self):
        """Lines that say where the program stands."""
        parts = []
        in_vision = "vision_encoder" in self.functions
        if self.layer is not None:
            parts.append(
                {
                    "text": "text decoder, layer {}",
                    "vision": "vision encoder, layer {}",
                    "global": "vision encoder, global layer {}",
                }[self.layer_kind].format(self.layer)
            )
        elif in_vision or "text_decoder" in self.functions:
            parts.append("vision encoder" if in_vision else "text decoder")
        if "head" in self.loop:
            parts.append(f"head {self.loop['head']}")
        if "token" in self.loop:
            local = self.loop["token"]
            parts.append(self.patch_text(local) if in_vision else self.token_text(local))
        lines = [", ".join(parts)] if parts else []
        if self.kind == "prefill":
            lines.append(f"prefill: {len(self.step_ids)} tokens of the prompt at once")
        elif self.kind == "decode":
            answer = "".join(self.text(token) or f" #{token}" for token in self.generated)
            lines.append(f"decode step {self.step}; the answer so far: {answer.strip()}")
        elif "generate" in self.functions:
            lines.append(f"between two steps: {len(self.generated)} tokens of the answer so far")
        elif "run" in self.functions:
            lines.append("before the model: the question and its images are prepared")
        return lines or ["outside the model: neither prefill nor decode is running"]

    def summary(self, frame):
        """What `where-am-i` prints of a frame."""
        lines = self.describe()
        if frame.file.startswith("reference/"):
            lines.append(f"{frame.file}, {frame.name or 'main'}:  {frame.line}")
        else:
            lines.append("in code that is not the program's; `up` goes to the caller")
        return lines + ([f"chapter: chapters/{self.chapter()}.md"] if self.chapter() else [])

    def image_grid(self, n_keys):
        """How the images of this run were cut, from cross_attention() and generate()."""
        mask, inputs = self.variable("cross_attention", "mask"), self.variable("generate", "inputs")
        model = self.variable("generate", "model")
        if mask is None or inputs is None or model is None:
            raise Unreadable(
                "heat: only cross-attention's rows can be laid over an image, and only inside it: "
                "`stop-at cross_attention`. `heat x` draws any tensor"
            )
        n_images = whole(mask.field("n_images"), self.read)
        n_tiles = whole(mask.field("n_tiles"), self.read)
        ids = wholes(inputs.field("images").field("aspect_ratio_ids"), self.read)
        known = model.field("config").field("vision").field("aspect_ratios")
        start, count = layout.vector(self.read, known.address, 16)
        flat = layout.words(self.read, start, 2 * min(count, 1024)) if count else ()
        grids = list(zip(flat[::2], flat[1::2]))
        chosen = [grids[i - 1] if 0 < i <= len(grids) else (1, n_tiles) for i in ids] or [
            (1, n_tiles)
        ] * n_images
        return heat.Grid(n_keys, n_images, n_tiles, chosen)


def over_image(name, numbers, row, here, in_colour):
    """A row of cross-attention, drawn over each image."""
    values, grid = numbers.row([row]), here.image_grid(numbers.shape[1])
    local = here.loop.get("token", 0) - here.loop.get("row", 0) + row
    head = f", head {here.loop['head']}" if "head" in here.loop else ""
    lines = [f"{name} row {row}: {here.token_text(local)}, layer {here.layer}{head}, over the image"]
    for image in range(grid.n_images):
        drawn, ledger = heat.lay_out(values, grid, image)
        lines += heat.draw(drawn, in_colour) + [ledger, heat.strongest(values, grid, image)]
    return lines


def words_of_file(arguments):
    """Words of the tokenizer.json that the program's options name."""
    folder = vocabulary.model_folder(list(arguments), ROOT)
    if folder not in _words_of_file:
        _words_of_file[folder] = vocabulary.from_file(os.path.join(folder, "tokenizer.json"))
    return _words_of_file[folder]


def source_text(path):
    """The lines of a source file, found where the symbols say or in this repository; [] without it."""
    for name in (path, os.path.join(ROOT, in_repository(path))):
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                return file.read().split("\n")
        except OSError:
            continue
    return []


def line_for(pattern, text, lines):
    """The first line with code, at or just behind a line that the pattern matches; None without one. `lines`:
    numbers of the function's lines that have code."""
    for number in range(lines[0], lines[-1] + 1):
        if number <= len(text) and re.search(pattern, text[number - 1]):
            after = [line for line in lines if number <= line <= number + 3]
            if after:
                return after[0]
    return None


def excerpt(text, number):
    """The line where the program stands, and two on either side."""
    return [
        f"  {'=>' if n == number else '  '} {text[n - 1]}".rstrip()
        for n in range(number - 2, number + 3)
        if 0 < n <= len(text)
    ]


class Search:
    """What a search for a wished place has seen, for a sentence when it finds nothing."""

    def __init__(self, wish):
        self.wish, self.calls, self.layers, self.words = wish, 0, set(), []
        self.from_start = True

    def matches(self, place):
        """{"token": local index} or {} where no token was wished; None when this call is not the one."""
        self.calls += 1
        wish, kind = self.wish, "global" if self.wish.is_global else self.wish.step.part
        if place.layer is not None:
            self.layers.add((place.layer_kind, place.layer))
        if wish.step.part:
            if "layer" in wish.numbers and (place.layer_kind, place.layer) != (kind, wish.numbers["layer"]):
                return None
            if "layer" not in wish.numbers and wish.is_global != (place.layer_kind == "global"):
                return None
        if wish.numbers.get("step", place.step) != place.step:
            return None
        if wish.token is None:
            return {}
        if place.first_token >= len(self.words):
            self.words += [place.word(token) for token in place.step_ids]
        local = place.local_token(wish.token, wish.step.part)
        return None if local is None else {"token": local}

    def condition(self, place, found, names):
        """What has to hold at the place inside, of these of the program's own variables."""
        wish = self.wish
        parts = [f"{name} == {value}" for name, value in wish.numbers.items() if name in names]
        if "token" in found and "token" in names:
            parts.append(f"token == {found['token']}")
        n_rows = whole(place.variable("vision_attention", "n_rows"), place.read)
        if "tile" in wish.numbers and n_rows:
            parts.append(f"token == {wish.numbers['tile'] * n_rows + wish.numbers.get('patch', 0)}")
        return " && ".join(parts)

    def check_extents(self, place):
        """A head that the model does not have would never be reached: say so at once."""
        frame = place.frames[0]
        for name, extent in (("head", "n_heads"), ("key", "n_keys")):
            most = whole(frame.node(extent), place.read)
            if name in self.wish.numbers and most is not None and 0 < most < 1 << 20 and self.wish.numbers[
                    name] >= most:
                raise ValueError(
                    f"stop-at: there is no {name} {self.wish.numbers[name]}; they run from 0 to {most - 1}"
                )

    def start_again(self):
        """After a search that began in the middle of a run and found nothing: whether the wished place may
        lie behind, before that middle."""
        again, self.from_start = not self.from_start, True
        return again

    def not_found(self):
        text = f"stop-at: the program ended, and {self.wish.name} was never reached"
        if self.calls == 0:
            text += ": it did not run at all (cross-attention and vision need an --image)"
        elif self.wish.token is not None and self.words:
            text += "; the tokens were " + " ".join(self.words)
        elif self.layers:
            named = sorted(self.layers, key=lambda item: (item[0] == "global", item[1]))
            text += "; it ran in layers " + ", ".join(
                f"{'global ' if kind == 'global' else ''}{layer}" for kind, layer in named
            )
        return text
