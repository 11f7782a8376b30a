"""Tests of the recipe: the world is what it says it is, and a short training run works from end to end.

    python test_recipe.py           prints each failure and `N passed, N failed`; about a minute
"""
import functools
import hashlib
import json
import math
import pathlib
import random
import re
import sys
import tempfile
import traceback
import xml.etree.ElementTree

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

import check_transformers
import dialogs
import evaluate
import example_pictures
import held_out_loss
import heldout
import lean
import measure
import model
import optimizer
import plot_log
import samples
import scenes
import tiles
import train
import varied

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "pictor"
SCRATCH = tempfile.TemporaryDirectory(prefix="pictor-recipe-")


def many_scenes(n_scenes, seed, draw=scenes.make_scene):
    rng = random.Random(seed)
    for _ in range(n_scenes):
        image, objects = draw(rng)
        yield rng, image, objects


# ---- the world ---------------------------------------------------------------------------------------

def test_a_seed_draws_the_same_scenes_again():
    first, again = list(heldout.make_heldout(20, 11)), list(heldout.make_heldout(20, 11))
    other = list(heldout.make_heldout(20, 12))
    assert [record for _, record in first] == [record for _, record in again]
    assert all(a.tobytes() == b.tobytes() for (a, _), (b, _) in zip(first, again))
    assert [record for _, record in first] != [record for _, record in other]


def test_held_out_questions_are_those_of_the_quoted_figures():
    records = [record for _, record in heldout.make_heldout(200, 11)]
    digest = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
    assert digest == "ffc736da43887a11dea980bdbb5aa724958db2e27aac16c94393ad275e987343", digest


def test_boxes_lie_in_the_picture_and_hold_all_the_paint():
    for _, image, objects in many_scenes(150, 21):
        pixels = np.asarray(image).astype(int)
        free = scenes.BACKGROUNDS.index(next(tuple(b) for b in scenes.BACKGROUNDS
                                             if (pixels == b).all(-1).sum() > pixels[..., 0].size * .2))
        painted = (pixels != scenes.BACKGROUNDS[free]).any(-1)
        for thing in objects:
            x0, y0, x1, y1 = thing.box
            assert -1e-6 <= x0 < x1 <= image.width + 1e-6 and -1e-6 <= y0 < y1 <= image.height + 1e-6, thing
            left, top, right, bottom = int(x0), int(y0), math.ceil(x1) + 1, math.ceil(y1) + 1
            assert painted[top:bottom, left:right].any(), thing
            painted[top:bottom, left:right] = False
        assert not painted.any(), (objects, np.argwhere(painted)[:3])


def test_objects_are_where_their_words_say():
    for _, image, objects in [*many_scenes(150, 22), *many_scenes(150, 23, varied.make_varied)]:
        assert 1 <= len(objects) <= 4 and len({thing.kind for thing in objects}) == len(objects)
        assert objects == sorted(objects, key=lambda thing: (thing.row, thing.column))
        for thing in objects:
            column = int((thing.box[0] + thing.box[2]) / 2 / image.width * 3)
            row = int((thing.box[1] + thing.box[3]) / 2 / image.height * 3)
            assert scenes.PLACES[row][column] == thing.place, thing


def test_varied_scenes_hold_every_object_and_overlap_little():
    overlaps = small = 0
    for _, image, objects in many_scenes(200, 24, varied.make_varied):
        boxes = [thing.box for thing in objects]
        for index, (x0, y0, x1, y1) in enumerate(boxes):
            assert -1e-6 <= x0 < x1 <= image.width + 1e-6 and -1e-6 <= y0 < y1 <= image.height + 1e-6
            small += min(x1 - x0, y1 - y0) < .55 * min(image.width, image.height) / 3
            for left, top, right, bottom in boxes[:index]:
                shared = max(0, min(x1, right) - max(x0, left)) * max(0, min(y1, bottom) - max(y0, top))
                overlaps += shared > 0
                assert shared < .35 * min((x1 - x0) * (y1 - y0), (right - left) * (bottom - top)), boxes
    assert overlaps > 20 and small > 20, (overlaps, small)


def test_paint_shows_what_lies_below_a_hole():
    image = Image.new("RGB", (60, 60), (0, 0, 255))
    varied.paint(image, "key", (0, 0, 60, 60), (255, 0, 0))
    assert image.getpixel((15, 30)) == (0, 0, 255) and image.getpixel((40, 30)) == (255, 0, 0)
    tidy, direct = Image.new("RGB", (60, 60), (9, 9, 9)), Image.new("RGB", (60, 60), (9, 9, 9))
    for kind in scenes.KINDS:
        varied.paint(tidy, kind, (3, 4, 50, 57), (200, 30, 30))
        scenes.draw_object(ImageDraw.Draw(direct), kind, (3, 4, 50, 57), (200, 30, 30), (9, 9, 9))
        assert tidy.tobytes() == direct.tobytes(), kind
        tidy.paste((9, 9, 9), (0, 0, 60, 60))
        direct.paste((9, 9, 9), (0, 0, 60, 60))


def facts_of(objects):
    return {(thing.colour, thing.kind, thing.place) for thing in objects}


def is_true(question, answer, objects, before=None):
    """Reads question and answer by their words alone and holds them against the objects; before: the last answer."""
    facts, by_kind = facts_of(objects), {thing.kind: thing for thing in objects}
    question = question.replace("colour", "color")
    if " it?" in question:
        kind = next(kind for kind in scenes.KINDS if re.search(rf"\b{kind}\b", before))
        question = question.replace(" it?", f" the {kind}?")
    if question in scenes.DESCRIBE:
        said = re.findall(r"an? (\w+) (\w+) (at the \w+(?: left| right)?|in the middle)", answer)
        return (len(said) == len(objects) and set(said) == facts) if objects else answer == dialogs.NOTHING
    match = re.fullmatch(r"(?:What color is|What is the color of|Where is) the (\w+)\?", question)
    if match and match[1] not in by_kind:
        return answer == f"There is no {match[1]}."
    if match:
        thing = by_kind[match[1]]
        return answer == f"The {thing.kind} is {thing.place if question.startswith('Where') else thing.colour}."
    if question.startswith("How many"):
        return [f" {word} " in answer for word in scenes.COUNTS].index(True) == len(objects)
    if match := re.fullmatch(r"Is there an? (\w+)\?", question):
        said = re.fullmatch(r"Yes, an? (\w+) (\w+) is (.+)\.", answer)
        return said.groups() in facts if match[1] in by_kind else answer == f"No, there is no {match[1]}."
    place = re.fullmatch(r"What is (at the .+|in the middle)\?", question)[1]
    there = [thing for thing in objects if thing.place == place]
    return answer == (f"{'An' if there[0].colour == 'orange' else 'A'} {there[0].colour} {there[0].kind} is {place}."
                      if there else f"Nothing is {place}.")


def test_answers_are_true():
    seen = set()
    for rng, _, objects in [*many_scenes(200, 23), *many_scenes(40, 25, varied.make_unknown)]:
        before = None
        for turn in dialogs.make_dialog(rng, objects, 8):
            seen.add(turn.kind)
            assert turn.kind == "chat" or is_true(turn.question, turn.answer, objects, before), (turn, objects)
            before = turn.answer
    assert seen == set(dialogs.KINDS_OF_QUESTION) - {"no picture"}, seen


def test_without_a_picture_no_question_about_one_is_answered():
    turns = dialogs.make_dialog(random.Random(3), [], 300, with_image=False)
    assert {turn.kind for turn in turns} == {"chat", "no picture"}
    for turn in turns:
        assert turn.answer == (dict(dialogs.CHAT)[turn.question] if turn.kind == "chat" else dialogs.NO_PICTURE)
    assert len(dict(dialogs.CHAT)) == len(dialogs.CHAT) >= 12


def test_held_out_questions_are_true_and_of_every_kind():
    count = {kind: 0 for kind in dialogs.KINDS_OF_QUESTION}
    for _, record in heldout.make_heldout(80, 11):
        objects = [scenes.SceneObject(thing["kind"], thing["colour"], thing["row"], thing["column"])
                   for thing in record["objects"]]
        for asked in record["questions"]:
            count[asked["kind"]] += 1
            *earlier, (question, answer) = asked["turns"]
            before = earlier[-1][1] if earlier else None
            if asked["picture"] and asked["kind"] != "chat":
                assert is_true(question, answer, objects, before), (record, asked)
    assert min(count.values()) >= 20 and sum(count.values()) == 320, count


def test_example_pictures_are_what_the_recipe_draws():
    records = json.loads((SHIPPED / "pictures" / "scenes.json").read_text())
    drawn = list(example_pictures.make_pictures())
    assert [record for _, record in drawn] == records
    for image, record in drawn:
        shipped = Image.open(SHIPPED / "pictures" / record["file"]).convert("RGB")
        assert shipped.size == image.size
        differing = (np.asarray(shipped) != np.asarray(image)).any(-1).mean()
        assert differing < .02, (record["file"], differing)     # other releases of Pillow round edges differently


# ---- from scenes to tensors --------------------------------------------------------------------------

def test_tokenizer_is_the_shipped_one_and_gives_texts_back():
    path = pathlib.Path(SCRATCH.name) / "tokenizer.json"
    tokenizer = model.build_tokenizer(path)
    assert json.loads(path.read_text()) == json.loads((SHIPPED / "tokenizer.json").read_text())
    texts = [*list(scenes.corpus(50, seed=77)), "Straße, 北京, 🙂\r\n\n\t x  12345 isn't", "", " ", "\x00\x7f"]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text, text
    assert tokenizer.token_to_id(model.IMAGE) == 512 and tokenizer.token_to_id(model.BOS) == 480
    for word in scenes.KINDS + scenes.COLOUR_NAMES:
        assert len(tokenizer.encode(" " + word).ids) == 1, word


def test_preprocess_is_that_of_transformers():
    processor = MllamaImageProcessorPil(**{key: value for key, value in model.PREPROCESSOR_CONFIG.items()
                                           if key not in ("image_processor_type", "processor_class")})
    rng = random.Random(3)
    sizes = [(224, 224), (112, 112), (113, 112), (112, 448), (448, 112), (336, 112), (1, 1), (500, 420), (90, 401)]
    for size in sizes:
        image = Image.fromarray(np.random.default_rng(rng.randrange(99)).integers(0, 256, (*size, 3), dtype=np.uint8))
        picture, expected = samples.preprocess(image), processor(image, return_tensors="np")
        assert np.abs(picture.pixels - expected["pixel_values"][0, 0]).max() < 1e-6, size
        assert picture.aspect_ratio_id == expected["aspect_ratio_ids"][0, 0], size
        assert (picture.tile_mask == expected["aspect_ratio_mask"][0, 0]).all(), size


def packed_rows(n_segments):
    tokenizer = model.load_tokenizer(SHIPPED)
    for rng, image, objects in many_scenes(10, 31 + n_segments, varied.make_any):
        yield tokenizer, samples.pack(rng, tokenizer, image, objects, n_segments)


def test_packed_dialogs_are_the_chat_format_and_labels_are_the_next_tokens():
    blind = 0
    for n_segments in (1, 2):
        for tokenizer, row in packed_rows(n_segments):
            for start in sorted(set(row.dialogs.tolist()) - {-1}):
                here = np.flatnonzero(row.dialogs == start)
                assert here[0] == start and (np.diff(here) == 1).all() and len({i // (192 // n_segments) for i in here}) == 1
                ids, labels, sees = row.ids[here].tolist(), row.labels[here].tolist(), row.sees[here].tolist()
                assert ids[0] == tokenizer.token_to_id(model.BOS) and ids.count(512) <= 1
                assert sees == [512 in ids[:place + 1] for place in range(len(ids))]
                blind += 512 not in ids
                answers = [label for label in labels if label != samples.IGNORED]
                assert all(label in (samples.IGNORED, after) for label, after in zip(labels, ids[1:] + [samples.IGNORED]))
                text = tokenizer.decode(answers, skip_special_tokens=False)
                n_turns = tokenizer.decode(ids, skip_special_tokens=False).count("user<|end")
                assert text.count("<|eot_id|>") == n_turns and "user" not in text, text
    assert blind > 0


def test_a_step_draws_its_batch_whatever_came_before():
    tokenizer = model.load_tokenizer(SHIPPED)
    source = iter(samples.Batches(samples.draw_batch, 4, tokenizer, 7, 2))
    first, second = next(source), next(source)
    again = samples.draw_batch(tokenizer, 7, 5, 2)
    assert all(torch.equal(second[name], again[name]) for name in again)
    assert not torch.equal(first["bytes"], second["bytes"])


def test_bytes_give_back_the_pixels():
    tokenizer = model.load_tokenizer(SHIPPED)
    image, objects = scenes.make_scene(random.Random(5), (173, 301), 2)
    row = samples.pack(random.Random(1), tokenizer, image, objects, 2)
    pixels = samples.pixels_of(samples.collate_packed([row], 2))
    assert (pixels[0] - torch.from_numpy(row.picture.pixels)).abs().max() < 1e-6


def test_patch_labels_name_what_is_under_a_patch():
    image, objects = scenes.make_scene(random.Random(5), (224, 224), 2)
    picture = samples.preprocess(image)
    labels = samples.patch_labels(picture, objects)
    grid = measure.PatchGrid(picture.grid, picture.resized, picture.size, model.TILE, model.PATCH)
    kinds = grid.lay_out(labels[..., 0].reshape(-1))
    for thing in objects:
        x, y = int((thing.box[0] + thing.box[2]) / 2), int((thing.box[1] + thing.box[3]) / 2)
        assert kinds[y // model.PATCH, x // model.PATCH] == 1 + scenes.KINDS.index(thing.kind)
    assert (labels[:, 0] == samples.IGNORED).all() and (kinds >= 0).all()
    places = grid.lay_out(labels[..., 2].reshape(-1))
    assert places[0, 0] == 0 and places[0, -1] == 2 and places[8, 8] == 4 and places[-1, 0] == 6


# ---- measuring ---------------------------------------------------------------------------------------

def test_one_marked_patch_points_at_one_place():
    for n_rows, n_columns in model.TILE_GRIDS:
        size = (n_rows * model.TILE, n_columns * model.TILE)
        grid = measure.PatchGrid((n_rows, n_columns), size, size, model.TILE, model.PATCH)
        for row, column in ((0, 0), (n_rows * 8 - 1, n_columns * 8 - 1), (5, n_columns * 8 - 3)):
            keys = np.zeros(model.MAX_TILES * 65)
            tile = (row // 8) * n_columns + column // 8
            keys[tile * 65 + 1 + (row % 8) * 8 + column % 8] = 1
            assert np.argwhere(grid.lay_out(keys)).tolist() == [[row, column]]
            box = (column * 14 + 6, row * 14 + 6, column * 14 + 7, row * 14 + 7)
            pointing = measure.Pointing()
            pointing.add(3, "kind", keys[None], grid, box)
            assert pointing.figures(3, "kind")[:3] == (1, 1, 1)
            missed = (box[0] - 40, box[1] - 40, box[2] - 40, box[3] - 40)
            pointing.add(3, "kind", keys[None], grid, missed)
            assert pointing.figures(3, "kind")[:3] == (2, .5, .5)


def test_words_of_objects_are_found_in_tokens():
    things = [dict(kind="fish", colour="red", box=None), dict(kind="ball", colour="orange", box=None)]
    pieces = ["I", " see", " a", " red", " fish", " at", " the", " left", " and", " an", " orange", " ball", " at"]
    found = [(token, word, thing["kind"]) for token, word, thing in measure.object_words(pieces, things)]
    assert found == [(3, "colour", "fish"), (4, "kind", "fish"), (10, "colour", "ball"), (11, "kind", "ball")], found
    try:
        list(measure.object_words(pieces[:6], things))
    except ValueError as error:
        assert "orange ball" in str(error)
    else:
        raise AssertionError("a missing word was not noticed")


# ---- the model ---------------------------------------------------------------------------------------

TINY = dict(tiles=8, pictures=3, all=3)


def silent(_):
    pass


def tiny_run(name, steps, batch=TINY):
    return train.Run(pathlib.Path(SCRATCH.name) / name, train.Plan(1, dict(zip(train.STAGES, steps)), batch), silent)


@functools.lru_cache
def short_run():
    """A few steps of every stage -> (folder, entries of its log)."""
    train.LOG_EVERY, train.MEASURE_EVERY = 4, 16
    run = tiny_run("run", (12, 4, 32), dict(tiles=16, pictures=3, all=4))
    assert run.run()
    run.checkpoint.unlink(missing_ok=True)
    entries = [json.loads(line) for line in run.log_file.read_text().splitlines()]
    run.log_file.rename(pathlib.Path(SCRATCH.name) / "log.jsonl")
    return run.out, entries


def test_a_short_run_makes_the_losses_fall():
    _, entries = short_run()
    patches = [entry["patches"] for entry in entries if entry["stage"] == "tiles"]
    answers = [entry["loss"] for entry in entries if "loss" in entry]
    assert len(patches) == 3 and len(answers) == 8 and entries[-1]["step"] == 48, entries
    assert patches[-1] < patches[0] - .1 and answers[-1] < answers[0] - 1, (patches, answers)
    right, asked = entries[-1]["held_out"]["all"]
    assert 0 <= right <= asked and asked > 400


def test_a_stopped_run_goes_on_as_if_it_had_not_been():
    whole, stopped = tiny_run("whole", (2, 1, 4)), tiny_run("stopped", (2, 1, 4))
    train.MEASURE_EVERY = 1000
    assert whole.run()
    step = stopped.train_step

    def step_then_stop(*arguments):
        stopped.stopped = stopped.total_steps == 4
        return step(*arguments)
    stopped.train_step = step_then_stop
    assert not stopped.run() and stopped.checkpoint.exists()
    resumed = tiny_run("stopped", (2, 1, 4))
    assert resumed.total_steps == 5 and train.STAGES[resumed.stage] == "all" and resumed.run()
    once, twice = ((run.out / "model.safetensors").read_bytes() for run in (whole, resumed))
    assert once == twice


def test_a_log_is_cut_back_to_the_checkpoint():
    run = tiny_run("log", (1, 1, 1))
    run.total_steps = 3
    run.log(loss=1.0)
    run.save()
    run.total_steps = 4
    run.log(loss=.5)
    assert len(tiny_run("log", (1, 1, 1)).log_file.read_text().splitlines()) == 1


def test_the_log_becomes_a_graph():
    _, entries = short_run()
    svg = plot_log.draw(entries)
    assert svg.count("<polyline") == 9 and "answers" in svg and "NaN" not in svg
    xml.etree.ElementTree.fromstring(svg)


def as_training_sees(batch):
    """What lean takes, from the arguments of transformers' model: one dialog a row."""
    ids = batch["input_ids"]
    return dict(input_ids=ids, dialogs=torch.zeros_like(ids), sees=batch["cross_attention_mask"].flatten(2).any(-1),
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
        rows.append(samples.Sample(samples.preprocess(image), *samples.encode_dialog(tokenizer, turns, with_image), with_image))
    batch = samples.collate(rows, tokenizer)
    del batch["labels"]
    with torch.no_grad():
        expected = full(**batch).logits
        quick = lean.Lean(full, torch.float32)
        states = quick.see(batch["pixel_values"][:, 0], batch["aspect_ratio_ids"][:, 0], batch["aspect_ratio_mask"][:, 0])
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
    query, key, value = (torch.randn(4, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 1, 5, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q, k, v: lean.Attend.apply(q, k, v, bias, 2), (query, key, value))


def test_muon_moves_every_direction_alike():
    generator = torch.Generator().manual_seed(3)
    for shape in ((2, 96, 256), (2, 320, 128)):
        values = torch.linalg.svdvals(optimizer.orthogonal(torch.randn(shape, generator=generator)))
        assert .6 < values.min() and values.max() < 1.3, (values.min(), values.max())


def test_single_tiles_label_what_they_show():
    batch = tiles.draw_tiles(3, 0, 4)
    assert batch["bytes"].shape == (4, 1, 3, model.TILE, model.TILE)
    assert (batch["patches"][..., 2] == samples.IGNORED).all() and (batch["patches"][:, :, 1:, 0] > 0).any()


def test_a_short_run_writes_what_is_shipped():
    out, _ = short_run()
    files = {path.name for path in out.iterdir() if path.is_file()}
    beside = {"README.md", "heatmap.png", "training.svg"}        # what the card shows
    assert files == {path.name for path in SHIPPED.iterdir() if path.is_file()} - beside, files
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json",
                 "special_tokens_map.json", "generation_config.json"):
        assert json.loads((out / name).read_text()) == json.loads((SHIPPED / name).read_text()), name
    assert (out / "chat_template.jinja").read_text() == (SHIPPED / "chat_template.jinja").read_text()
    with safe_open(out / "model.safetensors", "pt") as ours, safe_open(SHIPPED / "model.safetensors", "pt") as shipped:
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
    assert train.rate_scale("all", 500, .5) == 1 and train.rate_scale("all", 5000, 1) == 0
    assert .4 < train.rate_scale("all", 5000, 1 - train.FALL / 2) < .6
    assert train.Plan(10).progress("all", 5, 60 * 10 * train.SHARES["all"]) == 1
    assert train.Plan(1, dict(tiles=4)).progress("tiles", 3, 0) == .75 and sum(train.SHARES.values()) == 1


def main():
    torch.set_num_threads(1)                                    # a busy machine waits long for a second one
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    for name, test in tests:
        try:
            test()
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
