"""Trains Pictor from nothing: about 80 minutes on two cores, under two hours with everything around it.

    python train_all.py OUT [--minutes 14 66] [--steps N M]

OUT gets what models/pictor holds: config, tokenizer, weights, processor files. Step 1 leaves its own
model in OUT/pretrained. By minutes, as the shipped weights were made, a faster machine trains for more
steps; by --steps two runs on one machine with the same versions give the same weights.
"""
import argparse
import pathlib

import torch

from budget import Budget
from pretrain import pretrain
from train import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write into")
    parser.add_argument("--minutes", type=float, nargs=2, default=[14, 66], metavar=("VISION", "ALL"))
    parser.add_argument("--steps", type=int, nargs=2, default=[None, None], metavar=("VISION", "ALL"))
    options = parser.parse_args()
    torch.set_num_threads(2)

    def report(line):
        print(line, flush=True)

    pretrain(options.out / "pretrained", Budget(options.minutes[0], options.steps[0]), report=report)
    train(options.out, options.out / "pretrained", Budget(options.minutes[1], options.steps[1]), report=report)
    report(f"now measure it: python evaluate.py {options.out} 150")
