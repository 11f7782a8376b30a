"""mistral.rs (the Python wheel, CPU) through the chat cases of the conformance kit.

An API of words and picture files: each prompt of a case is sent as a chat message with the case's PNG files, and the
log-probabilities of the first answered token are what is handed in.
"""

import argparse
import base64
import json
import multiprocessing
import os
import sys
from importlib.metadata import version
from pathlib import Path

import adapter

TOP = 20
SECONDS = 240


def content(case_folder, case, message):
    """Pictures first, then their tokens and the words: this API does not write the token of a picture by itself."""
    parts = []
    for picture in json.loads((case_folder / "case.json").read_text())["pictures"]:
        data = base64.b64encode((case_folder / picture["file"]).read_bytes()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return [*parts, {"type": "text", "text": "<|image|>" * len(parts) + message}] if parts else message


def answer(case_folder, output):
    """In a process of its own: a panic in Rust ends no more than this case."""
    import mistralrs

    case = adapter.Case(case_folder)
    prompts = json.loads((case_folder / "case.json").read_text())["prompts"]
    runner = mistralrs.Runner(which=mistralrs.Which.MultimodalPlain(
        model_id=str(case.checkpoint), arch=mistralrs.MultimodalArchitecture.VLlama,
        dtype=mistralrs.ModelDType.F32), prefix_cache_n=0, no_paged_attn=True)
    entries = []
    for prompt in prompts:
        reply = runner.send_chat_completion_request(mistralrs.ChatCompletionRequest(
            model="default", messages=[{"role": "user", "content": content(case_folder, case, prompt["message"])}],
            max_tokens=1, temperature=0.0, logprobs=True, top_logprobs=TOP))
        first = reply.choices[0].logprobs.content[0]
        entries.append({"prompt": prompt["message"], "images": case.n_pictures,
                        "top": [[top.token, top.logprob] for top in first.top_logprobs]})
    output.write_text(json.dumps(entries, indent=1) + "\n")


def logged(log, case_folder, output):
    """Rust writes past sys.stderr, so the descriptors themselves go to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    answer(case_folder, output)


def run_case(case_folder, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    log, output = folder.parent / f"{folder.name}.log", folder / "logprobs.json"
    process = multiprocessing.get_context("spawn").Process(target=logged, args=(log, case_folder, output))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        adapter.write_result(folder, "crashed", f"no answer within {SECONDS} s")
    elif not output.is_file():
        said = log.read_text(errors="replace").strip().splitlines() or [f"exit code {process.exitcode}"]
        adapter.write_result(folder, "crashed", said[-1][:300])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder to write the submission to")
    parser.add_argument("case", nargs="*", help="names of chat cases; all when none is given")
    parser.add_argument("--cache-f32", action="store_true", help="keep keys and values in float32")
    options = parser.parse_args()
    if options.cache_f32:
        os.environ["MISTRALRS_CPU_KV_F32"] = "1"
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "engine.json").write_text(json.dumps(
        {"engine": "mistralrs", "version": version("mistralrs"), "dtype": "F32",
         "how": "chat API with log-probabilities, ModelDType.F32; <|image|> is written in the text",
         "patched": ["MISTRALRS_CPU_KV_F32=1"] if options.cache_f32 else []}, indent=1) + "\n")
    for folder in sorted(adapter.CONFORMANCE.glob("cases/chat_*")):
        if not options.case or folder.name in options.case:
            run_case(folder, options.run / folder.name)
            print(f"mistralrs: {folder.name}: {sorted(f.name for f in (options.run / folder.name).iterdir())}",
                  file=sys.stderr)


if __name__ == "__main__":
    main()
