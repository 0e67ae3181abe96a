"""Warm-up: stage 1 of FLASH (arXiv:2208.13092). Clients train with masks that move, and report their densities."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from edgesim.algorithms.contract import Arrivals, Context
from edgesim.learning import consensus, tree
from edgesim.learning.codecs import Part
from edgesim.learning.training import Training
from edgesim.learning.tree import Params, Shape

_COUNT = "clients"  # how many reports there are


def training(context: Context, epochs: int) -> Training:
    """The local solver: long, and without decay."""
    return replace(context.training, epochs=epochs, lr_decay=1.0)


def none_yet(shapes: Mapping[str, Shape]) -> Params:
    """The sum of no reports."""
    return {name: torch.zeros((), dtype=torch.float64) for name in (_COUNT, *shapes)}


def added(reports: Params, arrivals: Arrivals) -> Params:
    """The sum with these, each in shares of its client's level."""
    held, level = arrivals.update["mask"], arrivals.update["job"]["level"].double()
    heard = {name: (mask.flatten(1).double().mean(1) / level).sum() for name, mask in held.items()}
    return tree.add(reports, {_COUNT: torch.tensor(float(len(arrivals))), **heard})


def is_over(reports: Params, context: Context, share: float) -> bool:
    """Whether this share of the clients, at least one, has reported."""
    return float(reports[_COUNT]) >= max(int(share * len(context.task.participants)), 1)


def densities(reports: Params, shapes: Mapping[str, Shape], density: float) -> dict[str, float]:
    """d_l = min(1, δ_l · r) with Σ δ_l r N_l = d Σ N_l, δ_l being the mean that was reported."""
    count = float(reports[_COUNT])
    return consensus.scaled({name: float(reports[name]) / count for name in shapes}, shapes, density)


def report(mask: Params) -> Part:
    """What goes up: each tensor's density."""
    return Part(values=torch.zeros(len(mask)), mask=None, mask_known=False)
