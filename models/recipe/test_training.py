"""Tests of the model and of its training, on a run of seconds; test_recipe.py runs them."""
import functools
import json
import random
import xml.etree.ElementTree

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

import check_transformers
import dialogs
import lean
import model
import optimizer
import plot_log
import samples
import scenes
import train
from test_scratch import SCRATCH, SHIPPED, many_scenes, photograph_files


# ---- the model ---------------------------------------------------------------------------------------

TINY = dict(tiles=8, pictures=3, all=3, photographs=3)


def silent(_):
    pass


def tiny_run(name, steps, batch=TINY):
    plan = train.Plan(1, dict(zip(train.STAGES, steps)), batch, photograph_files())
    return train.Run(SCRATCH / name, plan, silent)


@functools.lru_cache
def short_run():
    """A few steps of every stage -> (folder, entries of its log)."""
    train.LOG_EVERY, train.MEASURE_EVERY = 4, 16
    run = tiny_run("run", (12, 4, 32, 4), dict(tiles=16, pictures=3, all=4, photographs=4))
    assert run.run()
    run.checkpoint.unlink(missing_ok=True)
    entries = [json.loads(line) for line in run.log_file.read_text().splitlines()]
    run.log_file.rename(SCRATCH / "log.jsonl")
    return run.out, entries


def test_a_short_run_makes_the_losses_fall():
    _, entries = short_run()
    patches = [entry["patches"] for entry in entries if entry["stage"] == "tiles"]
    answers = [entry["loss"] for entry in entries if "loss" in entry]
    assert len(patches) == 3 and len(answers) == 9 and entries[-1]["step"] == 52, entries
    assert patches[-1] < patches[0] - .1 and answers[-1] < answers[0] - 1, (patches, answers)
    right, asked = entries[-1]["held_out"]["all"]
    assert 0 <= right <= asked and asked > 400


def test_a_stopped_run_goes_on_as_if_it_had_not_been():
    whole, stopped = tiny_run("whole", (2, 1, 4, 2)), tiny_run("stopped", (2, 1, 4, 2))
    train.MEASURE_EVERY = 1000
    assert whole.run()
    step = stopped.train_step

    def step_then_stop(*arguments):
        stopped.stopped = stopped.total_steps == 4
        return step(*arguments)
    stopped.train_step = step_then_stop
    assert not stopped.run() and stopped.checkpoint.exists()
    resumed = tiny_run("stopped", (2, 1, 4, 2))
    assert resumed.total_steps == 5 and train.STAGES[resumed.stage] == "all" and resumed.run()
    once, twice = ((run.out / "model.safetensors").read_bytes() for run in (whole, resumed))
    assert once == twice


def test_the_last_stage_can_start_from_finished_weights():
    run = tiny_run("last", (9, 9, 9, 2))
    run.start_from(SHIPPED)
    assert train.STAGES[run.stage] == "photographs" and run.run() and run.total_steps == 2
    before, after = ((folder / "model.safetensors").read_bytes() for folder in (SHIPPED, run.out))
    assert len(before) == len(after) and before != after
    again = tiny_run("last", (9, 9, 9, 2))
    again.total_steps = 1                                       # one that goes on is left alone
    again.start_from(SHIPPED)
    assert again.stage == 0


def test_a_log_is_cut_back_to_the_checkpoint():
    run = tiny_run("log", (1, 1, 1, 1))
    run.total_steps = 3
    run.log(loss=1.0)
    run.save()
    run.total_steps = 4
    run.log(loss=.5)
    assert len(tiny_run("log", (1, 1, 1, 1)).log_file.read_text().splitlines()) == 1


def test_the_log_becomes_a_graph():
    _, entries = short_run()
    svg = plot_log.draw(entries)
    assert svg.count("<polyline") == 9 and "answers" in svg and "NaN" not in svg
    xml.etree.ElementTree.fromstring(svg)


def as_training_sees(batch):
    """What lean takes, from the arguments of transformers' model: one dialog a row."""
    ids = batch["input_ids"]
    return dict(input_ids=ids, dialogs=torch.zeros_like(ids),
                sees=batch["cross_attention_mask"].flatten(2).any(-1),
                aspect_ratio_mask=batch["aspect_ratio_mask"][:, 0])


def shaken_model():
    """Random everything, gates and norms too: a missing one would not show in a fresh model."""
    fresh = model.new_model(model.load_tokenizer(SHIPPED))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(.05 * torch.randn(parameter.shape, generator=generator))
    return fresh.eval()


def test_the_lean_forward_pass_computes_what_transformers_does_under_metas_rules():
    model.use_rules("meta")
    tokenizer, full = model.load_tokenizer(SHIPPED), shaken_model()
    rows = []
    for (rng, image, objects), with_image in zip(many_scenes(6, 41), (True, True, False, True, True, True)):
        turns = [(turn.question, turn.answer) for turn in dialogs.make_dialog(rng, objects, 2, with_image)]
        ids, labels = samples.encode_dialog(tokenizer, turns, with_image)
        rows.append(samples.Sample(samples.preprocess(image), ids, labels, with_image))
    batch = samples.collate(rows, tokenizer)
    del batch["labels"]
    with torch.no_grad():
        expected = full(**batch).logits
        quick = lean.Lean(full, torch.float32)
        states = quick.see(*(batch[name][:, 0]
                             for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")))
        found = quick.logits(quick.read(as_training_sees(batch), states))
    assert {row.picture.grid for row in rows} >= {(2, 2), (1, 2)} and expected.std() > .5
    assert (found - expected).abs().max() < 5e-5, (found - expected).abs().max()


def test_dialogs_in_one_row_do_not_see_each_other():
    tokenizer, full = model.load_tokenizer(SHIPPED), shaken_model()
    (rng, image, objects), = many_scenes(1, 43)
    row = samples.pack(rng, tokenizer, image, objects, 2)
    batch = samples.collate_packed([row], 2)
    quick = lean.Lean(full, torch.float32)
    with torch.no_grad():
        states = quick.see(samples.pixels_of(batch), batch["aspect_ratio_ids"], batch["aspect_ratio_mask"])
        together = quick.logits(quick.read(batch, states))[0]
        for start in sorted(set(row.dialogs.tolist()) - {-1}):
            here = np.flatnonzero(row.dialogs == start)
            alone = dict(batch, input_ids=batch["input_ids"][:, here], sees=batch["sees"][:, here],
                         dialogs=torch.zeros(1, len(here), dtype=torch.int64))
            gap = (quick.logits(quick.read(alone, states))[0] - together[here]).abs().max()
            assert gap < 5e-5, (start, gap)


def test_gradients_of_attention_are_those_of_autograd():
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(4, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
                         for _ in range(3))
    bias = torch.randn(2, 1, 5, 5, generator=generator, dtype=torch.float64)
    inputs = query, key, value

    def both(*parts):                                           # one number of what is attended and of probs
        attended, probs = lean.Attend.apply(*parts, bias, 2)
        return (attended**2).sum() + (probs**3).sum()
    assert torch.autograd.gradcheck(both, inputs)
    assert torch.autograd.gradcheck(lambda *parts: lean.Attend.apply(*parts, None, 2)[0], inputs)


def test_looking_at_the_right_patches_costs_nothing():
    boxes = torch.zeros(1, 5, 6, dtype=torch.bool)
    boxes[0, 1, 2:4] = boxes[0, samples.NO_OBJECT, 4:] = True
    batch = dict(owners=torch.tensor([[-1, 1, samples.NO_OBJECT]]), boxes=boxes)
    looks = torch.zeros(1, 2, 3, 6)
    looks[0, :, 1, 3] = looks[0, :, 2, 5] = 1
    assert abs(train.look_loss([looks], batch).item()) < 2e-3
    looks[0, 0, 1] = torch.eye(6)[0]                            # one of two heads looks elsewhere
    assert abs(train.look_loss([looks], batch, False).item() - np.log(2)) < 5e-3
    looks[0, :, 2] = torch.eye(6)[0]
    assert train.look_loss([looks], batch).item() > train.look_loss([looks], batch, False).item() + 2


def test_muon_moves_every_direction_alike():
    generator = torch.Generator().manual_seed(3)
    for shape in ((2, 96, 256), (2, 320, 128)):
        values = torch.linalg.svdvals(optimizer.orthogonal(torch.randn(shape, generator=generator)))
        assert .6 < values.min() and values.max() < 1.3, (values.min(), values.max())


def test_a_short_run_writes_what_is_shipped():
    out, _ = short_run()
    files = {path.name for path in out.iterdir() if path.is_file()}
    beside = {"README.md", "heatmap.png", "training.svg"}        # what the card shows
    assert files == {path.name for path in SHIPPED.iterdir() if path.is_file()} - beside, files
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json",
                 "special_tokens_map.json", "generation_config.json"):
        assert json.loads((out / name).read_text()) == json.loads((SHIPPED / name).read_text()), name
    assert (out / "chat_template.jinja").read_text() == (SHIPPED / "chat_template.jinja").read_text()
    file = "model.safetensors"
    with safe_open(out / file, "pt") as ours, safe_open(SHIPPED / file, "pt") as shipped:
        assert set(ours.keys()) == set(shipped.keys())
        for name in ours.keys():
            assert ours.get_slice(name).get_shape() == shipped.get_slice(name).get_shape(), name


def test_a_short_run_loads_in_transformers():
    model.use_rules("transformers")
    out, _ = short_run()
    processor, loaded = check_transformers.load(out)
    assert list(check_transformers.problems(processor, loaded)) == []
    fresh = model.new_model(model.load_tokenizer(out))
    model.load_weights(fresh, out)
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_the_shipped_model_describes_the_example_pictures():
    model.use_rules("meta")
    processor, loaded = check_transformers.load(SHIPPED)
    assert list(check_transformers.problems(processor, loaded)) == []
    for record in json.loads((SHIPPED / "pictures" / "scenes.json").read_text()):
        image = Image.open(SHIPPED / "pictures" / record["file"])
        said = check_transformers.ask(processor, loaded, "What is in this image?", image)
        assert said == record["description"], (record["file"], said)
    assert check_transformers.ask(processor, loaded, "What is your name?") == "My name is Pictor."


def test_rows_before_the_picture_feel_it_only_under_the_rules_of_transformers():
    tokenizer, loaded = model.load_tokenizer(SHIPPED), model.load_model(SHIPPED)
    image, _ = scenes.make_scene(random.Random(5), (224, 112), 2)
    picture = samples.preprocess(image)
    ids, labels = samples.encode_dialog(tokenizer, [("Hello!", "Hello!")])
    batch = samples.collate([samples.Sample(picture, ids, labels, True)], tokenizer)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    before = ids.index(512)
    with torch.no_grad():
        alone = loaded(input_ids=inputs["input_ids"]).logits[0, :before]
        gaps = {}
        for reference in ("meta", "transformers"):
            model.use_rules(reference)
            gaps[reference] = (loaded(**inputs).logits[0, :before] - alone).abs().max().item()
    assert gaps["meta"] < 1e-4 and gaps["transformers"] > .1, gaps


def test_rates_rise_and_fall():
    assert train.rate_scale("tiles", 0, 0) < .05 and train.rate_scale("tiles", 500, .99) == 1
    assert train.rate_scale("photographs", 500, 0) == train.LAST_RATE and train.rate_scale(
        "photographs", 500, 1) == 0
    assert train.rate_scale("all", 500, .15) == 1 and train.rate_scale("all", 5000, 1) == 0
    assert .4 < train.rate_scale("all", 5000, 1 - train.FALL / 2) < .6
    assert train.Plan(10).progress("all", 5, 60 * 10 * train.SHARES["all"]) == 1
    assert train.Plan(1, dict(tiles=4)).progress("tiles", 3,
                                                 0) == .75 and abs(sum(train.SHARES.values()) - 1) < 1e-9
