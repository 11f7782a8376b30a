"""Tests of the recipe: the world is what it says it is, and a short training run works from end to end.

    python test_recipe.py           prints each failure and `N passed, N failed`; about a minute
"""
import sys
import traceback

import torch

import test_training
import test_world


def main():
    torch.set_num_threads(1)                                    # a busy machine waits long for a second one
    tests = [(name, test) for part in (test_world, test_training) for name, test in vars(part).items()
             if name.startswith("test_") and callable(test)]
    failed = 0
    for name, test in tests:
        try:
            test()
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
