"""Numbers of model.py: parameters under one prefix, with products, norms and gates that round as the rules
say."""

import math

import numpy as np


def rounded(x, dtype):
    """The nearest numbers of a 16-bit type, as float32."""
    if dtype in ("float32", "stored"):
        return x
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32).reshape(x.shape)


class Layer:
    """Parameters under one prefix, and products and norms that round as the rules say."""

    def __init__(self, checkpoint, prefix, rules):
        self.weights, self.prefix, self.rules = checkpoint.weights, prefix, rules

    def at(self, prefix):
        inner = Layer.__new__(Layer)
        inner.weights, inner.prefix, inner.rules = self.weights, self.prefix + prefix, self.rules
        return inner

    def __getitem__(self, name):
        weight = self.weights[self.prefix + name]
        weight = rounded(weight, self.rules.weights) if weight.ndim > 1 else weight
        return rounded(weight, self.rules.compute)

    def keep(self, x):
        return rounded(x, self.rules.compute)

    def linear(self, x, name, bias=False):
        x, weight = rounded(x, self.rules.linear_inputs), self[f"{name}.weight"]
        if self.rules.order:
            order = np.random.default_rng(self.rules.order).permutation(x.shape[-1])
            x, weight = x[..., order], weight[:, order]
        out = x @ weight.T
        return self.keep(out + self[f"{name}.bias"] if bias else out)

    def layer_norm(self, x, name, eps):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(eps))
        return self.keep(scaled * self[f"{name}.weight"] + self[f"{name}.bias"])

    def rms_norm(self, x, weight, eps):
        scaled = self.keep(x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(eps)))
        return self.keep(scaled * weight)

    def gate(self, name, kind):
        """tanh(gate), or what ports have made of it."""
        value = self[name].reshape(())
        return {"tanh": np.tanh(value), "raw": value, "full": np.float32(1), "off": np.float32(0)}[kind]

    def gated(self, name, kind, branch):
        """A branch times its gate; "branch": the gate as it is, times tanh of the branch."""
        if kind == "branch":
            return self.keep(self.gate(name, "raw") * self.keep(np.tanh(branch)))
        return self.keep(self.gate(name, kind) * branch)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


erf = np.vectorize(math.erf, otypes=[float])


def gelu(x, kind="erf"):
    if kind == "tanh":
        return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))).astype(np.float32)
    if kind == "quick":
        return (x / (1 + np.exp(-1.702 * x))).astype(np.float32)
    return (0.5 * x * (1 + erf(x / math.sqrt(2)))).astype(np.float32)
