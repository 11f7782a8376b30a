"""One deliberate fault: what an entry of the lists beside this file holds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str            # from the root of the repository
    before: str          # a piece of one line that stands in the file exactly once ...
    after: str           # ... and what stands there instead
    # the first tensor that must differ, said from reading the code; empty: no tensor can show it
    breaks: str = ""
    step: int = 0        # and its step: 0 is the prefill; -1 any decode step, for draws of random numbers
    case: str = ""       # a golden case and a rule, "2x2 meta": what is expected to catch it
    # the case without the cross_attention_mask of its inputs, so that the program makes it
    own_mask: bool = False
    # or a question to the shipped model, of RUNS, on which `trace diff` is asked for the step
    run: str = ""
    # the first words of the test's name that is expected to catch it, when no golden case can
    test: str = ""
    # or the Python suite, a file of tests/, that starts the programs and is expected to catch it
    suite: str = ""
    refuses: str = ""    # the program ends with an error that holds these words
    traps: tuple = ()    # the marks TRAP(...) that stand for this fault
    include: str = ""    # a header that the new line needs


# Questions to the shipped model: mutants of the prompt, of pictures and of the sampler show in these.
PICTURES = "golden/picture/"
RUNS = {
    "picture of one tile": ["--image", PICTURES + "size-tile-112.png", "--prompt", "What is this?"],
    "larger picture": ["--image", PICTURES + "size-larger-112.png", "--prompt", "What is this?"],
    "high picture": ["--image", PICTURES + "size-larger-high-112.png", "--prompt", "What is this?"],
    "row of four tiles": ["--image", PICTURES + "size-grid-1x4-112.png", "--prompt", "What is this?"],
    "2 x 2 tiles": ["--image", PICTURES + "size-grid-2x2-112.png", "--prompt", "What is this?"],
    "padded picture": ["--image", "models/pictor/pictures/odd.png", "--prompt", "What is this?"],
    "transparent picture": ["--image", PICTURES + "rgba.png", "--prompt", "What is this?"],
    "one transparent colour": [
        "--image", PICTURES + "rgb-16-bit-transparent.png", "--prompt", "What is this?"],
    "16-bit gray": ["--image", PICTURES + "gray-16-bit.png", "--prompt", "What is this?"],
    "words": ["--prompt", "Where is the star, and what are these?"],
    "special token in the text": ["--prompt", "What<|eot_id|> is this?"],
    "spaces around the text": ["--prompt", "  What is this?"],
    "prompt with its BOS": ["--raw", "--prompt", "<|begin_of_text|>What is this?"],
    "sampling": [
        "--prompt", "What is your name?", "--temperature", "3", "--seed", "11", "--max-new-tokens", "12"],
    "sampling among two": [
        "--prompt", "What is your name?", "--temperature", "100", "--top-k", "2", "--seed", "11",
        "--max-new-tokens", "12"],
    "sampling of a share": [
        "--prompt", "What is your name?", "--temperature", "30", "--top-p", "0.1", "--seed", "11",
        "--max-new-tokens", "12"],}
# What the shipped model never meets needs a model of its own: edited_models.py.
RARE_TOKENS, METAS_TOKENIZER = ["--model", "edited/rare-tokens"], ["--model", "edited/metas-tokenizer"]
RUNS |= {
    "a whole piece that no merges make": [*RARE_TOKENS, "--prompt", "zqx"],
    "Mongolian vowel separator": [*RARE_TOKENS, "--prompt", "!\u180e"],
    "contraction with a long s": [*METAS_TOKENIZER, "--prompt", "'\u017fx"],
    "line break in front": [*RARE_TOKENS, "--prompt", "\nx"],
    "run of 25,024 letters": [*METAS_TOKENIZER, "--prompt", "a" * 25_024],
    "equal logits": ["--model", "edited/tied-words", "--prompt", "What is your name?"],
    "long answer": [
        "--image", "models/pictor/pictures/demo.png", "--prompt", "What is in this image?",
        "--max-new-tokens", "16"],}
# What such a run records; RUNS that do not say otherwise generate 2 tokens.
RUN_TENSORS = [
    "input_ids", "pixel_values", "aspect_ratio_ids", "cross_attention_mask", "language_model.embed_tokens",
    "vision_model", "multi_modal_projector", "lm_head", "language_model.layers.3.cross_attn.*_norm",
    "language_model.layers.3.cross_attn.scores"]
