"""Where a submitted trace leaves the rules: its layers' outputs, step by step in the order of computation.
For cases that logits alone do not explain. Needs numpy only.
"""

import numpy as np

from submission import BadSubmission


def recorded(trace, name, step):
    """A tensor and the rows that the step's tokens are of all; None where the trace has not kept its
    numbers."""
    entry = trace.index.get((name, step))
    if entry is None or ("npy" not in entry and entry["values"] != "all"):
        return None
    try:
        start, count = (int(trace.steps[step][key]) for key in ("first_token", "token_count"))
        return trace[name, step], slice(start, start + count)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadSubmission(f"{trace.folder}: {name}: {problem}") from None


def difference(found, wanted, spread):
    """(error, why): the worst row's root mean square error in units of the tensor's standard deviation."""
    if found.shape != wanted.shape:
        return None, f"shape {found.shape}, want {wanted.shape}"
    error = float(np.sqrt(((found.astype(np.float64) - wanted) ** 2).mean(-1)).max() / spread)
    return (error, "") if np.isfinite(error) else (None, "its numbers are not finite")


def walk(each, predictions, rules, limit):
    """How many tensors agree under these rules, and the first that does not."""
    vision = each.case.checkpoint.vision
    n_patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    layers = predictions.layers(each.case, each.token_ids, each.prefill, rules)
    agreed, before = 0, None
    for step in range(len(each.trace.steps)):
        for name, wanted in layers.items():
            kept = recorded(each.trace, name, step)
            if kept is None:
                continue
            (found, rows), spread = kept, wanted.std()
            if wanted.ndim == 2:
                wanted = wanted[rows]
            # [image][tile][row][channel]: rows that pad a tile are an engine's own affair
            elif found.ndim == 4:
                found, wanted = found[:, :, :n_patches], wanted[:, :, :n_patches]
            error, why = difference(found, wanted, spread)
            if error is None or error > limit:
                return agreed, {"tensor": name, "step": step, "error": error, "why": why, "before": before}
            agreed, before = agreed + 1, name
    return agreed, {"tensor": "lm_head", "before": before}


def first_away(each, predictions, hypotheses, limit):
    """The first tensor that is away, under the hypothesis that the trace follows longest. hypotheses: {name:
    rules}."""
    walks = {name: walk(each, predictions, rules, limit) for name, rules in hypotheses.items()}
    longest = max(walks, key=lambda name: walks[name][0])
    return walks[longest][1] | {"under": longest}


def sentence(found):
    if found["before"] is None and found["tensor"] == "lm_head":
        return "the trace has no layer's output with its numbers; they would show where it leaves the rules"
    agree = f"up to {found['before']} it agrees with {found['under']}" if found["before"] else (
        f"nothing agrees with {found['under']}")
    if found["tensor"] == "lm_head":
        return f"{agree}, all its layers; lm_head is the first that does not"
    return f"{agree}; the first that differs is {found['tensor']} in step {found['step']}: " + (
        found["why"] or f"error {found['error']:.2g} of its standard deviation")
