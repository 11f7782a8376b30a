"""How long a training runs: a number of minutes, or of steps. Learning rates follow the share that is gone."""
import time


class Budget:
    def __init__(self, minutes, steps=None):
        self.seconds, self.steps = minutes * 60, steps
        self.start = time.time()
        self.step = 0

    @property
    def elapsed(self):
        return time.time() - self.start

    @property
    def progress(self):
        """0 at the start, 1 or more when it is time to stop."""
        return self.step / self.steps if self.steps is not None else self.elapsed / self.seconds


def add_budget_options(parser, minutes):
    parser.add_argument("--minutes", type=float, default=minutes, help=f"how long to train (default {minutes})")
    parser.add_argument("--steps", type=int, help="train for this many steps instead: the same weights on every run")


class Average:
    """A running mean of the last thirty or so values, for progress lines."""

    def __init__(self):
        self.value = None

    def add(self, value):
        self.value = value if self.value is None else .97 * self.value + .03 * value
        return self.value
