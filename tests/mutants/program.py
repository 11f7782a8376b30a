"""A scratch copy of the tree for each worker: one fault put in, built by the Makefile's own rules, run, taken
out again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from edited_models import EDITED

ROOT = Path(__file__).resolve().parent.parent.parent
SCRATCH = ROOT / "build" / "mutants"
# behind the Makefile's flags: a mutant runs for a second, so its compilation is what takes time
CHEAP = "-O1 -g0"
MOST_KILOBYTES = 6_000_000
COPIED = [
    "base", "reference", "trace", "tests", "viz", "Makefile", "install_packages.sh", "build/packages-present"]
SEEN_AS_THEY_ARE = ["bench", "chapters", "golden", "models", "build/trace", "build/viz", "build/llama-models"]


def environment():
    """Without what a make above left there."""
    kept = {
        key: value for key, value in os.environ.items()
        if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MODE", "PORTABLE")}
    return {**kept, "OMP_NUM_THREADS": "1", "PICTOR_BUILD": "build", "PICTOR_MODEL": "models/pictor"}


def call(tree, command, seconds):
    """(exit status, standard output, what went wrong in words). A hang ends after `seconds`, a runaway at
    MOST_KILOBYTES."""
    limited = ["bash", "-c", f'ulimit -v {MOST_KILOBYTES}; exec "$@"', "bash", *map(str, command)]
    try:
        result = subprocess.run(limited, cwd=tree, env=environment(), capture_output=True, text=True,
                                errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        return -1, "", f"no end after {seconds} seconds"
    return result.returncode, result.stdout, result.stderr.strip()


def make_tree(name, objects):
    """A copy of the sources that shares `objects` (a folder) by hard links; times are kept, so that make
    finds nothing to do."""
    tree = SCRATCH / name
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "build").mkdir(parents=True)
    for part in COPIED:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part)
        else:
            shutil.copy2(ROOT / part, tree / part)
    for part in SEEN_AS_THEY_ARE:
        if (ROOT / part).exists():
            (tree / part).symlink_to(ROOT / part)
    (tree / "edited").symlink_to(EDITED)
    shutil.copytree(objects, tree / "build" / "objects", copy_function=os.link)
    return tree


def build(tree, include="", targets=("build/reference",)):
    """'' or the compiler's message."""
    for target in targets:
        if (tree / target).is_symlink():  # to the unbroken program: never link through it
            (tree / target).unlink()
    flags = CHEAP + (f" -include {include}" if include else "")
    status, output, message = call(tree, ["make", "-s", f"EXTRA_CXXFLAGS={flags}", *targets], 300)
    return "" if status == 0 else message or output or f"make: exit {status}"


def objects_of(tree, source):
    """The object files that are made from `source`, or include it."""
    own = tree / "build" / "objects" / Path(source).with_suffix(".o")
    if source.endswith(".cpp"):
        return [own]
    return [
        path.with_suffix(".o") for path in (tree / "build" / "objects").rglob("*.d")
        if f" {source}" in path.read_text()]


def set_aside(tree, source):
    """Takes away the objects that a change of `source` makes old; they are shared, so nothing may be written
    into them."""
    aside = []
    for path in objects_of(tree, source):
        for part in (path, path.with_suffix(".d")):
            part.rename(part.with_name(part.name + ".aside"))
            aside.append(part)
    return aside


def apply(tree, mutant):
    """Puts the fault in; returns the number of its line and what undo() needs. None when its piece is not
    there just once."""
    source = mutant.file
    text = (tree / source).read_text()
    if text.count(mutant.before) != 1:
        return None
    line = text[: text.index(mutant.before)].count("\n") + 1
    aside = set_aside(tree, source)
    (tree / source).write_text(text.replace(mutant.before, mutant.after))
    return line, (source, aside)


def undo(tree, change):
    source, aside = change
    for part in aside:
        part.unlink(missing_ok=True)
        part.with_name(part.name + ".aside").rename(part)
    shutil.copy2(ROOT / source, tree / source)
    for program in ("build/trace", "build/viz"):  # unbroken again
        (tree / program).unlink(missing_ok=True)
        (tree / program).symlink_to(ROOT / program)


def without_mask(inputs, target):
    """The inputs again, less their cross_attention_mask."""
    data = inputs.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body, kept, place = json.loads(data[8 : 8 + length]), data[8 + length :], {}, b""
    for name, entry in header.items():
        if name in ("cross_attention_mask", "__metadata__"):
            continue
        begin, end = entry["data_offsets"]
        kept[name] = {**entry, "data_offsets": [len(place), len(place) + end - begin]}
        place += body[begin:end]
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(len(text).to_bytes(8, "little") + text + place)
    return target


def record_case(tree, case, own_mask, trace):
    """Runs a golden case, "2x2 meta", and writes its trace. (exit status, message)"""
    name, rule = case.split()
    folder = ROOT / "golden" / "cases" / name
    description = json.loads((folder / "case.json").read_text())
    inputs = Path("golden", "cases", name, description["inputs"])
    if own_mask:
        inputs = without_mask(ROOT / inputs, tree / "build" / "inputs.safetensors")
    command = [
        "build/reference", "forward", "--model",
        Path("golden", description["checkpoint"]), "--inputs", inputs, "--greedy", description["greedy"],
        "--reference", rule, "--trace", trace, "--trace-values", "all", "--force"]
    if name == "long":  # 34 million scores
        names = {entry["name"] for entry in json.loads((folder / rule / "trace.json").read_text())["tensors"]}
        command += [part for tensor in sorted(names) for part in ("--trace-only", tensor)]
    status, _, message = call(tree, command, 60)
    return status, message


def record_run(tree, arguments, tensors, trace):
    """Asks the shipped model, and writes the trace of these tensors. (exit status, message)"""
    only = [part for tensor in tensors for part in ("--trace-only", tensor)]
    limit = [] if "--max-new-tokens" in arguments else ["--max-new-tokens", "2"]
    status, _, message = call(tree, [
        "build/reference", "run", *arguments, *limit, "--trace", trace, "--trace-values", "all", "--force",
        *only], 60)
    return status, message


def compare(command, run, base, policy, case=""):
    """What `trace check` or `trace diff` says: (exit status, its JSON or None, message). `case`: whose
    weights diff may use."""
    options = ["--policy", ROOT / "golden" / policy] if policy else ["--atol", "0", "--rtol", "0"]
    if case:
        description = json.loads((ROOT / "golden" / "cases" / case.split()[0] / "case.json").read_text())
        options += ["--model", ROOT / "golden" / description["checkpoint"]]
    status, output, message = call(ROOT, ["build/trace", command, run, base, "--json", *options], 120)
    return status, json.loads(output) if status in (0, 1) else None, message


def run_suite(tree, suite):
    """A Python suite, a file of tests/, on the programs of the tree. (exit status, its last words)"""
    status, output, message = call(tree, [sys.executable, f"tests/{suite}"], 600)
    return status, (message or output).strip().splitlines()[-1:]


def run_test(tree, test):
    """The test whose name begins so; '' for all of them. (exit status, how many test cases passed)"""
    escaped = [test.replace(",", "\\,").replace("[", "\\[") + "*"] if test else []
    status, output, _ = call(tree, ["build/tests", *escaped], 600)
    words = output.split("All tests passed (")[-1].split() if "All tests passed (" in output else []
    return status, int(words[words.index("test") - 1]) if "test" in words else 0
