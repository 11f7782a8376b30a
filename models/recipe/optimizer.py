"""Muon for the matrices inside layers, AdamW for everything else.

Muon (Keller Jordan, 2024) replaces a matrix's momentum by the nearest matrix whose singular values are all
about 1, found by five Newton-Schulz steps, so that rare directions move as far as common ones. Its step is
scaled to the size of AdamW's (Moonlight, arXiv 2502.16982), so both take rates of one order.
"""
import collections

import torch

from lean import FAST_DTYPE

MUON_DECAY = ADAM_DECAY = .05
MOMENTUM = .95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)                        # of the quintic, from Muon's own description


def orthogonal(matrices):
    """[n, rows, columns] -> the same directions with singular values near 1."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.transpose(1, 2)).to(FAST_DTYPE)
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        square = torch.bmm(x, x.transpose(1, 2))
        x = a * x + torch.bmm(b * square + c * torch.bmm(square, square), x)
    return (x if wide else x.transpose(1, 2)).float()


class Muon:
    def __init__(self, parameters):
        by_shape = collections.defaultdict(list)
        for parameter in parameters:
            by_shape[tuple(parameter.shape)].append(parameter)
        self.groups = list(by_shape.values())
        self.momenta = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    @torch.no_grad()
    def step(self, rate):
        for group, momentum in zip(self.groups, self.momenta):
            if group[0].grad is None:                           # a stage that does not use this part
                continue
            gradient = torch.stack([parameter.grad for parameter in group])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, MOMENTUM)) * (.2 * max(group[0].shape)**.5)
            for parameter, change in zip(group, update):
                parameter.mul_(1 - rate * MUON_DECAY).add_(change, alpha=-rate)


class Optimizer:
    """Both, over a model and the heads that only training has."""

    def __init__(self, model, heads):
        inside, matrices, vectors = [], [], []
        for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
            if parameter.ndim == 2 and (".layers." in name or "projector" in name):
                inside.append(parameter)
            else:
                (matrices if parameter.ndim > 1 else vectors).append(parameter)
        self.muon = Muon(inside)
        self.adam = torch.optim.AdamW([dict(params=matrices, weight_decay=ADAM_DECAY),
                                       dict(params=vectors, weight_decay=0)], betas=(.9, .98))
        self.parameters = [*inside, *matrices, *vectors]

    def step(self, muon_rate, adam_rate):
        self.muon.step(muon_rate)
        for group in self.adam.param_groups:
            group["lr"] = adam_rate
        self.adam.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self):
        return dict(momenta=self.muon.momenta, adam=self.adam.state_dict())

    def load_state_dict(self, state):
        for momentum, stored in zip(self.muon.momenta, state["momenta"]):
            momentum.copy_(stored)
        self.adam.load_state_dict(state["adam"])
