"""Tests of the world that Pictor knows, of its tensors and of what is measured; test_recipe.py runs them."""
import hashlib
import json
import math
import random
import re

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

import dialogs
import example_pictures
import heldout
import measure
import model
import photographs
import samples
import scenes
import tiles
import varied
from test_scratch import SCRATCH, SHIPPED, many_scenes, photograph_files


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


def test_photographs_are_crops_in_the_size_that_is_asked_for():
    files = photograph_files()
    assert [file.name for file in files] == ["small.png", "tall.jpg", "wide.png"]
    drawn = [photographs.make_photograph(random.Random(seed), files, (112, 60)) for seed in range(40)]
    again = [photographs.make_photograph(random.Random(seed), files, (112, 60)) for seed in range(40)]
    assert all(image.size == (60, 112) and image.mode == "RGB" and not objects for image, objects in drawn)
    assert [image.tobytes() for image, _ in drawn] == [image.tobytes() for image, _ in again]
    assert len({image.tobytes() for image, _ in drawn}) > 30    # of tiny files the same crop may come twice


def test_photographs_are_among_the_pictures_of_the_last_stage_alone():
    tokenizer = model.load_tokenizer(SHIPPED)
    without = samples.draw_batch(tokenizer, 5, samples.HARD_FROM, 6)
    assert torch.equal(without["bytes"], samples.draw_batch(tokenizer, 5, samples.HARD_FROM, 6)["bytes"])
    drawn = [samples.draw_batch(tokenizer, 5, step, 12, photograph_files()) for step in range(4)]
    empty = sum(int((batch["patches"][..., 0] > 0).flatten(1).any(1).logical_not().sum()) for batch in drawn)
    assert 8 <= empty <= 24, empty                              # of 48: photographs, and some without objects


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
    """Reads question and answer by their words alone and holds them against the objects; before: the last
    answer."""
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
        said = thing.place if question.startswith("Where") else thing.colour
        return answer == f"The {thing.kind} is {said}."
    if question.startswith("How many"):
        return [f" {word} " in answer for word in scenes.COUNTS].index(True) == len(objects)
    if match := re.fullmatch(r"Is there an? (\w+)\?", question):
        said = re.fullmatch(r"Yes, an? (\w+) (\w+) is (.+)\.", answer)
        return said.groups() in facts if match[1] in by_kind else answer == f"No, there is no {match[1]}."
    place = re.fullmatch(r"What is (at the .+|in the middle)\?", question)[1]
    there = [thing for thing in objects if thing.place == place]
    if not there:
        return answer == f"Nothing is {place}."
    article = "An" if there[0].colour == "orange" else "A"
    return answer == f"{article} {there[0].colour} {there[0].kind} is {place}."


def test_answers_are_true():
    seen = set()
    for rng, _, objects in [*many_scenes(200, 23), *many_scenes(40, 25, varied.make_unknown)]:
        before = None
        for turn in dialogs.make_dialog(rng, objects, 8):
            seen.add(turn.kind)
            assert turn.kind == "chat" or is_true(turn.question, turn.answer, objects, before), turn
            before = turn.answer
    assert seen == set(dialogs.KINDS_OF_QUESTION) - {"no picture"}, seen


def test_every_turn_is_true_and_none_is_missing():
    for rng, _, objects in many_scenes(20, 26):
        turns = list(dialogs.every_turn(objects))
        assert len({turn.question for turn in turns}) == len(turns)
        assert all(is_true(turn.question, turn.answer, objects) for turn in turns)
        asked = [turn for turn in dialogs.make_dialog(rng, objects, 40)
                 if turn.kind not in ("chat", "follow-up")]
        answers = {turn.question: turn.answer for turn in turns}
        assert all(answers[turn.question] == turn.answer for turn in asked)


def test_without_a_picture_no_question_about_one_is_answered():
    turns = dialogs.make_dialog(random.Random(3), [], 300, with_image=False)
    assert {turn.kind for turn in turns} == {"chat", "no picture"}
    for turn in turns:
        chat = dict(dialogs.CHAT)
        assert turn.answer == (chat[turn.question] if turn.kind == "chat" else dialogs.NO_PICTURE)
    assert len(dict(dialogs.CHAT)) == len(dialogs.CHAT) >= 12


def test_held_out_questions_are_true_and_of_every_kind():
    count = dict.fromkeys(dialogs.KINDS_OF_QUESTION, 0)
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
        # other releases of Pillow round edges differently
        assert differing < .02, (record["file"], differing)


# ---- from scenes to tensors --------------------------------------------------------------------------

def test_tokenizer_is_the_shipped_one_and_gives_texts_back():
    path = SCRATCH / "tokenizer.json"
    tokenizer = model.build_tokenizer(path)
    assert json.loads(path.read_text()) == json.loads((SHIPPED / "tokenizer.json").read_text())
    odd = ["Straße, 北京, 🙂\r\n\n\t x  12345 isn't", "", " ", "\x00\x7f"]
    texts = [*scenes.corpus(50, seed=77), *(part for pair in dialogs.CHAT for part in pair), *odd]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text, text
    assert tokenizer.token_to_id(model.IMAGE) == 512 and tokenizer.token_to_id(model.BOS) == 480
    for word in scenes.KINDS + scenes.COLOUR_NAMES:
        assert len(tokenizer.encode(" " + word).ids) == 1, word


def test_preprocess_is_that_of_transformers():
    processor = MllamaImageProcessorPil(**{key: value for key, value in model.PREPROCESSOR_CONFIG.items()
                                           if key not in ("image_processor_type", "processor_class")})
    rng = random.Random(3)
    sizes = [(224, 224), (112, 112), (113, 112), (112, 448), (448, 112), (336, 112), (1, 1), (500, 420),
             (90, 401)]
    for size in sizes:
        noise = np.random.default_rng(rng.randrange(99)).integers(0, 256, (*size, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
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
                assert here[0] == start and (np.diff(here) == 1).all()
                assert len(set(here // (192 // n_segments))) == 1
                ids, labels, sees = row.ids[here].tolist(), row.labels[here].tolist(), row.sees[here].tolist()
                assert ids[0] == tokenizer.token_to_id(model.BOS) and ids.count(512) <= 1
                assert sees == [512 in ids[:place + 1] for place in range(len(ids))]
                blind += 512 not in ids
                answers = [label for label in labels if label != samples.IGNORED]
                for label, after in zip(labels, ids[1:] + [samples.IGNORED]):
                    assert label in (samples.IGNORED, after)
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


def test_words_of_an_answer_belong_to_what_they_name():
    tokenizer = model.load_tokenizer(SHIPPED)
    objects = [scenes.SceneObject("fish", "black", 0, 1), scenes.SceneObject("cup", "red", 2, 2)]
    turn = dialogs.Turn("describe", "What do you see?", scenes.describe(objects))
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode(turn.answer).ids]
    owners = samples.answer_owners(tokenizer, turn, objects)
    owned = ["".join(piece for piece, owner in zip(pieces, owners) if owner == index) for index in (-1, 0, 1)]
    assert owned == ["I see", " a black fish at the top and", " a red cup at the bottom right."], owned
    there = dialogs.Turn("where", "", "The cup is at the bottom right.", objects[1])
    gone = dialogs.Turn("not there", "", "There is no moon.")
    small_talk = dialogs.Turn("chat", "", "My name is Pictor.")
    assert set(samples.answer_owners(tokenizer, there, objects)[:-1]) == {1}
    assert set(samples.answer_owners(tokenizer, gone, objects)[:-1]) == {samples.NO_OBJECT}
    assert set(samples.answer_owners(tokenizer, small_talk, objects)) == {-1}


def test_every_patch_that_is_there_lies_in_a_box_or_in_none():
    for _, image, objects in many_scenes(20, 51, varied.make_any):
        picture = samples.preprocess(image)
        boxes = samples.box_patches(picture, objects).reshape(5, model.MAX_TILES, 65)
        assert all(boxes[index].any() == (index < len(objects)) for index in range(4))
        present = picture.tile_mask.astype(bool)
        assert (boxes.any(0)[present]).all() and not boxes[:, ~present].any()
        assert not (boxes[samples.NO_OBJECT] & boxes[:4].any(0)).any() and boxes[4, present, 0].all()


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
    pieces = ["I", " see", " a", " red", " fish", " at", " the", " left", " and", " an", " orange", " ball",
              " at"]
    found = [(token, word, thing["kind"]) for token, word, thing in measure.object_words(pieces, things)]
    assert found == [(3, "colour", "fish"), (4, "kind", "fish"), (10, "colour", "ball"),
                     (11, "kind", "ball")], found
    try:
        list(measure.object_words(pieces[:6], things))
    except ValueError as error:
        assert "orange ball" in str(error)
    else:
        raise AssertionError("a missing word was not noticed")


def test_single_tiles_label_what_they_show():
    batch = tiles.draw_tiles(3, 0, 4)
    assert batch["bytes"].shape == (4, 1, 3, model.TILE, model.TILE)
    assert (batch["patches"][..., 2] == samples.IGNORED).all() and (batch["patches"][:, :, 1:, 0] > 0).any()
