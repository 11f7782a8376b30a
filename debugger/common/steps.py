"""The steps that chapters explain: where each stands in the source, found by names and by the text of its
lines, never by line numbers.

part      text, vision or neither: which loop's index is meant by "layer"
places    [(name, pattern)]: `at NAME` stops before the first line of the function that the pattern matches.
          The first place is where a stop without `at` stands.
gate      a line that runs once for each head and token, where they are compared before the loops inside begin
rows      variables that "head", "token", ... are compared with there
"""


class Step:
    def __init__(self, chapter, function, part, places, rows=(), gate=None):
        self.chapter, self.function, self.part = chapter, function, part
        self.places, self.rows, self.gate = places, rows, gate


ATTENTION = [
    ("scores", r"^\s*block\.scores\(row, key\) ="),
    ("masked_scores", r"sees_nothing =|visible =|masked_scores\(row, key\) ="),
    ("softmax", r"softmax_row\("),
    ("context", r"add_scaled\(block\.probs"),
]
ROW = r"\brow = token - first"

STEPS = {
    "encode_chat": Step(
        "02-tokenizer", "encode_chat", "", [("start", None), ("answer", r'append_header\(.*"assistant"')]
    ),
    "embed_tokens": Step(
        "03-token-embedding", "embed_tokens", "", [("row", r"widen_row\(")], rows=("token",)
    ),
    "rms_norm": Step(
        "04-rms-norm",
        "rms_norm",
        "text",
        [
            ("start", None),
            ("scale", r"square_sum /"),
            ("normalised", r"normalised\.\w+.*=|weight\(channel\)"),
        ],
    ),
    "rope_angles": Step("05-rope", "rope_angles", "", [("start", None)]),
    "rope": Step(
        "05-rope",
        "rotate",
        "text",
        [("turn", r"\bfirst = x\(|rotated\(token.*=")],
        rows=("token", "head", "pair"),
    ),
    "self_attention": Step(
        "06-self-attention", "self_attention", "text", ATTENTION, ("token", "head", "key"), ROW
    ),
    "mlp": Step(
        "07-text-mlp",
        "text_mlp",
        "text",
        [
            ("start", None),
            ("activated", r"silu\("),
            ("gated", r"activated\.\S+ \* up"),
            ("output", r"weights\.down_proj"),
        ],
    ),
    "tiles": Step(
        "08-tiles",
        "cut_into_tiles",
        "",
        [("start", None), ("normalise", r"values\[column\] ="), ("done", r"return tiled")],
    ),
    "patch_embedding": Step(
        "09-patch-embedding", "patch_embedding", "", [("start", None), ("linear", r"return linear\(")]
    ),
    "positions": Step(
        "10-positions", "add_positions", "", [("start", None), ("sum", r"add_scaled\(1\.0f - share")]
    ),
    "tile_embedding": Step("10-positions", "add_tile_embedding", "", [("start", None)]),
    "layer_norm": Step("11-vision-attention", "layer_norm", "vision", [("start", None)]),
    "vision_attention": Step(
        "11-vision-attention", "attend_plain", "vision", ATTENTION, ("token", "head", "key"), ROW
    ),
    "vision_mlp": Step(
        "11-vision-attention", "vision_mlp", "vision", [("start", None), ("output", r"weights\.fc2\b")]
    ),
    "vision_layer": Step(
        "12-encoder", "vision_layer", "vision", [("start", None), ("residual", r"normalised_again =")]
    ),
    "kept_states": Step(
        "12-encoder",
        "join_states",
        "",
        [("start", None), ("interleave", r"\*out\+\+ ="), ("done", r"return joined")],
    ),
    "projector": Step("13-projector", "multi_modal_projector", "", [("start", None)]),
    "image_keys": Step(
        "14-cross-attention",
        "image_keys_and_values",
        "text",
        [("start", None), ("append", r"keys\.append")],
    ),
    "cross_attention": Step(
        "14-cross-attention", "cross_attention", "text", ATTENTION, ("token", "head", "key"), ROW
    ),
    "decoder": Step(
        "15-decoder",
        "text_decoder",
        "",
        [("start", None), ("layers", r"layer\.is_cross\s*$|is_cross && ")],
        rows=("index",),
    ),
    "self_layer": Step("15-decoder", "text_self_layer", "text", [("start", None)]),
    "cross_layer": Step(
        "15-decoder",
        "text_cross_layer",
        "text",
        [("start", None), ("gate", r"gated = scale_by_gate"), ("residual", r"residual = add\(")],
    ),
    "prefill": Step(
        "01-the-whole", "prefill", "", [("start", None), ("text", r"return text_decoder\(")]
    ),
    "decode": Step("01-the-whole", "decode", "", [("start", None), ("text", r"return text_decoder\(")]),
    "linear": Step(
        "21-linear",
        "linear_plain",
        "",
        [("start", None), ("sum", r"sum \+="), ("output", r"y\.data\(\)\[.*= sum")],
        rows=("row", "out", "in"),
    ),
    "softmax": Step("21-linear", "softmax_plain", "", [("start", None)]),
    "lm_head": Step("16-lm-head", "lm_head", "", [("start", None), ("logits", r"record\(")]),
    "sampler": Step("16-lm-head", "sample", "", [("start", None)]),
}


def listed():
    """All steps with their places and chapters, a line each."""
    return [
        f"  {name:<17} {', '.join(place for place, _ in step.places):<42} chapters/{step.chapter}.md"
        for name, step in STEPS.items()
    ]


def chapter_of(functions):
    """The chapter of the innermost of these function names that a step goes by."""
    for function in functions:
        for step in STEPS.values():
            if step.function == function:
                return step.chapter
    return None


class Wish:
    """What `stop-at` was asked for, from its words."""

    NUMBERS = ("layer", "head", "row", "key", "image", "tile", "patch", "step", "channel", "pair", "index")
    NUMBERS += ("out", "in")

    def __init__(self, words):
        if not words:
            raise ValueError("stop-at needs a step; these are known: " + ", ".join(STEPS))
        self.name = words[0].replace("-", "_")
        if self.name not in STEPS:
            raise ValueError(
                f"stop-at: there is no step {words[0]!r}; these are known: " + ", ".join(STEPS)
            )
        self.step = STEPS[self.name]
        self.numbers, self.token, self.place, self.is_global = {}, None, None, False
        rest = list(words[1:])
        while rest:
            word = rest.pop(0)
            if word == "global":
                self.is_global = True
                continue
            if word not in self.NUMBERS + ("token", "at"):
                raise ValueError(
                    f"stop-at: {word!r} is none of layer, head, token, step, at, global, "
                    + ", ".join(name for name in self.NUMBERS if name not in ("layer", "head", "step"))
                )
            if not rest:
                raise ValueError(f"stop-at: {word} needs a value after it")
            self._take(word, rest.pop(0))

    def _take(self, word, value):
        if word == "at":
            names = [name for name, _ in self.step.places]
            if value not in names:
                raise ValueError(
                    f"stop-at {self.name}: no place {value!r} there; it has: " + ", ".join(names)
                )
            self.place = value
        elif word == "token":
            self.token = value
        else:
            if not value.isdigit():
                raise ValueError(f"stop-at: {word} {value!r} is no number")
            self.numbers[word] = int(value)

    def pattern(self):
        return dict(self.step.places)[self.place or self.step.places[0][0]]
