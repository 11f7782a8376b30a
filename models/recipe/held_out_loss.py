"""Held-out scores while training: how many answers of fixed held-out pictures are right, by kind of question.

An answer is right when every one of its tokens is the most likely one after the true ones before it, which
is when greedy decoding gives exactly it. Runs on the lean forward pass in bfloat16: quick, and close.
"""
import collections
import functools
import random

import torch

import dialogs
import varied
from lean import Lean
from model import IMAGE
from samples import IGNORED, TOKENS, collate_packed, empty_row, encode_dialog, pixels_of

SEED, PICTURES, BATCH = 99, 96, 24


def packed_questions(rng, tokenizer, image, objects):
    """-> (Packed row of one question of each kind that fits, [(kind, first, last)] of the answers'
    labels)."""
    row = empty_row(tokenizer, image, objects)
    place, spans = 0, []
    kinds = dialogs.KINDS_OF_QUESTION
    for kind in ["describe", "nothing known", *rng.sample(kinds, len(kinds))]:
        turns = dialogs.turn_of_kind(rng, objects, kind)
        if not turns:
            continue
        with_image = kind != "no picture"
        ids, labels = encode_dialog(tokenizer, [(turn.question, turn.answer) for turn in turns], with_image)
        if place + len(ids) > TOKENS:
            continue
        here = slice(place, place + len(ids))
        row.ids[here], row.labels[here], row.dialogs[here] = ids, labels[1:] + [IGNORED], place
        if with_image:
            row.sees[place + ids.index(tokenizer.token_to_id(IMAGE)):place + len(ids)] = True
        first = place + len(labels) - 1 - labels[::-1].index(IGNORED)
        spans.append((kind, first, place + len(ids) - 1))
        place += len(ids)
    return row, spans


@functools.lru_cache(1)
def questions(tokenizer_file):
    from tokenizers import Tokenizer
    tokenizer, rng = Tokenizer.from_str(tokenizer_file), random.Random(SEED)
    return [packed_questions(rng, tokenizer, *varied.make_any(rng)) for _ in range(PICTURES)]


def held_out_scores(model, tokenizer):
    """-> {kind: [right, asked]}."""
    right, asked = collections.Counter(), collections.Counter()
    rows = questions(tokenizer.to_str())
    for start in range(0, len(rows), BATCH):
        chosen = rows[start:start + BATCH]
        batch = collate_packed([row for row, _ in chosen], 1)
        with torch.no_grad():
            lean = Lean(model)
            states = lean.see(pixels_of(batch), batch["aspect_ratio_ids"], batch["aspect_ratio_mask"])
            hit = lean.logits(lean.read(batch, states)).argmax(-1) == batch["labels"]
        for index, (_, spans) in enumerate(chosen):
            for kind, first, last in spans:
                for name in (kind, "all"):
                    asked[name] += 1
                    right[name] += bool(hit[index, first:last].all())
    return {kind: [right[kind], asked[kind]] for kind in [*dialogs.KINDS_OF_QUESTION, "all"] if asked[kind]}
