"""Makes the cases of the conformance kit, and what the oracles compute from them. Needs
golden/requirements.txt.

    python golden/conformance/make_cases.py            every case
    python golden/conformance/make_cases.py NAME...    only these

Writes cases/NAME/case.json, inputs.safetensors, expected.safetensors (logits of both oracles, prompt and
teacher_ids; who computed them is in its metadata) and, for chat cases, PNG files. Run make_checkpoints.py
first.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE),
    str(HERE.parent),
    str(HERE.parent.parent / "trace" / "python"),
    str(HERE / "engines")]

from checkpoint import write_safetensors
from make_inputs import picture
from masks import interval_mask

# pictures: (h, w) tiles, each filled to the edge. text: how many random tokens stand behind bos, then behind
# each picture. mask "given": cross_attention_mask is among the inputs; "own": the engine makes it from ids
# and pictures.
CASES = {
    "text_only": dict(what="no picture at all", pictures=[], text=[12]),
    "one_tile": dict(what="one tile, text behind it", pictures=[(1, 1)], text=[0, 8]),
    "square": dict(what="2 x 2 tiles, all of them filled", pictures=[(2, 2)], text=[0, 8]),
    "text_before": dict(what="five tokens stand before the picture of 1 x 2 tiles", pictures=[(1, 2)],
                        text=[5, 6]),
    "row": dict(what="four tiles in a row", pictures=[(1, 4)], text=[0, 7]),
    "column": dict(what="four tiles in a column", pictures=[(4, 1)], text=[0, 7]),
    "absent": dict(what="three tiles in a column, the fourth absent, text before", pictures=[(3, 1)],
                   text=[2, 6]),
    "picture_first": dict(what="the picture stands before bos, as transformers' processor puts it",
                          pictures=[(1, 3)], text=[0, 7], first=True),
    "two_apart": dict(what="two pictures with text between, the first of 2 x 1 tiles",
                      pictures=[(2, 1), (2, 2)], text=[1, 4, 5]),
    "two_together": dict(what="two pictures side by side, the first of 1 x 3 tiles",
                         pictures=[(1, 3), (1, 2)], text=[2, 0, 7]),
    "three": dict(what="two side by side, text, a third", pictures=[(1, 1), (2, 1), (1, 2)],
                  text=[0, 0, 3, 4]),
    "own_mask_one": dict(what="the engine makes the mask; one picture, text before", pictures=[(1, 3)],
                         text=[3, 6], mask="own"),
    "own_mask_two": dict(what="the engine makes the mask; two pictures side by side, then a third",
                         mask="own", pictures=[(1, 2), (1, 1), (3, 1)], text=[1, 0, 3, 4]),
    "heads4": dict(what="4 vision heads", checkpoint="heads4", pictures=[(2, 1)], text=[2, 6]),
    "small_text": dict(what="small hidden states, no picture", checkpoint="small", pictures=[], text=[9]),
    "small_picture": dict(what="small hidden states, one picture", checkpoint="small", pictures=[(1, 2)],
                          text=[3, 6]),
    "rope_text": dict(what="theta 10000, llama3 scaling from length 64", checkpoint="rope", pictures=[],
                      text=[40]),
    "rope_picture": dict(what="the same with a picture", checkpoint="rope", pictures=[(2, 2)], text=[3, 24]),
    "form_hub_old": dict(what="hub names, rope_scaling", checkpoint="form-hub-old", pictures=[(1, 2)],
                         text=[2, 5]),
    "form_hub_new": dict(what="hub names, rope_parameters", checkpoint="form-hub-new", pictures=[(1, 2)],
                         text=[2, 5]),
    "form_new_old": dict(what="newer names, rope_scaling", checkpoint="form-new-old", pictures=[(1, 2)],
                         text=[2, 5]),
    "form_new_new": dict(what="newer names, rope_parameters", checkpoint="form-new-new", pictures=[(1, 2)],
                         text=[2, 5]),
    "chat_text": dict(
        what="words only", pictures=[],
        messages=["Where is the fish?", "Where is the", "What is in this image?", "How many red"]),
    "chat_picture": dict(
        what="a picture of 1 x 3 tiles and words", pictures=[(1, 3)], messages=[
            "", "Where", "Where is", "Where is the fish?", "What is in this image?",
            "How many red circles are there?"]),
    "chat_tall": dict(what="a picture of 2 x 1 tiles and words", pictures=[(2, 1)],
                      messages=["Where is the fish?", "What colour", "What colour is it?", "Is there"]),
    "chat_two": dict(what="two pictures and words", pictures=[(2, 1), (1, 2)],
                     messages=["Where is the fish?", "What is in this image?", "How many"]),}
N_DECODE = 4


def describe(name):
    case = CASES[name]
    checkpoint = HERE / "checkpoints" / case.get("checkpoint", "chat" if "messages" in case else "main")
    settings = json.loads((checkpoint / "config.json").read_text())
    return case, checkpoint, settings


def random_tokens(case, settings, random):
    vocabulary = settings["text_config"]["vocab_size"]
    tokens = [settings["text_config"]["bos_token_id"]]
    for index, count in enumerate(case["text"]):
        tokens += [settings["image_token_index"]] * (index > 0)
        tokens += [int(t) for t in random.integers(0, vocabulary - 4, count)]
    if case.get("first"):
        tokens[:2] = tokens[1::-1]
    return tokens


def chat_prompts(case, checkpoint):
    """Each message as a whole prompt: text, ids, and the ids of mistakes that are made with templates."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    bos, header = "<|begin_of_text|>", "<|start_header_id|>user<|end_header_id|>\n\n"
    images = "<|image|>" * len(case["pictures"])
    tail = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    prompts = []
    for message in case["messages"]:
        forms = {
            "given": bos + header + images + message + tail,
            "bos_twice": bos * 2 + header + images + message + tail,
            "no_bos": header + images + message + tail, "image_first": images + bos + header + message + tail,
            "image_last": bos + header + message + images + tail}
        ids = {form: tokenizer.encode(text, add_special_tokens=False).ids for form, text in forms.items()}
        if not images:
            del ids["image_first"], ids["image_last"]
        prompts.append({
            "message": message, "rendered": forms["given"], "ids": ids.pop("given"), "ids_if": ids})
    return prompts


def canvases(case, settings, random):
    """8-bit pictures of exactly the canvas' size: nothing is resized and nothing padded."""
    size = settings["vision_config"]["image_size"]
    return [numpy.asarray(picture(random, w * size, h * size)) for h, w in case["pictures"]]


def cut(image, grid, size, n_tiles, mean, std):
    """[tile][colour][row][column], absent tiles 0, as transformers' processor makes them from such a
    picture."""
    h, w = grid
    numbers = (image.astype(numpy.float32) * numpy.float32(1 / 255) - mean) / std
    tiles = numbers.reshape(h, size, w, size, 3).transpose(0, 2, 4, 1, 3).reshape(h * w, 3, size, size)
    return numpy.concatenate([tiles, numpy.zeros((n_tiles - h * w, *tiles.shape[1:]), numpy.float32)])


def make_inputs(name):
    case, checkpoint, settings = describe(name)
    random = numpy.random.default_rng(sum(name.encode()))
    vision = settings["vision_config"]
    prompts = chat_prompts(case, checkpoint) if "messages" in case else None
    tokens = prompts[0]["ids"] if prompts else random_tokens(case, settings, random)
    vocabulary = settings["text_config"]["vocab_size"]
    inputs = {"input_ids": numpy.array(tokens, numpy.int64),
              "teacher_ids": random.integers(0, min(vocabulary, 480) - 4, N_DECODE).astype(numpy.int64)}
    images = canvases(case, settings, random)
    if images:
        picture_file = json.loads((checkpoint / "preprocessor_config.json").read_text())
        mean, std = (numpy.array(picture_file[key], numpy.float32) for key in ("image_mean", "image_std"))
        ratios, n_tiles = vision["supported_aspect_ratios"], vision["max_num_tiles"]
        inputs["pixel_values"] = numpy.stack([cut(image, grid, vision["image_size"], n_tiles, mean, std)
                                              for image, grid in zip(images, case["pictures"])])
        inputs["aspect_ratio_ids"] = numpy.array([1 + ratios.index(list(g)) for g in case["pictures"]],
                                                 numpy.int64)
        inputs["aspect_ratio_mask"] = numpy.array([[int(t < h * w) for t in range(n_tiles)]
                                                   for h, w in case["pictures"]], numpy.int64)
        if case.get("mask", "given") == "given":
            inputs["cross_attention_mask"] = interval_mask(tokens, settings["image_token_index"],
                                                           case["pictures"], n_tiles)
    return inputs, images, prompts


def expected(folder, checkpoint, inputs):
    """Logits of both oracles for every token, teacher_ids fed one by one, and who computed them. Meta's are
    its own code's but where that cannot hold the checkpoint: then transformers' under Meta's rules."""
    import adapter
    import record_transformers
    import run_meta
    from run_transformers import teacher_forced

    model = record_transformers.load_model(checkpoint)
    logits = {"transformers": teacher_forced(model, inputs)}
    who = {"transformers": record_transformers.producer()}
    try:
        oracle = run_meta.Meta()
        logits["meta"], who["meta"] = oracle.logits(adapter.Case(folder)), f"{oracle.name} {oracle.version}"
    except adapter.Refused as why:
        hooks = record_transformers.Hooks(model, lambda *seen: None, "meta").attach()
        logits["meta"], who["meta"] = teacher_forced(model, inputs,
                                                     "meta"), f"{record_transformers.producer('meta')}; {why}"
        hooks.detach()
    return logits, who


def write_case(name):
    case, checkpoint, settings = describe(name)
    inputs, images, prompts = make_inputs(name)
    folder = HERE / "cases" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_safetensors(folder / "inputs.safetensors", inputs)
    pictures = [{"tiles": list(grid)} for grid in case["pictures"]]
    if prompts:
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{index}.png", optimize=True)
            pictures[index]["file"] = f"{index}.png"
    description = {"what": case["what"], "checkpoint": f"checkpoints/{checkpoint.name}",
                   "prefill": len(inputs["input_ids"]), "decode": N_DECODE, "pictures": pictures,
                   "mask": case.get("mask", "given") if images else "none"}
    if prompts:
        description["prompts"] = prompts
    (folder / "case.json").write_text(json.dumps(description, indent=1) + "\n")
    if images and "cross_attention_mask" not in inputs:
        inputs = inputs | {"cross_attention_mask": interval_mask(
            inputs["input_ids"].tolist(), settings["image_token_index"], case["pictures"], 4)}
    write_safetensors(folder / "expected.safetensors", *expected(folder, checkpoint, inputs))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CASES:
        write_case(wanted)
