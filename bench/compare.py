"""Pictor beside PyTorch and transformers, in turn and in the same run: medians and their ratios.

    python bench/compare.py [--repeat N] [--layers-only | --model-only] [--output FILE]

Two threads, float32. A ratio above 1 means that Pictor is faster. Run it on a quiet machine: it says nothing
about noise beyond the spread it prints.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
os.environ.update(OMP_NUM_THREADS="2", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import torch
from safetensors.torch import save_file
from transformers import MllamaForConditionalGeneration
from transformers.models.mllama import modeling_mllama as mllama
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODEL = f"{ROOT}/models/pictor"
PICTURE = f"{MODEL}/pictures/demo.png"
QUESTION = "What is in this image?"


def bench(*words):
    """What build/bench prints, as a dictionary."""
    return json.loads(
        subprocess.run([f"{ROOT}/build/bench", *map(str, words)], check=True, capture_output=True,
                       text=True).stdout)


ROWS = {}  # what row() has printed


def row(name, ours, theirs):
    ROWS[name] = {"ours": ours, "theirs": theirs}
    a, b = statistics.median(ours), statistics.median(theirs)
    print(
        f"{name:<58} {a * 1e3:9.1f} {b * 1e3:9.1f} {b / a:7.2f}   ({min(ours) * 1e3:.1f} to "
        f"{max(ours) * 1e3:.1f}; {min(theirs) * 1e3:.1f} to {max(theirs) * 1e3:.1f})",
        flush=True)


def timed(call):
    start = time.perf_counter()
    with torch.inference_mode():
        call()
    return time.perf_counter() - start


def vision_layer(attention):
    config = MllamaVisionConfig(hidden_size=1280, intermediate_size=5120, attention_heads=16,
                                attn_implementation=attention)
    layer = mllama.MllamaVisionEncoderLayer(config).eval()
    hidden, mask = torch.randn(1, 6432, 1280), torch.zeros(1, 1, 6432, 6432)
    return lambda: layer(hidden, mask)


def text_config(attention):
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                high_freq_factor=4.0, original_max_position_embeddings=8192)
    return MllamaTextConfig(hidden_size=4096, intermediate_size=14336, num_attention_heads=32,
                            num_key_value_heads=8, num_hidden_layers=4, cross_attention_layers=[3],
                            rope_parameters=rope, attn_implementation=attention)


def cross_layer(attention):
    layer = mllama.MllamaCrossAttentionDecoderLayer(text_config(attention), layer_idx=3).eval()
    hidden, pictures = torch.randn(1, 64, 4096), torch.randn(1, 6404, 4096)
    mask, rows = torch.zeros(1, 1, 64, 6404), torch.ones(1, 1, 64, 1)
    return lambda: layer(hidden, cross_attention_states=pictures, cross_attention_mask=mask, attention_mask=
                         None, full_text_row_masked_out_mask=rows)


def self_layer(attention):
    config = text_config(attention)
    layer = mllama.MllamaSelfAttentionDecoderLayer(config, layer_idx=0).eval()
    hidden, positions = torch.randn(1, 64, 4096), torch.arange(64)[None]
    angles = mllama.MllamaRotaryEmbedding(config)(hidden, positions)
    mask = torch.full((64, 64), torch.finfo(torch.float32).min).triu(1)[None, None]
    return lambda: layer(hidden, attention_mask=mask, position_ids=positions, position_embeddings=angles)


def layers(repeat):
    kinds = {
        "vision": ("one vision layer, 4 x 1608 rows", vision_layer),
        "cross": ("one cross-attention layer, 64 tokens on 6404 keys", cross_layer),
        "self": ("one self-attention layer, 64 tokens", self_layer)}
    for kind, (name, make) in kinds.items():
        for attention in ("eager", "sdpa"):
            theirs, ours, call = [], [], make(attention)
            timed(call)
            for _ in range(repeat):
                theirs.append(timed(call))
                ours.append(min(bench("layer", kind, 2)["seconds"]))
            row(f"{name} ({attention})", ours, theirs)
            del call


def peak_memory():
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("vision", "cross", "self"):
            print(
                f"peak memory of one recorded {kind} layer: "
                f"{bench('layer', kind, 1, f'{folder}/{kind}')['peak_memory_gb']:.2f} GB",
                flush=True)


SCRIPT = """
import sys, torch
from PIL import Image
from transformers import AutoProcessor, MllamaForConditionalGeneration
torch.set_num_threads(2)
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = MllamaForConditionalGeneration.from_pretrained(sys.argv[1], attn_implementation="eager",
                                                       dtype=torch.float32)
content = [{"type": "image"}, {"type": "text", "text": sys.argv[3]}]
text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
inputs = processor(images=Image.open(sys.argv[2]), text=text, add_special_tokens=False, return_tensors="pt")
print(processor.decode(model.generate(**inputs, max_new_tokens=40, do_sample=False)[0]))
"""


def model(repeat):
    import transformers
    from PIL import Image
    torch.set_num_threads(2)
    processor = transformers.AutoProcessor.from_pretrained(MODEL)
    engine = MllamaForConditionalGeneration.from_pretrained(MODEL, attn_implementation="eager",
                                                            dtype=torch.float32).eval()
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}],
        add_generation_prompt=True)
    inputs = processor(images=Image.open(PICTURE), text=text, add_special_tokens=False, return_tensors="pt")
    steps = 24

    def prefill():
        return engine(**inputs, use_cache=True)

    def decode(state):
        mask = inputs["cross_attention_mask"][:, -1:]
        for _ in range(steps):
            state = engine(input_ids=state.logits[:, -1:].argmax(-1), cross_attention_mask=mask,
                           past_key_values=state.past_key_values, use_cache=True)

    with tempfile.TemporaryDirectory() as folder:
        save_file(
            {
                "input_ids": inputs["input_ids"][0], "pixel_values": inputs["pixel_values"][0].contiguous(),
                "aspect_ratio_ids": inputs["aspect_ratio_ids"][0],
                "aspect_ratio_mask": inputs["aspect_ratio_mask"][0].contiguous(),
                "cross_attention_mask": inputs["cross_attention_mask"][0].contiguous()},
            f"{folder}/inputs.safetensors")
        ours, theirs = {"prefill": [], "decode": []}, {"prefill": [], "decode": []}
        timed(prefill)
        for _ in range(repeat):
            theirs["prefill"].append(timed(prefill))
            with torch.inference_mode():
                state = prefill()
            theirs["decode"].append(timed(lambda: decode(state)))
            for name, times in bench("model", MODEL, f"{folder}/inputs.safetensors", steps, 3).items():
                ours[name].append(min(times))
    row("Pictor, prefill of the demo's prompt and picture", ours["prefill"], theirs["prefill"])
    row(f"Pictor, decoding {steps} tokens", ours["decode"], theirs["decode"])

    ours, theirs = [], []
    for _ in range(repeat):
        for times, command in ((theirs, [sys.executable, "-c", SCRIPT, MODEL, PICTURE, QUESTION]), (ours, [
                f"{ROOT}/build/reference", "run", "--threads", "2", "--image", PICTURE, "--prompt",
                QUESTION])):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    row("the whole command, from start to last word", ours, theirs)


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.get_num_threads()} threads"
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--layers-only", action="store_true")
    parser.add_argument("--model-only", action="store_true")
    parser.add_argument("--output", default=f"{ROOT}/build/bench.json", help="the same as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    print(f"{'':<58} {'Pictor ms':>9} {'peer ms':>9} {'ratio':>7}   (spread)")
    if not arguments.layers_only:
        model(arguments.repeat)
    if not arguments.model_only:
        layers(arguments.repeat)
        peak_memory()
    with open(arguments.output, "w") as file:
        json.dump({"processor": processor(), "rows": ROWS}, file, indent=1)


if __name__ == "__main__":
    main()
