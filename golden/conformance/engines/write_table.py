"""TABLE.md from table.json."""

HEAD = """# Which engine computes what

Made by `make engines` ([how](engines/README.md)); all numbers are in [table.json](table.json). Every engine
runs as it installs from its package registry, on a CPU, on the kit's tiny random checkpoints; of vllm, which
runs on GPUs, the model code does; mistralrs, which is compiled, is patched in a build of its source, which
`make engines` does not make ([how](engines/README.md#what-each-needed)). `score.py` is told nothing but what
the engine computed. Errors are the worst row of logits of any case, in standard deviations of the logits;
float32 engines that agree stay near 1e-6.

Meta's code is what the released weights were trained with. Where an engine does otherwise, that is a
statement about numbers, not about the quality of answers, and most of these differences are inherited from
one another.

| engine | what score.py says | kept states | row mask | decoding | away from Meta's rule | with its patches |
|---|---|---|---|---|---|---|
"""

KINDS = {"-f32-cache": ", f32 cache", "-source": ", built from its source"}


def number(value):
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}" if value < 0.01 else f"{value:.2g}"


def title(entry):
    engine = entry["report"]["engine"]
    kind = next((words for end, words in KINDS.items() if entry["name"].endswith(end)), "")
    return f"{engine['engine']} {engine['version']}{kind}"


def summary(entry):
    report, patched = entry["report"], entry.get("patched")
    rule = {field["field"]: field["value"] for field in report["rule"]["fields"]} if report["rule"] else {}
    unsure = {field["field"] for field in report["rule"]["cannot_be_told_from"]} if report["rule"] else set()
    cells = [
        f"{rule.get(name, '-')}{' (?)' if name in unsure else ''}" for name in ("kept", "row_mask", "decode")]
    return " | ".join(["", title(entry), report["verdict"], *cells, number(entry["released"]["error"]),
                       number(patched and patched["error"]), ""]).strip()


def details(entry):
    engine = entry["report"]["engine"]
    lines = [f"## {title(entry)}", "", f"{engine['dtype']}. {engine['how']}.", *entry["notes"]]
    found = [cause["sentence"] for cause in entry["report"]["causes"]]
    if found:
        lines.append("Causes named by score.py: " + "; ".join(found) + ".")
    unexplained = [name for name, case in entry["report"]["cases"].items()
                   if case.get("worst_row", 0) > case.get("tolerance", 0)]
    if unexplained:
        lines.append("Cases that score.py could not explain: " + ", ".join(unexplained) + ".")
    if "same_as" in entry:
        lines.append(
            f"As released, the largest difference of any of its numbers from those of "
            f"{entry['same_as']['name']}: "
            f"{number(entry['same_as']['farthest'])}.")
    if entry["causes"]:
        lines += [
            "",
            "| where it leaves Meta's rule | line | patch | all patches but this | all patches | confirmed |",
            "|---|---|---|---|---|---|"]
    for cause in entry["causes"]:
        patches = ", ".join(f"[{p}](engines/patches/{p})" for p in cause.get("patches", [])) or \
            f"`{' '.join(cause['flags'])}`"
        without = cause["without"].get("stopped") or number(cause["without"]["error"])
        lines.append(
            f"| {cause['says']} | {cause['where']} | {patches} | {without} ({cause['without']['case']}) | "
            f"{number(entry['patched']['error'])} | {'yes' if cause['confirmed'] else '**no**'} |")
    broken = [(name, case) for name, case in entry["report"]["cases"].items()
              if case["result"] in ("refused", "crashed", "nan")]
    if broken:
        lines += ["", "| case | result | why |", "|---|---|---|"]
        lines += [
            f"| {name} | {case['result']} | {case['why'].replace('|', chr(92) + '|')} |"
            for name, case in broken]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def write_table(table):
    rows = [
        f"| {summary(entry)}" if not summary(entry).startswith("|") else summary(entry) for entry in table]
    unsure = "\n(?): other rules explain what was submitted as well; table.json lists them.\n"
    return HEAD + "\n".join(rows) + "\n" + unsure + "\n" + "\n".join(details(entry) for entry in table)
