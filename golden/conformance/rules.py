"""What an engine may do differently: every choice is a switch, and Meta's rule is the default of each.

`Rules` says how one engine computes; `SWITCHES` lists, for every field, the other values it can take and a
sentence for the report. Three fields make up the rule (kept, row_mask, decode); the rest are causes, mistakes
that ports have made. model.py computes under any combination; search.py finds the combination that gives an
engine's numbers.
"""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Rules:
    # -- the rule
    kept: str = "inputs"              # which vision states go to the projector beside the final one
    row_mask: str = "meta"            # what becomes of text rows that see no picture
    decode: str = "meta"              # what generated tokens see
    # -- vision
    normalise: str = "config"         # how 8-bit colours became numbers
    colours: str = "rgb"
    tile_order: str = "rows"          # the order in which the tiles of a picture are counted
    patch_axes: str = "row_column"    # of the patch embedding's kernel
    aspect_id: str = "given"          # which rows of the tile embeddings are taken
    pre_tile: str = "tanh"            # gate of the embedding added before the class token
    post_tile: str = "tanh"           # gate of the embedding added after layernorm_post
    position_gate: str = "complement"  # (1 - tanh(gate)) x position + tanh(gate) x tile position
    layernorm_pre: str = "on"
    layernorm_post: str = "on"
    padding_rows: str = "to_8"        # zero rows up to a multiple of 8 in each tile
    vision_mask: str = "pad_by_pad"   # which vision keys are out of sight
    vision_heads: str = "config"
    vision_scale: str = "head"        # 1 / sqrt(width of a head)
    vision_eps: str = "config"
    gelu: str = "erf"
    global_gate: str = "tanh"
    interleave: str = "channel"       # for each channel, its kept states side by side
    projector_bias: str = "on"
    # -- text
    image_row: str = "own"            # the embedding of the image token: the first of the 8 extra rows
    rope_scaling: str = "config"
    rope_theta: str = "config"
    rope_style: str = "both"          # of config: rope_scaling + rope_theta, or rope_parameters
    rope_pairs: str = "halves"        # channel i turns with channel i + d_head / 2
    decode_position: str = "next"
    kv_heads: str = "grouped"         # neighbouring query heads share one key head
    rms_eps: str = "config"
    head_norm_eps: str = "config"     # of q_norm and k_norm
    cross_norm_eps: str = "config"    # of the two norms of a cross layer
    q_norm: str = "own"
    k_norm: str = "own"
    cross_rope: str = "none"
    cross_mask: str = "given"         # which tiles a text row sees
    cross_tiles: str = "own"          # whose states are the keys of each tile
    empty_rows: str = "scores"        # what rows that see nothing and are not zeroed take
    attention_gate: str = "tanh"
    mlp_gate: str = "tanh"
    text_activation: str = "silu"
    without_picture: str = "skip"     # cross-attention layers when there is no picture at all
    prompt: str = "given"             # which tokens the engine made of a chat prompt
    # -- numbers
    self_cache: str = "float32"       # what self-attention keys and values are kept as
    cross_cache: str = "float32"
    weights: str = "stored"
    linear_inputs: str = "float32"    # what the inputs of a product with weights are rounded to
    compute: str = "float32"          # what every result is rounded to
    # of the sums in products with weights: no rule, but what a rounding may depend on
    order: int = 0

    def differing(self, other):
        """Fields in which two rules differ, in the order of this class."""
        return [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]


META = Rules()
TRANSFORMERS = Rules(kept="outputs", row_mask="transformers", decode="repeat")
# What was released under a name. The final state five times over was a regression that its makers have
# repaired.
RELEASED = {
    "Meta": META,
    "transformers 4.45 to 4.54": replace(TRANSFORMERS, kept="inputs"),
    "transformers 4.55": replace(TRANSFORMERS, kept="last"),
    "transformers 4.56 and later": TRANSFORMERS,
}
CONFORMING = ("Meta", "transformers 4.45 to 4.54", "transformers 4.56 and later")

RULE_FIELDS = ("kept", "row_mask", "decode")
SENTENCES = {
    "kept": {"inputs": "keeps the inputs of the chosen vision layers",
             "outputs": "keeps the outputs of the chosen vision layers",
             "last": "keeps the last local state, once for every chosen layer"},
    "row_mask": {"meta": "rows that see no picture are zeroed after cross-attention and after its MLP",
                 "transformers": "rows that see no picture are zeroed only after the MLP",
                 "none": "rows that see no picture are not zeroed at all",
                 "attention": "rows that see no picture are zeroed only after cross-attention"},
    "decode": {"meta": "generated tokens see one picture, but none of several",
               "repeat": "the last mask row is repeated for generated tokens",
               "none": "generated tokens see no picture",
               "skip": "cross-attention layers are left out for generated tokens",
               "present": "generated tokens see every picture",
               "all": "generated tokens see every key, absent tiles included",
               "first_row": "the first mask row is used for generated tokens"},
}
# The other values of each cause. A value that computes the same as the default on every case would be no
# cause.
SWITCHES = {
    "normalise": {
        "clip": "CLIP's mean and standard deviation, whatever the config says",
        "half": "mean and standard deviation 0.5, whatever the config says",
        "none": "colours from 0 to 1, not normalised"},
    "colours": {"bgr": "red and blue are swapped"},
    "tile_order": {"columns": "tiles are cut column by column"},
    "patch_axes": {"column_row": "rows and columns of a patch are swapped"},
    "aspect_id": {
        "off": "aspect ratio id 0 for every picture", "swapped": "(h, w) of the tile grid are swapped",
        "one_less": "aspect ratio ids are one too low",
        "first": "every picture has the aspect ratio id of one tile",
        "last": "every picture has the highest aspect ratio id"},
    "pre_tile": {
        "raw": "gate without tanh on the pre-tile embedding", "off": "no pre-tile embedding",
        "full": "no gate on the pre-tile embedding"},
    "post_tile": {
        "raw": "gate without tanh on the post-tile embedding", "off": "no post-tile embedding",
        "full": "no gate on the post-tile embedding"},
    "position_gate": {
        "plain": "position embedding without the factor 1 - tanh(gate)",
        "swapped": "tanh(gate) and 1 - tanh(gate) are swapped",
        "raw": "gate without tanh on the position embeddings", "no_tiles": "no tile position embedding"},
    "layernorm_pre": {"off": "no layernorm_pre"},
    "layernorm_post": {"off": "no layernorm_post"},
    "padding_rows": {"none": "tiles are not padded to a multiple of 8 rows"},
    "vision_mask": {
        "none": "no mask in the vision encoder: absent tiles are keys like any other",
        "keys": "padding rows and absent tiles are hidden from every row",
        "tile_keys": "absent tiles are hidden from every row, padding rows are not",
        "padding_keys": "padding rows are hidden from every row, absent tiles are not",
        "tiles": "pad-by-pad mask for absent tiles alone", "own_tile": "vision rows see their own tile only"},
    "vision_heads": {"16": "16 vision heads, whatever the config says"},
    "vision_scale": {
        "width": "vision scores scaled by the whole width", "none": "vision scores are not scaled"},
    "vision_eps": {"1e-6": "LayerNorm eps 1e-6", "1e-12": "LayerNorm eps 1e-12"},
    "gelu": {"tanh": "tanh form of GELU", "quick": "x sigmoid(1.702 x) for GELU"},
    "global_gate": {
        "raw": "gates without tanh in the global vision layers",
        "branch": "tanh of the branch, not of its gate, in the global vision layers",
        "off": "no gates in the global vision layers"},
    "interleave": {
        "states": "kept states one after the other, not interleaved",
        "kept_first": "kept states come before the final state"},
    "projector_bias": {"off": "no bias in the projector"},
    "image_row": {
        "zero": "zeros for the image token's embedding",
        "last_word": "the image token's id is clipped to the vocabulary",
        "next": "one of the other extra embedding rows for the image token"},
    "rope_scaling": {
        "none": "no llama3 scaling in RoPE", "linear": "all RoPE frequencies divided by the factor",
        "no_smoothing": "llama3 scaling without the smooth middle",
        "fixed": "llama3 scaling with 8, 1, 4, 8192, whatever the config says"},
    "rope_theta": {"500000": "RoPE theta 500000, whatever the config says", "10000": "RoPE theta 10000"},
    "rope_style": {
        "older": "rope_parameters of newer configs are not read: theta 10000, no scaling",
        "older_500000": "rope_parameters of newer configs are not read: theta 500000, no scaling"},
    "rope_pairs": {"neighbours": "RoPE rotates neighbouring channels"},
    "decode_position": {
        "one_more": "positions of generated tokens are one too high",
        "one_less": "positions of generated tokens are one too low",
        "from_zero": "positions start again at 0 for every generated token"},
    "kv_heads": {"dealt": "key heads are dealt round the query heads"},
    "rms_eps": {"1e-6": "RMSNorm eps 1e-6", "0": "RMSNorm eps 0"},
    "head_norm_eps": {"1e-6": "eps 1e-6 in q_norm and k_norm", "0": "eps 0 in q_norm and k_norm"},
    "cross_norm_eps": {"1e-6": "eps 1e-6 in the two norms of cross layers"},
    "q_norm": {
        "missing": "no q_norm", "shared": "k_norm's weights in q_norm", "ones": "q_norm without its weights"},
    "k_norm": {
        "missing": "no k_norm", "shared": "q_norm's weights in k_norm", "ones": "k_norm without its weights"},
    "cross_rope": {
        "queries": "RoPE on the queries of cross-attention",
        "both": "RoPE on queries and keys of cross-attention"},
    "cross_mask": {
        "absent_tiles": "absent tiles are cross-attention keys",
        "every_key": "no cross-attention mask: every row sees every key",
        "present": "every row sees every picture, absent tiles aside",
        "causal": "a causal mask in cross-attention",
        "all_before": "a row sees every picture before it",
        "own_end": "of pictures side by side, each is seen only up to the next",
        "start_late": "the image token itself does not see its picture",
        "last_picture": "rows see the last picture only", "first_picture": "rows see the first picture only"},
    "cross_tiles": {
        "packed": "tiles of several pictures are counted off before absent ones are removed: "
                  "later pictures lose tiles to them"},
    "empty_rows": {
        "mean": "rows that see nothing take a plain mean over all keys",
        "present": "rows that see nothing take the tiles that are there"},
    "attention_gate": {
        "raw": "gate without tanh after cross-attention",
        "branch": "tanh of the branch, not of its gate, after cross-attention",
        "off": "no gate after cross-attention"},
    "mlp_gate": {
        "raw": "gate without tanh after the MLP of cross layers",
        "branch": "tanh of the branch, not of its gate, after the MLP of cross layers",
        "off": "no gate after the MLP of cross layers"},
    "text_activation": {"gelu": "GELU for SiLU in the text MLP"},
    "without_picture": {
        "mlp": "cross layers run without a picture: their MLP is added",
        "queries": "cross layers run without a picture, on keys and values split off their own queries"},
    "prompt": {
        "bos_twice": "<|begin_of_text|> appears twice before a chat prompt",
        "no_bos": "no <|begin_of_text|> before a chat prompt",
        "image_first": "the image token comes before <|begin_of_text|>",
        "image_last": "the image token comes after the text of the message"},
    "self_cache": {
        "float16": "self-attention keys and values kept as float16",
        "float16_attention": "self-attention takes and returns float16: queries, keys, values, "
                             "what comes out",
        "bfloat16": "self-attention keys and values kept as bfloat16"},
    "cross_cache": {
        "float16": "cross-attention keys and values kept as float16",
        "float16_attention": "cross-attention takes and returns float16: queries, keys, values, "
                             "what comes out",
        "bfloat16": "cross-attention keys and values kept as bfloat16"},
    "weights": {"float16": "weights rounded to float16", "bfloat16": "weights rounded to bfloat16"},
    "linear_inputs": {
        "float16": "inputs of products with weights rounded to float16",
        "bfloat16": "inputs of products with weights rounded to bfloat16"},
    "compute": {"float16": "everything computed in float16", "bfloat16": "everything computed in bfloat16"},}
NUMBER_FIELDS = ("self_cache", "cross_cache", "weights", "linear_inputs", "compute")
VISION_FIELDS = ("kept", "normalise", "colours", "tile_order", "patch_axes", "aspect_id", "pre_tile",
                 "post_tile", "position_gate", "layernorm_pre", "layernorm_post", "padding_rows",
                 "vision_mask", "vision_heads", "vision_scale", "vision_eps", "gelu", "global_gate",
                 "interleave", "projector_bias", "weights", "linear_inputs", "compute", "order")


def describe(field, value):
    """One sentence for the report."""
    known = SENTENCES.get(field) or SWITCHES[field]
    return known.get(value, f"{field}: {value}")


def single_switches(base, names=None):
    """Every rule that differs from `base` in one cause: (field, value, rules)."""
    for field, values in SWITCHES.items():
        if names is None or field in names:
            default = getattr(META, field)
            for value in [default, *values]:
                if value != getattr(base, field):
                    yield field, value, replace(base, **{field: value})


def rule_neighbours(base):
    """Every rule that differs from `base` in one of the three fields of the rule."""
    for field in RULE_FIELDS:
        for value in SENTENCES[field]:
            if value != getattr(base, field):
                yield field, value, replace(base, **{field: value})
