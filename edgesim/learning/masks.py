"""Masks: which weights are active; how many per tensor, which at first, and which next.

Maskable are the parameters of two or more dimensions; biases and norm scales stay dense. A mask is a bool
tensor of its parameter's shape; density is its share of ones.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.learning import flat
from edgesim.learning.tree import Params, Shape, vectors

_BLOCK = 1 << 18  # elements looked at together: temporaries stay in the cache, and small for large cohorts
_BITS = np.uint32(0x7FFFFFFF)  # all of a float32 but its sign


def maskable(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of those parameters that a mask may thin out, in the same order."""
    return {name: tuple(shape) for name, shape in shapes.items() if len(shape) >= 2}


def uniform(shapes: Mapping[str, Shape], density: float) -> dict[str, float]:
    """The same density for every tensor."""
    _check_density(density)
    return dict.fromkeys(shapes, density)


def erk(shapes: Mapping[str, Shape], density: float) -> dict[str, float]:
    """Erdős–Rényi-kernel densities: d_l = ε · Σ dims_l / Π dims_l, with Σ d_l N_l = density · Σ N_l.

    Where some d_l would exceed 1, all tensors of the largest score become dense and the rest share what is
    left of the budget (Evci et al. 2020, RigL, arXiv:1911.11134, and its code). Small tensors stay denser.
    """
    return dict(_erk(tuple(shapes.items()), density))


@lru_cache(maxsize=256)
def _erk(items: tuple[tuple[str, Shape], ...], density: float) -> dict[str, float]:
    _check_density(density)
    shapes = dict(items)
    size = {name: prod(shape) for name, shape in shapes.items()}
    score = {name: sum(shape) / prod(shape) for name, shape in shapes.items()}
    budget = density * sum(size.values())
    sparse = dict(score)
    while sparse:
        scale = budget / sum(sparse[name] * size[name] for name in sparse)
        top = max(sparse.values())
        if scale * top <= 1:
            break
        full = [name for name in sparse if sparse[name] == top]
        budget -= sum(size[name] for name in full)
        sparse = {name: value for name, value in sparse.items() if name not in full}
    return {name: scale * score[name] if name in sparse else 1.0 for name in shapes}


def erk_sparsities(shapes: Mapping[str, Shape], density: float) -> dict[str, float]:
    """Densities d_l = 1 − C (1 − Σ dims_l / Π dims_l), with Σ d_l N_l = density · Σ N_l.

    What FedDST's code calls ERK: it scales sparsities, where RigL's ERK scales densities (see `erk`), so all tensors
    end up with nearly the same density (Bibikar et al. 2022, arXiv:2112.09824, and github bibikar/feddst). Raises
    ValueError where a tensor would be left without weights.
    """
    _check_density(density)
    size = {name: prod(shape) for name, shape in shapes.items()}
    raw = {name: max(0.0, 1 - sum(shape) / prod(shape)) for name, shape in shapes.items()}
    weight = sum(raw[name] * size[name] for name in shapes)
    scale = (1 - density) * sum(size.values()) / weight if weight else 0.0
    empty = [name for name in shapes if scale * raw[name] >= 1]
    if empty or (not weight and density < 1):
        raise ValueError(
            f"density {density} leaves {', '.join(empty) or 'these tensors'} no weights; take a larger one"
        )
    return {name: 1 - scale * raw[name] for name in shapes}


def random_mask(
    shapes: Mapping[str, Shape], densities: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Masks with exactly int(density · numel) ones each, at random places; bool [*shape]."""
    masks = {}
    for name, shape in shapes.items():
        total = prod(shape)
        on = np.zeros(total, bool)
        on[rng.choice(total, int(densities[name] * total), replace=False, shuffle=False)] = True
        masks[name] = torch.from_numpy(on).reshape(shape)
    return masks


def bernoulli_mask(
    shapes: Mapping[str, Shape], densities: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Masks in which each weight is on with its tensor's density, by itself; bool [*shape]."""
    return {name: torch.from_numpy(rng.random(shape) < densities[name]) for name, shape in shapes.items()}


def apply(mask: Params, params: Params) -> Params:
    """The active values, 0 elsewhere; what has no mask stays whole."""
    return {name: tensor * mask[name] if name in mask else tensor for name, tensor in params.items()}


def apply_each(own: Sequence[Params], params: Params) -> list[Params]:
    """`apply` of each of several clients' masks to the same params."""
    mask = flat.stacked([{"mask": one} for one in own])["mask"]
    whole = {n: t * mask[n] if n in mask else t.expand(len(own), *t.shape) for n, t in params.items()}
    made = flat.flattened({"params": whole})
    return [flat.row(made, client)["params"] for client in range(len(own))]


def densities(mask: Params) -> dict[str, float]:
    """Active share of each tensor of one client's mask."""
    return {name: int(torch.count_nonzero(tensor)) / tensor.numel() for name, tensor in mask.items()}


def count(mask: Params) -> Tensor:
    """Active weights of each client in each tensor: float64 [client, tensor]."""
    return torch.stack([tensor.flatten(1).sum(1) for tensor in mask.values()], dim=1).double()


def below_percentile(active: Tensor, share: Tensor) -> Tensor:
    """How many of so many different numbers lie below their percentile of `share` [client], by numpy's definition,
    which interpolates: ⌈share · (active − 1)⌉; active and the result are [client, tensor]."""
    return torch.ceil(share.double()[:, None] * (active - 1).clamp_min(0) * (1 - 2.0**-40))


def largest(weight: Tensor, counts: Tensor) -> Tensor:
    """The counts[i] largest |weight| of each row: bool [row, *shape]; weight float32 [row, *shape].

    Ties: lowest position first; what is not a number counts as larger than any.
    """
    keys = ~_magnitude_bits(weight) & _BITS
    return _mask_like(weight, _chosen(keys, np.ones(keys.shape, bool), counts.cpu().numpy()))


def prune(mask: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """The mask without the counts[i] active weights of smallest |weight| in each row: bool [row, *shape].

    weight is float32 of the same shape. Ties: lowest position first.
    """
    on = _rows(mask)
    return _mask_like(mask, on & ~_chosen(_magnitude_bits(weight) & _BITS, on, counts.cpu().numpy()))


def grow(mask: Tensor, score: Tensor, counts: Tensor) -> Tensor:
    """The mask with the counts[i] inactive weights of largest |score| in each row: bool [row, *shape].

    score is float32 of the same shape. Ties: lowest position first.
    """
    on = _rows(mask)
    return _mask_like(mask, on | _chosen(~_magnitude_bits(score) & _BITS, ~on, counts.cpu().numpy()))


def prune_and_regrow(mask: Tensor, weight: Tensor, score: Tensor, rate: float | Tensor) -> Tensor:
    """The next mask of one tensor in a cohort: bool [client, *shape], as many ones per client as before.

    Per client n = ⌈rate · active⌉: the n active weights of smallest |weight| go; then, among all that are
    off, the just pruned included, the n of largest |score| (the dense gradient) come. Ties: lowest position
    first; what is not a number counts as larger than any. mask, weight and score are [client, *shape], the
    latter float32; rate is one number or [client], in [0, 1] (FedSpa, arXiv:2201.11380; layer-wise as in
    the code of DisPFL). Raises ValueError for shapes, types or a rate that do not fit.
    """
    kinds = [f"{tensor.dtype} {list(tensor.shape)}" for tensor in (mask, weight, score)]
    if kinds[1:] != [f"torch.float32 {list(mask.shape)}"] * 2 or mask.dtype != torch.bool:
        raise ValueError(f"mask, weight and score are {kinds}; bool, float32, float32 of one shape are wanted")
    result = _rows(mask).copy()
    size, wish = _magnitude_bits(weight), _magnitude_bits(score)
    counts = _replaced(np.count_nonzero(result, axis=1), torch.as_tensor(rate))
    step = max(1, _BLOCK // max(1, result.shape[1]))
    for count in np.unique(counts[counts > 0]).tolist():
        clients = np.flatnonzero(counts == count)
        for block in (clients[first : first + step] for first in range(0, len(clients), step)):
            on = result[block]
            on ^= _smallest(size[block] & _BITS, on, count)
            on |= _smallest(~wish[block] & _BITS, ~on, count)
            result[block] = on
    return torch.from_numpy(result).reshape(mask.shape).to(mask.device)


def _chosen(keys: NDArray[np.uint32], candidate: NDArray[np.bool_], counts: NDArray[Any]) -> NDArray[np.bool_]:
    """The counts[i] smallest keys among the candidates of each row, at most all of them: bool [row, n]."""
    chosen = np.zeros(candidate.shape, bool)
    counts = np.minimum(counts.astype(np.int64), np.count_nonzero(candidate, axis=1))
    for count in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == count)
        chosen[rows] = _smallest(keys[rows], candidate[rows], count)
    return chosen


def _mask_like(tensor: Tensor, rows: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(rows).reshape(tensor.shape).to(tensor.device)


def _replaced(active: NDArray[np.int64], rate: Tensor) -> NDArray[np.int64]:
    """⌈rate · active⌉ of each client, [client]."""
    if not bool(((rate >= 0) & (rate <= 1)).all()):
        raise ValueError(f"prune rate {rate.tolist()}: it must lie between 0 and 1")
    # Less a hair: the float32 nearest to 0.2 lies above 0.2, and must not turn ⌈0.2 · 10⌉ into 3.
    exact = rate.double().cpu().numpy() * active * (1 - 2.0**-22)
    counts: NDArray[np.int64] = np.ceil(exact).astype(np.int64)
    return counts


def _smallest(keys: NDArray[np.uint32], candidate: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """The `count` smallest keys (below 2³¹) of each row's candidates, ties by position: bool [client, n]."""
    keys |= np.left_shift(~candidate, 31, dtype=np.uint32)  # the others come after all candidates
    limit = np.partition(keys, count - 1, axis=1)[:, count - 1, None]
    chosen: NDArray[np.bool_] = keys <= limit
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > count):
        tied = np.flatnonzero(keys[row] == limit[row])
        surplus = int(np.count_nonzero(chosen[row])) - count
        chosen[row, tied[len(tied) - surplus :]] = False
    return chosen


def _rows(tensor: Tensor) -> NDArray[Any]:
    """[client, *shape] as an array [client, n], without a copy where possible."""
    rows: NDArray[Any] = vectors(tensor.detach().cpu()).contiguous().numpy()
    return rows


def _magnitude_bits(tensor: Tensor) -> NDArray[np.uint32]:
    """The bits of float32 numbers; below the sign they order as |x| does, and integers sort much faster."""
    return _rows(tensor).view(np.uint32)


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density {density}: it must lie above 0 and at most at 1, e.g. 0.5")
