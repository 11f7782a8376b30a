"""What a text row sees: [token][image][tile], for the rows of a prompt and for generated ones. Needs numpy
only."""

import numpy as np


def interval_mask(tokens, image_token, grids, n_tiles):
    """[token][image][tile]: a picture is seen from its token to the next; side by side they share the later
    end."""
    starts = [i for i, token in enumerate(tokens) if token == image_token]
    ends = starts[1:] + [len(tokens)]
    for i in reversed(range(len(starts) - 1)):
        if starts[i + 1] == starts[i] + 1:
            ends[i] = ends[i + 1]
    mask = np.zeros((len(tokens), len(starts), n_tiles), np.int64)
    for image, (start, end) in enumerate(zip(starts, ends)):
        mask[start:end, image, : grids[image][0] * grids[image][1]] = 1
    return mask


def seen_tiles(token_ids, n_prefill, image_token, present, given, rules):
    """[token][image][tile] for every row, generated ones too. present: [image][tile]; given: the prompt's own
    mask."""
    cross = rules.cross_mask
    prompt = given if cross in ("given", "absent_tiles", "causal") and given is not None else build_mask(
        token_ids[:n_prefill], image_token, present, cross)
    if cross == "absent_tiles":
        prompt = np.broadcast_to(prompt.any(-1, keepdims=True), prompt.shape)
    images = len(present)
    decode = rules.decode
    if decode == "meta":
        decode = "repeat" if images == 1 else "none"
    row = {"repeat": prompt[-1], "none": prompt[-1] & False, "skip": prompt[-1] & False, "present": present,
           "all": present | True, "first_row": prompt[0]}[decode]
    if cross in ("every_key", "causal"):
        row = row | True if decode not in ("none", "skip") else row
    return np.concatenate([prompt, np.broadcast_to(row, (len(token_ids) - n_prefill, *row.shape))])


def packed_tiles(projected, present):
    """As many tiles as are there, counted off from the first, absent ones among them, in the places of those
    that are."""
    packed = np.zeros_like(projected)
    packed[present] = projected.reshape(-1, *projected.shape[2:])[: present.sum()]
    return packed


def build_mask(ids, image_token, present, kind):
    """Rows of a prompt: a picture is seen from its token to the next; side by side they share the later
    end."""
    starts = [i for i, token in enumerate(ids) if token == image_token]
    n = len(ids)
    ends = starts[1:] + [n]
    if kind != "own_end":
        for i in reversed(range(len(starts) - 1)):
            if starts[i + 1] == starts[i] + 1:
                ends[i] = ends[i + 1]
    mask = np.zeros((n, *present.shape), bool)
    for image, (start, end) in enumerate(zip(starts, ends)):
        end = n if kind == "all_before" else end
        mask[start + (kind == "start_late"):end, image] = present[image]
    if kind == "present":
        mask[:] = present
    elif kind in ("last_picture", "first_picture"):
        which = -1 if kind == "last_picture" else 0
        seen = mask.any((1, 2))
        mask[:] = False
        mask[:, which] = seen[:, None] & present[which]
    elif kind == "every_key":
        mask[:] = True
    return mask
