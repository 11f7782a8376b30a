"""All lists together, and where ports of this architecture are known to have gone wrong."""

import checkpoint
import image
import prompt
import text
import trace_answers
import trace_writing
import vision
import viz_heatmaps
import viz_pages

ROOMS = {
    "model": prompt.MUTANTS + image.MUTANTS + checkpoint.MUTANTS + vision.MUTANTS + text.MUTANTS,
    "trace": trace_writing.MUTANTS + trace_answers.MUTANTS,
    "viz": viz_heatmaps.MUTANTS + viz_pages.MUTANTS,
}
MUTANTS = [mutant for room in ROOMS.values() for mutant in room]

# Mistakes that ports have made -> the mutant that makes the same.
KNOWN_MISTAKES = {
    "row mask": "no row mask after attention",
    "all-zero bias rows": "rows that see nothing are masked whole",
    "pad-by-pad vision mask": "no query sees padding",
    "kept states off by one": "kept states are outputs under Meta's rules",
    "interleaved concat": "kept states one after the other",
    "gate without tanh": "cross-attention gates without tanh",
    "positional gate's 1 - tanh": "plain positions whole, not 1 - tanh",
    "aspect id 0": "aspect ratio ids count from 0",
    "(h, w) order in 1x4 against 4x1": "grids wide before high",
    "RoPE on cross attention": "RoPE on cross-attention",
    "missing q_norm": "cross-attention without q_norm",
    "missing k_norm": "cross-attention without k_norm",
    "llama3 scaling": "RoPE without llama3 scaling",
    "q/k permutation": "RoPE pairs neighbours",
    "embedding rows + 8": "image token embedded as token 0",
    "cross K/V recomputed in decode": "cross-attention keys made again in decode",
    "cross K/V dropped in decode": "cross-attention dropped in decode",
    "mask sliced by absolute position": "mask rows from the prompt's beginning in decode",
    "exactly-tile-size picture must stay 1 tile": "scale 1 does not hold a picture",
    "resize without antialias": "no antialiasing",
    "tanh GELU for exact GELU": "tanh GELU",
    "pad after normalise": "padding is 0 after normalising",
    "BOS doubled": "BOS doubled",
    "image token inside a system message": "pictures in anybody's turn",
}

# Marks TRAP(name) in reference/ that no mutant bears, and why.
WITHOUT_MUTANT = {}
