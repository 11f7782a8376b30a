"""The program's objects as numbers and as one line of text, whichever debugger found them.

A node is what a debugger knows of an object: `type_name` ("Tensor", "std::vector<float>"), `address`, `size`,
`field(name)` and `fields()` [(name, node)].
"""

import re

from pictor_debugger.common import layout, text
from pictor_debugger.common.layout import Numbers, Unreadable, shape_text

# Axes by the name that a loop gives the tensor; taken when the rank fits. One name may have several.
AXES = {
    "scores": ["row key"],
    "masked_scores": ["row key"],
    "probs": ["row key"],
    "context": ["token head channel", "image token head channel"],
    "query": ["token head channel", "image token head channel"],
    "q_proj": ["token head channel"],
    "k_proj": ["token kv_head channel"],
    "v_proj": ["token kv_head channel"],
    "rotated_k": ["token kv_head channel"],
    "keys": ["image token head channel"],
    "values": ["image token head channel"],
    "hidden": ["token channel", "image tile patch channel"],
    "normalised": ["token channel", "image tile patch channel"],
    "residual": ["token channel", "image tile patch channel"],
    "attention_output": ["token channel", "image tile patch channel"],
    "mlp_output": ["token channel", "image tile patch channel"],
    "output": ["token channel", "image tile patch channel"],
    "gate": ["token channel"],
    "up": ["token channel"],
    "gated": ["token channel"],
    "activated": ["token channel", "image tile patch channel"],
    "wide": ["image tile patch channel"],
    "states": ["image tile patch channel"],
    "embedded": ["token channel"],
    "logits": ["token vocabulary"],
    "cos": ["token channel"],
    "sin": ["token channel"],
    "rotated": ["token head channel"],
    "patches": ["image tile patch pixel"],
    "pixel_values": ["image tile colour row column"],
    "joined": ["image tile patch channel"],
    "sum": ["image tile patch channel"],
}
NUMBER_VECTORS = {
    "float": "f32",
    "long": "i64",
    "unsigned char": "u8",
    "long long": "i64",
    "int64_t": "i64",
    "uint8_t": "u8",
    "std::int64_t": "i64",
    "std::uint8_t": "u8",
}
STRUCTS = (
    "Tensor",
    "TensorView",
    "Matrix",
    "HeadRows",
    "KeysAndValues",
    "KvCache",
    "CrossAttentionMask",
    "ScoreBlock",
    "RopeAngles",
    "VisionInputs",
    "Sequence",
    "Model",
    "ModelWeights",
    "TextConfig",
    "VisionConfig",
    "GenerateInputs",
)


def axes_for(name, rank):
    """Words for the axes of a tensor of this name, where the book has some."""
    last = re.sub(r"\(.*|\[.*", "", name).split(".")[-1].split("->")[-1]
    for axes in AXES.get(last, []):
        if len(axes.split()) == rank:
            return axes.split()
    return []


def item_type(type_name):
    """What a std::vector holds; None for other types."""
    match = re.match(
        r"(?:std::)?(?:__\w+::)?vector<(.*?)\s*(?:, *(?:std::)?(?:__\w+::)?allocator<.*)?>$", type_name
    )
    return match.group(1).strip() if match else None


def is_known(type_name):
    return type_name in STRUCTS or type_name.endswith("Weights") or item_type(type_name) in NUMBER_VECTORS


def require_address(node):
    if node.address is None:
        raise Unreadable(
            "it has no place in memory here (a returned value?); step once and name the variable"
        )
    return node.address


def integer(node, read):
    return layout.words(read, require_address(node), 1)[0]


def matrix(node, read):
    n_out, n_in = integer(node.field("n_out"), read), integer(node.field("n_in"), read)
    which = int.from_bytes(bytes(read(require_address(node.field("dtype")), 4)), "little")
    data = int.from_bytes(bytes(read(require_address(node.field("data")), 8)), "little")
    if which >= len(layout.DType.IN_SOURCE) or not 0 <= n_out <= 1 << 36 or not 0 <= n_in <= 1 << 36:
        raise Unreadable("not a matrix: not yet initialised, or overwritten")
    if data == 0:
        return Numbers([0], "f32", lambda first, count: [])
    return Numbers.at(read, data, [n_out, n_in], layout.DType.IN_SOURCE[which], ["out", "in"])


def head_rows(node, read):
    """Keys or values of all heads: rows of one head lie side by side, each head elsewhere."""
    d_head = integer(node.field("d_head"), read)
    start, n_heads = layout.vector(read, require_address(node.field("heads")), 24)
    if n_heads == 0:
        return Numbers([0], "f32", lambda first, count: [])
    if not 0 < d_head <= 1 << 20 or n_heads > 1 << 16:
        raise Unreadable(f"d_head {d_head}, {n_heads} heads: not yet initialised, or overwritten")
    heads = [layout.vector(read, start + 24 * head, 4) for head in range(n_heads)]
    if any(count != heads[0][1] or count % d_head for _, count in heads):
        raise Unreadable("its heads differ in length: being filled, or overwritten")
    per_head = heads[0][1]

    def fetch(first, count):
        result = []
        while count > 0:
            head, offset = divmod(first, per_head)
            piece = min(count, per_head - offset)
            result += layout.decode(bytes(read(heads[head][0] + 4 * offset, 4 * piece)), "f32")
            first, count = first + piece, count - piece
        return result

    return Numbers(
        [n_heads, per_head // d_head, d_head],
        "f32",
        fetch,
        ["kv_head", "row", "channel"],
        lambda index: heads[index // per_head][0] + 4 * (index % per_head) if per_head else 0,
    )


def mask(node, read):
    extents = [integer(node.field(name), read) for name in ("n_tokens", "n_images", "n_tiles")]
    start, count = layout.vector(read, require_address(node.field("visible")), 8)
    if any(extent < 0 for extent in extents) or layout.product(extents) != count:
        raise Unreadable(
            f"shape {shape_text(extents)} but {count} values: not yet initialised, or overwritten"
        )
    return Numbers.at(read, start, extents, "i64", ["token", "image", "tile"])


def numbers_of(node, read, name=""):
    """The object's numbers under their shape; Unreadable where it has none."""
    kind = node.type_name
    if kind == "Tensor":
        numbers = layout.tensor(
            read, require_address(node.field("shape")), require_address(node.field("values"))
        )
    elif kind == "TensorView":
        shape = layout.shape_at(read, require_address(node.field("shape")))
        start = int.from_bytes(bytes(read(require_address(node.field("values")), 8)), "little")
        numbers = Numbers.at(read, start, shape, "f32")
    elif kind == "Matrix":
        return matrix(node, read)
    elif kind == "HeadRows":
        return head_rows(node, read)
    elif kind == "CrossAttentionMask":
        return mask(node, read)
    elif item_type(kind) in NUMBER_VECTORS:
        dtype = NUMBER_VECTORS[item_type(kind)]
        start, count = layout.vector(read, require_address(node), layout.DType.SIZES[dtype])
        return Numbers.at(read, start, [count], dtype)
    else:
        raise Unreadable(no_tensor(kind))
    numbers.axes = axes_for(name, len(numbers.shape))
    return numbers


def no_tensor(kind):
    """What to do with an object that has no numbers under a shape."""
    if kind.endswith("*"):
        return f"a {kind} does not know how many numbers follow; say it: tensor p[:16]"
    article = "an" if kind[:1] in "aeiou" else "a"
    if kind in ("float", "double", "int", "long", "long long", "bool", "char"):
        return f"this is one number, {article} {kind}: `print` shows it"
    return f"{article} {kind} is no tensor; `print` shows it, and `tensor` one of its members"


def broken_vector(node, read):
    """What is wrong with a std::vector's pointers; None when they can be followed."""
    try:
        start, count = layout.vector(read, require_address(node), 1)
        if count:
            read(start, 1)
            read(start + count - 1, 1)
    except Unreadable as error:
        return f"vector ({error})"
    return None


def mask_text(node, read):
    numbers = mask(node, read)
    n_tokens, n_images, n_tiles = numbers.shape
    if numbers.size == 0:
        return f"CrossAttentionMask {shape_text(numbers.shape)}, empty: no images"
    width = n_images * n_tiles
    rows = [numbers.fetch(t * width, width) for t in range(min(n_tokens, 4096))]
    blind = sum(1 for row in rows if not any(row))
    runs = []
    for token, row in enumerate(rows):
        bits = " ".join(
            "".join("1" if v else "." for v in row[i : i + n_tiles]) for i in range(0, width, n_tiles)
        )
        if runs and runs[-1][2] == bits:
            runs[-1][1] = token
        else:
            runs.append([token, token, bits])
    listed = ", ".join(
        f"tokens {a}-{b}: {bits}" if a != b else f"token {a}: {bits}" for a, b, bits in runs[:6]
    )
    more = ", ..." if len(runs) > 6 else ""
    return (
        f"CrossAttentionMask {n_tokens} tokens x {n_images} image(s) x {n_tiles} tiles, {blind} see nothing"
        f"  {{{listed}{more}}}"
    )


def cache_text(node, read, entry_size):
    _, count = layout.vector(read, require_address(node.field("layers")), entry_size)
    return f"KvCache of {count} layers, {integer(node.field('n_tokens'), read)} tokens so far"


def member_text(name, node, read):
    """A few words about one member of a weights struct."""
    try:
        if node.type_name == "KvCache":
            return cache_text(node, read, 64)
        if node.type_name == "CrossAttentionMask":
            return f"{name} {mask_text(node, read)}"
        if node.type_name in ("long", "long long"):
            return f"{name} {integer(node, read)}"
        if node.type_name == "float":
            return f"{name} {text.number(layout.decode(bytes(read(require_address(node), 4)), 'f32')[0])}"
        if node.type_name == "bool":
            return f"{name} {'true' if bytes(read(require_address(node), 1))[0] else 'false'}"
        if node.type_name in ("Tensor", "Matrix"):
            numbers = numbers_of(node, read)
            if numbers.size:
                dtype = "" if numbers.dtype == "f32" else " " + layout.DType.NAMES[numbers.dtype]
                return f"{name} {shape_text(numbers.shape)}{dtype}"
            return ""
        if item_type(node.type_name) and node.type_name.count("Weights"):
            start, finish = layout.struct.unpack("<2Q", bytes(read(require_address(node), 16)))
            return f"{name} ({'some' if finish > start else 'none'})"
        if node.type_name.endswith("Weights"):
            inside = [member_text(f"{name}.{n}", child, read) for n, child in node.fields()]
            return ", ".join(part for part in inside if part)
    except Unreadable:
        return f"{name} (unreadable)"
    return ""


def model_text(node, read):
    """The sizes of a model, by the names that its config has for them."""
    parts = []
    for room, names in (
        ("text", ("n_layers", "d_model", "n_heads", "n_kv_heads", "n_vocabulary")),
        ("vision", ("n_local_layers", "n_global_layers", "d_model", "n_heads")),
    ):
        config = node.field("config").field(room)
        known = [n for n, _ in config.fields()]
        parts.append(
            f"{room}: " + ", ".join(f"{n} {integer(config.field(n), read)}" for n in names if n in known)
        )
    return "Model  " + ";  ".join(parts) + "; `print model.weights.text`, `print model.config.text`"


def ids_text(numbers, word_of):
    """Token ids as words, in one line; of a long list its first and last ones."""
    ids = numbers.fetch(0, min(numbers.size, 200))
    more = f" ... {numbers.size - 200} more" if numbers.size > 200 else ""
    return f"{numbers.size} token ids: " + " ".join(f"{i} {word_of(i)}" for i in ids) + more


def summary(node, read, word_of=None, name="", entry_size=64):
    """One line about the object. Never raises: what cannot be read is said."""
    kind = node.type_name
    try:
        if kind in ("Tensor", "TensorView", "HeadRows"):
            return text.brief(numbers_of(node, read, name), kind)
        if kind == "Matrix":
            numbers = matrix(node, read)
            called = layout.string(read, require_address(node.field("name"))).decode("utf-8", "replace")
            return text.brief(numbers, f"Matrix {called}".strip())
        if kind == "KeysAndValues":
            parts = [head_rows(node.field(n), read).shape for n in ("keys", "values")]
            return (
                f"KeysAndValues keys {shape_text(parts[0])} values {shape_text(parts[1])} [kv_head, row,"
                " channel]"
            )
        if kind == "KvCache":
            return cache_text(node, read, entry_size)
        if kind == "CrossAttentionMask":
            return mask_text(node, read)
        if item_type(kind) in NUMBER_VECTORS:
            numbers = numbers_of(node, read)
            if numbers.dtype == "i64" and word_of and re.search(r"ids|tokens|generated", name):
                return ids_text(numbers, word_of)
            return text.brief(numbers, f"vector of {numbers.size}").replace(f" [{numbers.size}]", "", 1)
        if kind == "Model":
            return model_text(node, read)
        if kind == "GenerateInputs":
            ids = numbers_of(node.field("token_ids"), read)
            return f"GenerateInputs {ids_text(ids, word_of or '#{}'.format)}"
        if kind.endswith("Weights") or kind in STRUCTS:
            inside = [member_text(n, child, read) for n, child in node.fields()]
            joined = ", ".join(part for part in inside if part)
            return f"{kind} {joined[:600]}{' ...' if len(joined) > 600 else ''}"
    except Unreadable as error:
        return f"{kind} ({error})"
    except Exception as error:  # a printer may never end a debugger's command
        return f"{kind} (cannot be shown: {type(error).__name__}: {error})"
    return kind
