"""The conformance kit: its numpy model against the oracles, its cases against one another, its scorer against
engines that are wrong on purpose and submissions that are broken. Needs numpy only.

    python3 tests/conformance_test.py            a selection of cases: some seconds
    python3 tests/conformance_test.py --all      every case, and every known mistake searched for blindly:
    some minutes
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "golden/conformance"), str(ROOT / "trace" / "python")]
sys.dont_write_bytecode = True

import numpy as np

import layers
import model
import score
import search
from checkpoint import load_checkpoint, read_metadata, read_safetensors
from load_trace import load_trace
from rules import META, RELEASED, TRANSFORMERS
from submission import BadSubmission, Pass, load_cases, read_submission
from write_trace import TraceWriter

ALL = "--all" in sys.argv
LOGITS = json.loads((ROOT / "golden/tolerances.json").read_text())["lm_head"]["atol"]
SELECTED = ("text_only", "absent", "picture_first", "two_together", "three", "heads4", "small_picture",
            "rope_picture", "form_new_new", "chat_picture")
NOISE = 2e-6  # of a standard deviation: float32 in another order
FAR = 50 * NOISE
passed = failed = 0
predictions = search.Predictions()
cases = load_cases()
chosen = {name: case for name, case in cases.items() if ALL or name in SELECTED}


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAILED: {what}")


def model_equals_goldens():
    for folder in sorted((ROOT / "golden/cases").iterdir()):
        case = json.loads((folder / "case.json").read_text())
        if folder.name == "long":  # its own tolerances; 8,216 positions are the C++ suite's
            continue
        checkpoint = load_checkpoint(ROOT / "golden" / case["checkpoint"])
        inputs = read_safetensors(folder / "inputs.safetensors")
        for name, rules in (("meta", META), ("transformers", TRANSFORMERS)):
            trace = load_trace(folder / name)
            wanted = np.concatenate([trace["lm_head", step] for step in range(len(trace.steps))])
            ids = [*map(int, inputs["input_ids"]), *case["expected"][name]["generated"][:-1]]
            projected = model.vision(checkpoint, inputs, rules)
            present, given = (inputs[key] != 0 if projected is not None else None
                              for key in ("aspect_ratio_mask", "cross_attention_mask"))
            found = model.text(checkpoint, ids, len(inputs["input_ids"]), projected, present, given, rules)
            check(np.abs(found - wanted).max() <= LOGITS, f"golden {folder.name} under {name}'s rules")


def model_equals_expected():
    """Every row, those of teacher_ids too, against each oracle; Meta's code computed all cases that it can
    hold."""
    for name, case in cases.items():
        file = ROOT / f"golden/conformance/cases/{name}/expected.safetensors"
        wanted, who_computed = read_safetensors(file), read_metadata(file)
        for who, rules in (("meta", META), ("transformers", TRANSFORMERS)):
            found = predictions.logits(case, tuple(case.token_ids), case.prefill, rules)
            check(found.shape == wanted[who].shape and np.abs(found - wanted[who]).max() <= LOGITS,
                  f"case {name} under {who}'s rules")
        fits = case.checkpoint.rope()["factor"] == 8
        check(who_computed["meta"].startswith("llama-models" if fits else "transformers"),
              f"case {name}: Meta's rows are from {who_computed['meta']}")


def engine(rules, noise=NOISE, names=None, seed=0):
    """What an engine of these rules would submit, with noise of `noise` standard deviations; chat cases as
    words."""
    random, passes = np.random.default_rng(seed), {}
    for name in names or chosen:
        case = cases[name]
        passes[name] = [Pass(case, tuple(case.token_ids), case.prefill, np.arange(len(case.token_ids)), None)]
        for prompt in case.prompts:
            ids = tuple(prompt["ids"])
            passes[name].append(
                Pass(case, ids, len(ids), np.array([len(ids) - 1]), None, np.arange(0, 512, 9),
                     prompt["ids_if"]))
        for each in passes[name]:
            values = predictions.of_pass(each, rules)
            each.values = values + np.float32(noise * values.std()) * random.standard_normal(
                values.shape).astype(np.float32)
    return passes


# One and the same by definition: a row that Meta's rule zeroes has no attention left to differ in, and a
# layer whose rows are zeroed twice is a layer left out. Under transformers' rules they differ, which is
# tested.
ZEROED = [(None, None), ("empty_rows", "mean"), ("empty_rows", "present")]
SAME_UNDER_META = [{("decode", "none"), ("decode", "skip")}, *({a, b} for a in ZEROED for b in ZEROED)]


def every_pair_is_told_apart(base, excused):
    """The matrix: every single mistake as an engine, every single mistake as a hypothesis."""
    known = [(None, None, base), *search.neighbours(base)]
    if base is TRANSFORMERS:  # the other half of the pairs is Meta's; here only what shows nowhere else
        known = [k for k in known if k[0] in (None, "empty_rows", "decode", "row_mask", "kept")]
    blank = search.Evidence(engine(base, 0), predictions)
    vectors = [np.concatenate([predictions.of_pass(each, rules).ravel() / blank.scales[each.case.name]
                               for each in blank.passes]) for _, _, rules in known]
    widths = np.concatenate([[each.values.shape[1]] * each.rows.size for each in blank.passes])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    closest = []
    for i in range(len(known)):
        for j in range(i):
            rows = np.sqrt(np.add.reduceat((vectors[i] - vectors[j]) ** 2, starts) / widths)
            pair = {known[i][:2], known[j][:2]}
            same = pair in excused
            far = float(rows.max())
            check(far < NOISE if same else far > FAR, f"{sorted(map(str, pair))} differ by {far:.2g}")
            closest.append((far, *sorted(map(str, pair))) if not same else (9.0,))
    print(f"{len(closest)} pairs; the closest: {'; '.join(str(each) for each in sorted(closest)[:3])}")


def blind_searches():
    """Wrong engines are named rightly: one change, several, with the noise of 16-bit arithmetic, words
    only."""
    three_faults = replace(TRANSFORMERS, kept="inputs", cross_norm_eps="1e-6", padding_rows="none",
                           vision_mask="none")
    two_faults = replace(TRANSFORMERS, rope_pairs="neighbours", q_norm="missing")
    as_vllm = replace(META, row_mask="none", empty_rows="present", cross_tiles="packed", decode="repeat")
    engines = [(META, NOISE), (TRANSFORMERS, NOISE), (three_faults, NOISE), (two_faults, 0.01),
               (as_vllm, NOISE)]
    names = ("text_only", "absent", "three", "two_together", "small_picture")
    if ALL:
        names = tuple(chosen)
        engines += [(rules, NOISE) for field, _, rules in search.neighbours(META)]
    for rules, noise in engines:
        evidence = search.Evidence(engine(rules, noise, names), predictions)
        found = search.find(evidence)
        check(found == rules or evidence.distance(found, rules) < NOISE,
              f"an engine of {rules.differing(META)} is taken for {found.differing(META)}")


def words_alone():
    """Log-probabilities of chat cases are enough for causes in the prompt, in vision and in roundings."""
    plain = replace(TRANSFORMERS, kept="inputs", decode="meta")
    for rules in (replace(TRANSFORMERS, decode="meta",
                          prompt="bos_twice"), replace(plain, global_gate="branch"),
                  replace(plain, global_gate="branch", self_cache="float16_attention")):
        names = ("chat_picture", "chat_tall", "chat_text")
        words = {name: passes[1:] for name, passes in engine(replace(rules, order=99), 0, names).items()}
        evidence = search.Evidence(words, predictions)
        found = search.find(evidence)
        noise = search.noise_of_roundings(evidence, found)
        check(found == rules,
              f"log-probabilities of {rules.differing(META)} are taken for {found.differing(META)}")
        check(
            bool(noise) == (rules.self_cache != "float32")
            and all(errors.max() < max(search.EXACT, 2 * noise.get(name, 0)) < 1e-3
                    for name, errors in evidence.errors(found).items()),
            f"noise of {rules.differing(META)}: {noise}")


# -- the command ---------------------------------------------------------------------------------------------

ENGINE = {"engine": "an engine", "version": "1", "how": "numpy", "dtype": "float32"}


def write(folder, files):
    for name, content in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def run_score(files, *options, prepare=None):
    """Exit code and output of score.py on a submission of these files."""
    with tempfile.TemporaryDirectory() as folder:
        write(folder, files)
        if prepare:
            prepare(Path(folder))
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            sys.argv = ["score.py", folder, *options]
            code = score.main(predictions)
        return code, out.getvalue(), errors.getvalue()


def logits(name, rules):
    case = cases[name]
    return predictions.logits(case, tuple(case.token_ids), case.prefill, rules)


def verdicts():
    both = ("absent", "three")
    for name, rules in RELEASED.items():
        code, out, _ = run_score(
            {"engine.json": ENGINE, **{f"{c}/logits.npy": logits(c, rules) for c in both}}, "--json")
        report = json.loads(out)
        check((code, report["rule"]["name"]) == (1, name), f"verdict on {name}: {out}")
        partial = "but only 2 of the 26 cases were tried" in report["verdict"]
        check(partial == (name != "transformers 4.55"), f"two cases are not the kit: {out}")
        code, out, _ = run_score(
            {"engine.json": ENGINE, **{f"{c}/logits.npy": logits(c, rules) for c in cases}}, "--json")
        check(code == int(name == "transformers 4.55"), f"verdict on {name}, every case: {out}")
    last = list(range(len(logits("three", META))))[-3:]
    part = {"engine.json": ENGINE, "three/logits.npy": logits("three", META)[last], "three/rows.json": last,
            "absent/result.json": {"result": "refused", "why": "no such grid"}}
    code, out, _ = run_score(part)
    check(code == 1 and "refused in 1" in out and "no such grid" in out, "a refusal is a result of its own")
    first = {"engine.json": ENGINE, "three/logits.npy": logits("three", META)[:2], "three/rows.json": [0, 1],
             "three/result.json": {"result": "crashed", "why": "signal 11"}}
    code, out, _ = run_score(first)
    check(code == 1 and "follows Meta; crashed in 1" in out and "signal 11" in out,
          f"rows before a crash count: {out}")
    first["three/logits.npy"] = first["three/logits.npy"][::-1]
    code, out, _ = run_score(first)
    check(code == 1 and "not explained in 1" in out and "crashed in 1" in out,
          f"wrong rows before a crash: {out}")
    sick = logits("absent", META).copy()
    sick[:2] = np.nan
    code, out, _ = run_score({"engine.json": ENGINE, "absent/logits.npy": sick})
    check(code == 1 and "nan in 1" in out and "follows Meta" in out, f"NaN is a result of its own: {out}")
    code, out, _ = run_score({"engine.json": ENGINE, "absent/logits.npy": sick * np.nan})
    check(code == 1 and "nan" in out.splitlines()[0], "nothing but NaN")
    code, out, _ = run_score({
        "engine.json": ENGINE, "absent/result.json": {"result": "crashed", "why": "signal 11"}})
    check(code == 1 and "crashed" in out.splitlines()[0], "nothing but a crash")
    # in another order of summation; and with something larger in it, which no order explains
    for other in (0, 1e-3):
        found = {c: logits(c, replace(META, self_cache="float16", order=99)) for c in both}
        code, out, _ = run_score(
            {
                "engine.json": ENGINE, **{
                    f"{c}/logits.npy": rows + np.float32(other * rows.std()) * np.sign(
                        np.sin(np.arange(rows.size))).reshape(rows.shape) for c, rows in found.items()}},
            "--table")
        check((code, "hidden float16" in out, "not explained" in out) == (1, not other, bool(other)),
              f"a hidden float16 cache: {out}")
    noise = np.random.default_rng(1).standard_normal(logits("absent", META).shape).astype(np.float32)
    code, out, _ = run_score({"engine.json": ENGINE, "absent/logits.npy": noise}, "--table")
    check(code == 1 and "not explained in 1" in out, f"noise is explained by nothing: {out}")


def a_trace_is_scored():
    def record(folder):
        case, rows = cases["absent"], logits("absent", META)
        with TraceWriter(folder / "absent", "an engine") as trace:
            for step, start in enumerate([0, *range(case.prefill, len(rows))]):
                end = case.prefill if step == 0 else start + 1
                trace.begin_step("decode" if step else "prefill", start, end - start)
                trace.tensor("input_ids", "token", np.array(case.token_ids[start:end]))
                trace.tensor("lm_head", "token vocabulary", rows[start:end])
    code, out, _ = run_score({"engine.json": ENGINE}, prepare=record)
    check(code == 1 and "follows Meta; but only 1 of the 26 cases were tried" in out,
          f"a trace of Meta's rules: {out}")


def the_first_layer_away_is_named():
    """Faults that no switch knows, a parameter that is not what the checkpoint says: the trace's layers tell
    where."""
    faults = {
        "language_model.layers.3": ("language_model.layers.3.mlp.down_proj.weight", "language_model.layers.2",
                                    META),
        "vision_model.transformer.layers.2": ("vision_model.transformer.layers.2.mlp.fc2.bias",
                                              "vision_model.transformer.layers.1", TRANSFORMERS),
        "lm_head": ("lm_head.weight", "language_model.layers.5", TRANSFORMERS),}
    for layer, (parameter, before, rules) in faults.items():
        report = report_on_trace(parameter, rules)
        found = report["cases"]["absent"].get("first_away", {})
        check((found.get("tensor"), found.get("before")) == (layer, before), f"a fault in {layer}: {found}")
        check(layer == "lm_head" or (found.get("step") == 0 and found["error"] > 0.01),
              f"how far {layer} is away: {found}")
        if layer == "language_model.layers.3":
            said = f"    absent: {layers.sentence(found)}\n"
            check(said in (ROOT / "golden/conformance/README.md").read_text(),
                  f"README.md does not print: {said}")
    found = report_on_trace("lm_head.weight", META, only=["input_ids",
                                                          "lm_head"])["cases"]["absent"]["first_away"]
    check("no layer's output" in layers.sentence(found), f"a trace without layers: {found}")
    found = report_on_trace("language_model.norm.weight", META,
                            cut="language_model.layers.1")["cases"]["absent"]["first_away"]
    check(found["tensor"] == "language_model.layers.1" and "shape" in found["why"],
          f"a layer of another shape: {found}")


def report_on_trace(parameter, rules, only=(), cut=None):
    """score.py's report on an engine that has shuffled one parameter, and recorded its layers (`cut`: a row
    too few)."""
    case = cases["absent"]
    weights = {name: np.random.default_rng(5).permutation(value.ravel()).reshape(value.shape)
               if name == parameter else value for name, value in case.checkpoint.weights.items()}
    wrong = replace(case, checkpoint=replace(case.checkpoint, weights=weights))
    blank, ids = search.Predictions(), tuple(case.token_ids)
    parts = blank.layers(wrong, ids, case.prefill, rules)
    parts["lm_head"] = blank.text(wrong, ids, case.prefill, parts["multi_modal_projector"], rules)

    def record(folder):
        with TraceWriter(folder / "absent", "an engine", only=only) as trace:
            for step, start in enumerate([0, *range(case.prefill, len(ids))]):
                end = case.prefill if step == 0 else start + 1
                trace.begin_step("decode" if step else "prefill", start, end - start)
                trace.tensor("input_ids", "token", np.array(ids[start:end]))
                for name, value in parts.items():
                    if value.ndim == 2:
                        trace.tensor(name, "token channel", value[start:end - (name == cut and step == 0)])
                    elif step == 0:
                        trace.tensor(name, "image tile patch channel", value)
    return json.loads(run_score({"engine.json": ENGINE}, "--json", prepare=record)[1])


def bad_submissions():
    rows = logits("absent", META)
    entry = {"prompt": "Where", "images": 1, "top": [[5, -1.0], [6, -2.0]]}
    bad = {
        "no engine.json": {"absent/logits.npy": rows},
        "engine.json is a list": {"engine.json": [], "absent/logits.npy": rows},
        "engine.json is no JSON": {"engine.json": b"{", "absent/logits.npy": rows},
        "deep JSON": {"engine.json": b"[" * 100000, "absent/logits.npy": rows},
        "no case": {"engine.json": ENGINE},
        "unknown case": {"engine.json": ENGINE, "other/logits.npy": rows},
        "two kinds": {"engine.json": ENGINE, "absent/logits.npy": rows, "absent/result.json": {}},
        "wrong rows": {"engine.json": ENGINE, "absent/logits.npy": rows[1:]},
        "wrong columns": {"engine.json": ENGINE, "absent/logits.npy": rows[:, 1:]},
        "whole numbers": {"engine.json": ENGINE, "absent/logits.npy": rows.astype(np.int64)},
        "cut .npy": {"engine.json": ENGINE, "absent/logits.npy": b"\x93NUMPY\x01\x00"},
        "pickled .npy": {"engine.json": ENGINE, "absent/logits.npy": b"\x80\x04N."},
        "rows twice": {"engine.json": ENGINE, "absent/logits.npy": rows[:2], "absent/rows.json": [0, 0]},
        "rows beyond": {"engine.json": ENGINE, "absent/logits.npy": rows[:2], "absent/rows.json": [0, 999]},
        "unknown result": {"engine.json": ENGINE, "absent/result.json": {"result": "fine", "why": ""}},
        "broken trace": {
            "engine.json": ENGINE, "absent/trace.json": {"format": "pictor-trace", "version": 1}},
        "trace is a list": {"engine.json": ENGINE, "absent/trace.json": []},
        "words for a case of ids": {"engine.json": ENGINE, "absent/logprobs.json": [entry]},
        "unknown prompt": {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"prompt": "Who"}]},
        "wrong images": {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"images": 2}]},
        "one token": {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"top": [[5, -1.0]]}]},
        "no pairs": {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"top": 7}]},
        "ids outside": {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"after": [99999]}]},}
    for what, files in bad.items():
        code, _, errors = run_score(files)
        check(code == 2 and errors.startswith("score: ") and errors.count("\n") == 1,
              f"{what}: {code} {errors}")
    with tempfile.TemporaryDirectory() as folder:
        write(
            folder,
            {"engine.json": ENGINE, "chat_picture/logprobs.json": [entry | {"top": [["W", -1], ["e", -2]]}]})
        try:
            found = read_submission(folder, cases)[1]["chat_picture"][0]
            check(len(found.columns) == 2, "tokens by their text")
        except BadSubmission as problem:
            check(False, f"tokens by their text: {problem}")


if __name__ == "__main__":
    model_equals_goldens()
    model_equals_expected()
    bad_submissions()
    every_pair_is_told_apart(META, SAME_UNDER_META)
    every_pair_is_told_apart(TRANSFORMERS, [])
    blind_searches()
    words_alone()
    verdicts()
    a_trace_is_scored()
    the_first_layer_away_is_named()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)
