"""Prints a recorded answer token by token: how likely each was, what came second, what the image added.

    python3 chapters/answer.py build/book/happening

For each token of the answer: the row that predicted it, its probability and the runner-up's, and, for each
cross-attention layer that ran, the length of what cross-attention added to that row as a share of the row's
own length. Needs numpy.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "trace" / "python"))
sys.dont_write_bytecode = True
import numpy as np
from load_trace import load_trace


def probabilities(logits):
    """Softmax in double precision."""
    raised = np.exp(logits.astype(np.float64) - logits.max())
    return raised / raised.sum()


def row_of(trace, name, step):
    """The last row of a step: the one that predicts the next token."""
    return trace[name, step][-1].astype(np.float64)


def added_by_image(trace, layer, step):
    name = f"language_model.layers.{layer}.cross_attn.gated"
    if (name, step) not in trace:
        return None
    before = row_of(trace, f"language_model.layers.{layer - 1}", step)
    return np.linalg.norm(row_of(trace, name, step)) / np.linalg.norm(before)


def vocabulary(trace):
    """Token texts by id, as far as this model's tokenizer.json has them."""
    import json

    file = Path(__file__).resolve().parent.parent / "models" / "pictor" / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    words = {number: text.replace("\u0120", " ") for text, number in tokenizer["model"]["vocab"].items()}
    return words | {added["id"]: added["content"] for added in tokenizer["added_tokens"]}


def main():
    if len(sys.argv) != 2:
        sys.exit("answer: a trace is missing; python3 chapters/answer.py build/book/happening would be right")
    trace = load_trace(sys.argv[1])
    words, texts = vocabulary(trace), trace.header["generated"]["token_texts"]
    layers = trace.header["model"]["text"]["cross_attention_layers"]
    ran = [layer for layer in layers if f"language_model.layers.{layer}" in trace]
    head = "".join(f"  layer {layer}" for layer in ran) or "  no cross layer ran"
    print(f"row  token            likely  runner-up        likely{head}")
    for step, text in enumerate(texts):
        shares = probabilities(row_of(trace, "lm_head", step))
        chosen = trace.header["generated"]["token_ids"][step]
        second = int(np.argsort(shares)[-1 if np.argmax(shares) != chosen else -2])
        image = "".join(f"  {added_by_image(trace, layer, step):7.3f}" for layer in ran)
        row = trace.steps[step]["first_token"] + trace.steps[step]["token_count"] - 1
        print(
            f"{row:3}  {text!r:16} {shares[chosen]:6.3f}  {words.get(second, second)!r:16} "
            f"{shares[second]:6.3f}{image}"
        )


if __name__ == "__main__":
    main()
