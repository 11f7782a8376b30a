"""Trains Pictor from nothing in two hours, on one core with bfloat16 instructions and another that draws.

    python train_all.py OUT [--minutes 120 | --steps N N N N] [--from FOLDER]

OUT gets what models/pictor holds: config, tokenizer, weights, processor files; beside them log.jsonl and,
until it is finished, checkpoint.pt. Stop it at any moment; the same command goes on. By minutes, as the
shipped weights were made, a faster machine trains for more steps; by --steps two runs on one machine with the
same versions give the same weights. --from begins with the last stage, from the weights in FOLDER.
"""
import argparse
import os
import pathlib
import sys

import photographs

# Freed memory goes back to the system after every large tensor unless glibc is told otherwise: half the
# time of attention.
MALLOC = dict(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_="100000000000", MALLOC_TOP_PAD_="268435456")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write into")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--steps", type=int, nargs=4, metavar=("TILES", "PICTURES", "ALL", "PHOTOGRAPHS"))
    parser.add_argument("--from", dest="start", type=pathlib.Path, help="folder with weights to go on from")
    parser.add_argument("--photographs", type=pathlib.Path, nargs="+", default=photographs.FOLDERS,
                        help="folders with photographs (default: where Debian's packages put them)")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.environ.update(MALLOC)                               # read when a process starts
        os.execv(sys.executable, [sys.executable, *sys.argv])

    import torch
    from train import STAGES, Plan, Run
    torch.set_num_threads(1)
    steps = dict(zip(STAGES, options.steps)) if options.steps else None
    plan = Plan(options.minutes, steps, photographs=tuple(photographs.find_files(options.photographs)))
    run = Run(options.out, plan, report=lambda line: print(line, flush=True))
    if options.start:
        run.start_from(options.start)
    if run.run():
        run.checkpoint.unlink(missing_ok=True)
        print(f"now measure it: python evaluate.py {options.out}")


if __name__ == "__main__":
    main()
