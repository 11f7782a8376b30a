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

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

import check_transformers
import example_pictures
import heldout
import measure
import model
import pretrain
import samples
import scenes
import train
from budget import Budget

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "pictor"
SCRATCH = tempfile.TemporaryDirectory(prefix="pictor-recipe-")


def many_scenes(n_scenes, seed):
    rng = random.Random(seed)
    for _ in range(n_scenes):
        image, objects = scenes.make_scene(rng)
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
    assert digest == "04466adac387401dfcc3d16cfe6f108763a1043cbb9d0bedfb55f9d3a1b4b275", digest


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
    for _, image, objects in many_scenes(150, 22):
        assert 1 <= len(objects) <= 4 and len({thing.kind for thing in objects}) == len(objects)
        for thing in objects:
            column = int((thing.box[0] + thing.box[2]) / 2 / image.width * 3)
            row = int((thing.box[1] + thing.box[3]) / 2 / image.height * 3)
            assert scenes.PLACES[row][column] == thing.place, thing


def is_true(question, answer, objects):
    """Reads question and answer by their words alone and holds them against the objects."""
    facts = {(thing.colour, thing.kind, thing.place) for thing in objects}
    by_kind = {thing.kind: thing for thing in objects}
    if answer.startswith("I see"):
        said = re.findall(r"an? (\w+) (\w+) (at the \w+(?: left| right)?|in the middle)", answer)
        return len(said) == len(objects) and set(said) == facts
    if match := re.fullmatch(r"What color is the (\w+)\?|What is the color of the (\w+)\?", question):
        kind = match[1] or match[2]
        return answer == f"The {kind} is {by_kind[kind].colour}."
    if match := re.fullmatch(r"Where is the (\w+)\?", question):
        return answer == f"The {match[1]} is {by_kind[match[1]].place}."
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
    for rng, _, objects in many_scenes(300, 23):
        for question, answer in scenes.make_dialog(rng, objects):
            seen.add(scenes.question_kind(question))
            assert question in dict(scenes.CHAT) or is_true(question, answer, objects), (question, answer, objects)
    assert seen == {"describe", "chat", "colour", "where", "count", "what is at", "is there"}, seen


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


def test_labels_are_the_answers_and_masks_start_at_the_picture():
    tokenizer = model.load_tokenizer(SHIPPED)
    batch = samples.collate([samples.draw_sample(random.Random(seed), tokenizer) for seed in range(12)], tokenizer)
    blind = 0
    for ids, labels, mask in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), batch["cross_attention_mask"]):
        sees = mask.flatten(1).any(-1).tolist()
        assert sees.index(True) == ids.index(512) if 512 in ids else not any(sees)
        blind += 512 not in ids
        answers = tokenizer.decode([label for label in labels if label >= 0], skip_special_tokens=False)
        assert answers.count("<|eot_id|>") == (4 if 512 in ids else 3) and "user" not in answers, answers
        assert all(label in (samples.IGNORED, token) for label, token in zip(labels, ids))
    assert blind < 12


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

@functools.lru_cache
def short_run():
    """A few steps of both parts -> (folder, losses of pretraining, losses of training)."""
    out = pathlib.Path(SCRATCH.name) / "run"
    silent = lambda line: None
    first = pretrain.pretrain(out / "pretrained", Budget(1, steps=10), n_chunks=2, tiles_per_chunk=50, batch=16, report=silent)
    second = train.train(out, out / "pretrained", Budget(1, steps=16), batch=3, report=silent)
    return out, first, second


def test_a_short_run_makes_the_loss_fall():
    _, first, second = short_run()
    assert (len(first), len(second)) == (10, 16)
    assert np.mean(first[-3:]) < np.mean(first[:3]) - .1, first
    assert np.mean(second[-4:]) < np.mean(second[:4]) - .3, second


def test_the_same_steps_give_the_same_weights():
    silent = lambda line: None
    folders = [pathlib.Path(SCRATCH.name) / name for name in ("once", "twice")]
    for folder in folders:
        pretrain.pretrain(folder, Budget(1, steps=2), n_chunks=1, tiles_per_chunk=20, batch=4, report=silent)
        train.train(folder / "all", folder, Budget(1, steps=2), batch=2, report=silent)
    once, twice = ((folder / "all" / "model.safetensors").read_bytes() for folder in folders)
    assert once == twice


def test_a_short_run_writes_what_is_shipped():
    out, _, _ = short_run()
    files = {path.name for path in out.iterdir() if path.is_file()}
    assert files == {path.name for path in SHIPPED.iterdir() if path.is_file()} - {"README.md"}, files
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
    out, _, _ = short_run()
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
    batch = samples.collate([samples.Sample(picture, ids, labels, True, np.zeros((4, 65, 2), np.int64))], tokenizer)
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "patches")}
    before = ids.index(512)
    with torch.no_grad():
        alone = loaded(input_ids=inputs["input_ids"]).logits[0, :before]
        gaps = {}
        for reference in ("meta", "transformers"):
            model.use_rules(reference)
            gaps[reference] = (loaded(**inputs).logits[0, :before] - alone).abs().max().item()
    assert gaps["meta"] < 1e-4 and gaps["transformers"] > .1, gaps


def test_rates_rise_and_fall():
    for module, steps in ((pretrain, 600), (train, 2694)):
        rates = [module.learning_rate(step, step / steps) for step in range(steps)]
        assert rates[0] < module.PEAK_RATE / 50 and rates[-1] < module.PEAK_RATE / 50
        assert .9 * module.PEAK_RATE < max(rates) <= module.PEAK_RATE + module.LOWEST_RATE
    assert Budget(60, steps=10).progress == 0 and 0 <= Budget(1).progress < 1


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
