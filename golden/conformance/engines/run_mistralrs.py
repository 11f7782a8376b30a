"""mistral.rs (the Python wheel, or a build of its source; CPU) through the chat cases of the conformance kit.

An API of words and picture files: each prompt of a case is sent as a chat message with the case's PNG files,
and the log-probabilities of the first answered tokens are what is handed in. The engine chooses these tokens,
always its best one. If it cannot go on after the first, that one is handed in, and result.json says what
stopped it.
"""

import argparse
import base64
import json
import multiprocessing
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import adapter

TOP = 20
ANSWERED = 4
SECONDS = 240


def content(case_folder, case, message):
    """Pictures first, then their tokens and the words: this API does not write the token of a picture by
    itself."""
    parts = []
    for picture in json.loads((case_folder / "case.json").read_text())["pictures"]:
        data = base64.b64encode((case_folder / picture["file"]).read_bytes()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return [*parts, {"type": "text", "text": "<|image|>" * len(parts) + message}] if parts else message


def answer(case_folder, output, n_tokens, build):
    """In a process of its own: a panic in Rust ends no more than this case."""
    if build:
        sys.path.insert(0, str(build))
    import mistralrs

    case = adapter.Case(case_folder)
    prompts = json.loads((case_folder / "case.json").read_text())["prompts"]
    runner = mistralrs.Runner(which=mistralrs.Which.MultimodalPlain(
        model_id=str(case.checkpoint), arch=mistralrs.MultimodalArchitecture.VLlama,
        dtype=mistralrs.ModelDType.F32), prefix_cache_n=0, no_paged_attn=True)
    entries = []
    for prompt in prompts:
        reply = runner.send_chat_completion_request(
            mistralrs.ChatCompletionRequest(
                model="default",
                messages=[{"role": "user", "content": content(case_folder, case, prompt["message"])}],
                max_tokens=n_tokens, temperature=0.0, logprobs=True, top_logprobs=TOP))
        after = []
        for answered in reply.choices[0].logprobs.content:
            entries.append({"prompt": prompt["message"], "images": case.n_pictures, "after": list(after),
                            "top": [[top.token, top.logprob] for top in answered.top_logprobs]})
            after.append(max(answered.top_logprobs, key=lambda top: top.logprob).token)
    output.write_text(json.dumps(entries, indent=1) + "\n")


def logged(log, *arguments):
    """Rust writes past sys.stderr, so the descriptors themselves go to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    answer(*arguments)


def failure(case_folder, folder, n_tokens, build):
    """Asks for that many tokens; None when they are in logprobs.json, else what went wrong."""
    log, output = folder.parent / f"{folder.name}-{n_tokens}.log", folder / "logprobs.json"
    had = output.stat().st_mtime_ns if output.is_file() else None
    arguments = (log, case_folder, output, n_tokens, build)
    process = multiprocessing.get_context("spawn").Process(target=logged, args=arguments)
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        return f"no answer within {SECONDS} s"
    if output.is_file() and output.stat().st_mtime_ns != had:
        return None
    said = log.read_text(errors="replace").strip()
    panic = re.search(r"panicked at (\S+):\d+:\n(.+)", said)
    if panic:
        return f"panicked: {panic[2]} ({panic[1]})"
    return said.splitlines()[-1][:300] if said else f"exit code {process.exitcode}"


def run_case(case_folder, folder, build):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for n_tokens, when in ((1, ""), (ANSWERED, "after the first answered token: ")):
        problem = failure(case_folder, folder, n_tokens, build)
        if problem:
            adapter.write_result(folder, "crashed", when + problem)
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder to write the submission to")
    parser.add_argument("case", nargs="*", help="names of chat cases; all when none is given")
    parser.add_argument("--cache-f32", action="store_true", help="keep keys and values in float32")
    parser.add_argument("--built", action="store_true", help="not the wheel: what build_mistralrs.sh built")
    parser.add_argument("--patched", nargs="*", default=[], type=Path, metavar="PATCH",
                        help="with --built, by these patches")
    options = parser.parse_args()
    if options.cache_f32:
        os.environ["MISTRALRS_CPU_KV_F32"] = "1"
    build, release = None, version("mistralrs") if not options.built else None
    if options.built:
        builds = Path(sys.prefix) / "builds"
        build = builds / ("+".join(sorted(patch.stem for patch in options.patched)) or "released")
        release = (builds / "version").read_text().strip()
    if build and not build.is_dir():
        raise SystemExit(f"{build}: no such build; build_mistralrs.sh makes them")
    options.run.mkdir(parents=True, exist_ok=True)
    engine = {"engine": "mistralrs", "version": release, "dtype": "F32",
              "how": "chat API with log-probabilities, ModelDType.F32; <|image|> is written in the text",
              "patched": [patch.name for patch in options.patched] +
                         (["MISTRALRS_CPU_KV_F32=1"] if options.cache_f32 else [])}
    (options.run / "engine.json").write_text(json.dumps(engine, indent=1) + "\n")
    for folder in sorted(adapter.CONFORMANCE.glob("cases/chat_*")):
        if not options.case or folder.name in options.case:
            run_case(folder, options.run / folder.name, build)
            print(
                f"mistralrs: {folder.name}: {sorted(f.name for f in (options.run / folder.name).iterdir())}",
                file=sys.stderr)


if __name__ == "__main__":
    main()
