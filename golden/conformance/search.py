"""Which rules give an engine's numbers? Hypotheses are computed and compared; nothing is guessed from names.

A row's error is the root mean square of (predicted - submitted) logits over the standard deviation of the
case's logits. Hypotheses are ranked by the mean over cases of the mean over rows of log10(error), floored
where float32 ends: a fault that is repaired makes some rows exact, and that counts for more than making many
rows slightly better.
"""

from dataclasses import replace

import numpy as np

import model
from rules import META, NUMBER_FIELDS, RULE_FIELDS, SENTENCES, VISION_FIELDS, rule_neighbours, single_switches

FLOOR = 2e-6          # float32 in another order of summation
# of a standard deviation: what float32 engines stay below (the measured noise is about 2e-6)
EXACT = 1e-4
LEAST_GAIN = 0.02     # of the mean log10 error, for a cause to count
LEAST_GAIN_NUMBERS = 0.15  # a rounding must explain what is left, not only blur with it
NOISE_FACTOR = 6      # how far 16-bit engines may stray beyond the kit's own 16-bit run
ORDERS = 8            # of summation, in which a hypothesis that rounds is computed again
BEAM = 3
DEEPEST = 6


class Predictions:
    """Logits under any rules, each part computed once."""

    def __init__(self):
        self.visions, self.texts = {}, {}

    def projected(self, case, rules):
        if "pixel_values" not in case.inputs:
            return None
        key = (case.name, *(getattr(rules, f) for f in VISION_FIELDS))
        if key not in self.visions:
            self.visions[key] = model.vision(case.checkpoint, case.inputs, rules)
        return self.visions[key]

    def logits(self, case, token_ids, prefill, rules):
        rules = relevant(case, token_ids, prefill, rules)
        key = (case.name, token_ids, prefill, rules)
        if key not in self.texts:
            self.texts[key] = self.text(case, token_ids, prefill, self.projected(case, rules), rules)
        return self.texts[key]

    def text(self, case, token_ids, prefill, projected, rules, parts=None):
        present = case.inputs["aspect_ratio_mask"] != 0 if "pixel_values" in case.inputs else None
        given = case.inputs.get("cross_attention_mask")
        given = given != 0 if given is not None and len(given) == prefill else None
        with np.errstate(all="ignore"):
            return model.text(case.checkpoint, token_ids, prefill, projected, present, given, rules, parts)

    def layers(self, case, token_ids, prefill, rules):
        """What the layers put out, under their names in a trace, in the order of computation."""
        parts = {}
        if "pixel_values" in case.inputs:
            with np.errstate(all="ignore"):
                parts = model.vision_parts(case.checkpoint, case.inputs, rules)
        self.text(case, token_ids, prefill, parts.get("multi_modal_projector"), rules, parts)
        return parts

    def of_pass(self, each, rules):
        """What the engine would have submitted: [row][column]."""
        ids, prefill = each.token_ids, each.prefill
        other = each.ids_if.get(rules.prompt)
        rows = each.rows
        if other is not None:
            ids, prefill, rows = (*other, *ids[prefill:]), len(other), rows + len(other) - prefill
        logits = self.logits(each.case, ids, prefill, rules)[rows]
        if each.columns is None:
            return logits
        with np.errstate(all="ignore"):
            shifted = logits - logits.max(-1, keepdims=True)
            return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))[:, each.columns]


def relevant(case, token_ids, prefill, rules):
    """The same rules with what this run cannot show set back, so that it is computed once."""
    back = {"prompt": "given"}
    images = len(case.inputs.get("pixel_values", ()))
    if images == 0:
        text_only = [
            f for f in (*VISION_FIELDS, "row_mask", "decode", "image_row", "q_norm", "k_norm",
                        "head_norm_eps", "cross_rope", "cross_mask", "cross_tiles", "empty_rows",
                        "attention_gate", "mlp_gate", "cross_cache")
            if f not in ("weights", "linear_inputs", "compute", "order")]
        if rules.without_picture == "skip":
            text_only.append("cross_norm_eps")
        back |= {f: getattr(META, f) for f in text_only}
    else:
        back["without_picture"] = "skip"
        if images == 1 and rules.decode == "repeat":
            back["decode"] = "meta"
    if len(token_ids) == prefill:
        back |= {"decode": "meta", "decode_position": "next"}
    return replace(rules, **back)


class Evidence:
    """Everything that was submitted, and how far any hypothesis is from it."""

    def __init__(self, passes, predictions=None):
        self.predictions = predictions or Predictions()
        self.passes = [each for group in passes.values() for each in group]
        self.names = list(passes)
        self.scales = {}
        self.known = {}
        self.nan_rows = {name: sum(int((~np.isfinite(each.values)).any(1).sum()) for each in group)
                         for name, group in passes.items()}
        for each in self.passes:
            each.finite = np.isfinite(each.values).all(1)
            case = each.case
            if case.name not in self.scales:
                self.scales[case.name] = float(
                    self.predictions.logits(case, tuple(case.token_ids), case.prefill, META).std())

    def errors(self, rules):
        """{case: error of each finite row}."""
        if rules not in self.known:
            found = {}
            for each in self.passes:
                difference = self.predictions.of_pass(each, rules)[each.finite] - each.values[each.finite]
                row = np.sqrt((difference.astype(np.float64) ** 2).mean(1)) / self.scales[each.case.name]
                found.setdefault(each.case.name,
                                 []).append(np.where(np.isfinite(row), np.minimum(row, 1e3), 1e3))
            self.known[rules] = {name: np.concatenate(rows) for name, rows in found.items()}
        return self.known[rules]

    def score(self, rules):
        rows = [
            np.log10(np.maximum(error, FLOOR)).mean() for error in self.errors(rules).values() if len(error)]
        return float(np.mean(rows)) if rows else 0.0

    def worst(self, rules):
        return max((float(e.max()) for e in self.errors(rules).values() if len(e)), default=0.0)

    def distance(self, a, b):
        """The largest row difference between two hypotheses in what was submitted."""
        found = 0.0
        for each in self.passes:
            difference = self.predictions.of_pass(each, a) - self.predictions.of_pass(each, b)
            row = np.sqrt((difference.astype(np.float64) ** 2).mean(1)) / self.scales[each.case.name]
            found = max(found, float(np.nan_to_num(row, nan=1e3).max(initial=0)))
        return found


def neighbours(rules):
    yield from rule_neighbours(rules)
    yield from single_switches(rules)


def good_step(evidence, before, after, changed):
    """A cause counts when it explains enough, and halves the error of some case."""
    least = LEAST_GAIN_NUMBERS if changed in NUMBER_FIELDS else LEAST_GAIN
    if evidence.score(before) - evidence.score(after) < least:
        return False
    old, new = evidence.errors(before), evidence.errors(after)
    return any(np.sqrt((new[n]**2).mean()) < 0.5 * np.sqrt((old[n]**2).mean()) or
               np.median(new[n]) < 0.5 * np.median(old[n]) for n in new if len(new[n]))


def start_rules():
    for kept in SENTENCES["kept"]:
        for row_mask in ("meta", "transformers", "none"):
            for decode in ("meta", "repeat"):
                yield replace(META, kept=kept, row_mask=row_mask, decode=decode)


def find(evidence):
    """The best hypothesis, from every plain rule on, one change at a time, a few kept at every depth."""
    beam = sorted(start_rules(), key=evidence.score)[:BEAM]
    best = beam[0]
    for _ in range(DEEPEST):
        if evidence.worst(best) < EXACT / 3:
            break
        better = {}
        for base in beam:
            for field, _value, rules in neighbours(base):
                if good_step(evidence, base, rules, field):
                    better[rules] = evidence.score(rules)
            if base is beam[0] and better and evidence.worst(min(better, key=better.get)) < EXACT / 3:
                break
        if not better:
            break
        beam = sorted(better, key=better.get)[:BEAM]
        if evidence.score(beam[0]) < evidence.score(best):
            best = beam[0]
    return simplest(evidence, best)


def simplest(evidence, best):
    """Drops every change that is not needed, the rule's own fields first set to what was released."""
    changed = True
    while changed:
        changed = False
        for field in best.differing(META):
            plain = replace(best, **{field: getattr(META, field)})
            if evidence.score(plain) - evidence.score(best) < LEAST_GAIN / 4 and (
                    evidence.worst(plain) < max(EXACT, 1.5 * evidence.worst(best))):
                best, changed = plain, True
                break
    return best


def resolution(evidence, best):
    """Differences smaller than this cannot be told from the engine's own noise."""
    return max(EXACT, 2 * evidence.worst(best))


def alternatives(evidence, best):
    """Other values of the rule and of each cause that explain the numbers as well, and causes that would not
    show."""
    limit = resolution(evidence, best)
    equal, unseen = [], []
    chosen = best.differing(META)
    for field, value, rules in neighbours(best):
        if field in NUMBER_FIELDS or evidence.distance(best, rules) >= limit:
            continue
        (equal if field in chosen or field in RULE_FIELDS else unseen).append((field, value))
    return equal, unseen


def row_noise(evidence, best, others):
    """The largest row difference from `best` that one of the other rules makes, per case."""
    found = {}
    for each in evidence.passes:
        for rules in others:
            difference = evidence.predictions.of_pass(each, rules) - evidence.predictions.of_pass(each, best)
            row = np.sqrt((difference.astype(np.float64) ** 2).mean(1)) / evidence.scales[each.case.name]
            found[each.case.name] = max(found.get(each.case.name, 0.0), float(row.max()))
    return found


def noise_16_bit(evidence, best, dtype):
    """How far the kit's own run in a 16-bit type strays, per case."""
    return row_noise(evidence, best, [replace(best, compute=dtype, weights=dtype)])


def noise_of_roundings(evidence, best):
    """How far the same rules stray in another order of summation, per case; only rules that round are asked.

    What lies between two float16 falls to one or the other by the last bit of a float32 sum, and moves by
    5e-4 of itself.
    """
    if not any(getattr(best, f) != getattr(META, f) for f in NUMBER_FIELDS if f != "weights"):
        return {}
    return row_noise(evidence, best, [replace(best, order=order) for order in range(1, ORDERS + 1)])
