"""Shows that transformers loads a checkpoint of Pictor as it stands, offline, and answers with it.

    python check_transformers.py [MODEL] [--image FILE] [--prompt TEXT] [--reference transformers|meta]

By default transformers runs as released, whose rules differ from those that Pictor was trained under;
--reference meta patches it. Exit 1 if the chat format or the loaded parts are not what they should be.
"""
import argparse
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"                              # before transformers is imported

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from model import END_TOKENS, use_rules

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "pictor"


def load(folder):
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    return processor, model


def user_message(prompt, with_image):
    content = [{"type": "image"}] if with_image else []
    return [{"role": "user", "content": content + [{"type": "text", "text": prompt}]}]


def ask(processor, model, prompt, image=None, max_new_tokens=60):
    """The greedy answer to one question."""
    text = processor.apply_chat_template(user_message(prompt, image is not None), add_generation_prompt=True)
    inputs = processor(text=text, images=image, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return processor.decode(ids[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)


def problems(processor, model):
    """What is wrong with the files, in words; empty if nothing."""
    expected = ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|image|>Hello!<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n")
    found = processor.apply_chat_template(user_message("Hello!", True), add_generation_prompt=True)
    if found != expected:
        yield f"chat template gives {found!r}, expected {expected!r}"
    if type(processor).__name__ != "MllamaProcessor":
        yield f"the processor is a {type(processor).__name__}, expected MllamaProcessor"
    if type(model).__name__ != "MllamaForConditionalGeneration":
        yield f"the model is a {type(model).__name__}, expected MllamaForConditionalGeneration"
    ends = [processor.tokenizer.convert_tokens_to_ids(name) for name in END_TOKENS]
    if model.generation_config.eos_token_id != ends:
        yield f"generation ends at {model.generation_config.eos_token_id}, expected {ends}"
    for name in ("bos", "eos", "pad"):
        if getattr(processor.tokenizer, f"{name}_token_id") is None:
            yield f"the tokenizer has no {name} token"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=SHIPPED, type=pathlib.Path)
    parser.add_argument("--image", type=pathlib.Path, help="default: the model's pictures/demo.png")
    parser.add_argument("--prompt", default="What is in this image?")
    parser.add_argument("--reference", choices=["transformers", "meta"], default="transformers",
                        help="whose rules")
    options = parser.parse_args()
    use_rules(options.reference)
    processor, model = load(options.model)
    image = Image.open(options.image or SHIPPED / "pictures" / "demo.png")

    found = list(problems(processor, model))
    for problem in found:
        print(f"check_transformers: {options.model}: {problem}")
    print(f"{options.prompt} -> {ask(processor, model, options.prompt, image)}")
    print(f"What is your name? -> {ask(processor, model, 'What is your name?')}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
