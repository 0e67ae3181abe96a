"""Consensus: one mask for all from what clients found: how many weights a tensor gets, and which.

From FLASH (arXiv:2208.13092), as its code does it (github SaraBabakN/flash_fl).
"""

from collections.abc import Iterable, Mapping
from math import prod

import torch

from edgesim.learning import masks
from edgesim.learning.tree import Params, Shape


def scaled(found: Mapping[str, float], shapes: Mapping[str, Shape], density: float) -> dict[str, float]:
    """d_l = min(1, δ_l · r), with r such that Σ δ_l r N_l = density · Σ N_l; what is cut at 1 goes to no other."""
    size = {name: prod(shapes[name]) for name in found}
    ratio = density * sum(size.values()) / sum(found[name] * size[name] for name in found)
    return {name: min(1.0, value * ratio) for name, value in found.items()}


def by_magnitude(params: Params, ones: Mapping[str, float], density: float) -> Params:
    """The int(ones_l · r) largest |w| of each tensor in `ones`, r = min(1, density · Σ N_l / Σ ones_l): bool [*shape].

    Of two densities, the smaller one's mask lies within the other's.
    """
    total = sum(ones.values())
    ratio = min(1.0, density * sum(params[name].numel() for name in ones) / total) if total else 0.0
    return {
        name: masks.largest(params[name].unsqueeze(0), torch.tensor([int(value * ratio)]))[0]
        for name, value in ones.items()
    }


def ones(params: Params, names: Iterable[str]) -> dict[str, float]:
    """How many values of each of these tensors are not 0."""
    return {name: float(torch.count_nonzero(params[name])) for name in names}
