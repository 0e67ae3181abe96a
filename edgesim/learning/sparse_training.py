"""Sparse training of a cohort: steps under a mask, and masks that move while a client trains.

`moving_step` is magnitude pruning, redistribution between tensors by their weights' mean magnitude, and random
regrowth (after Dettmers and Zettlemoyer 2019, arXiv:1907.04840), as FLASH's code does it (github SaraBabakN/flash_fl).
A tensor's density moves with it, which is what makes it a measure of the tensor's sensitivity.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.learning import masks
from edgesim.learning.batches import Batch
from edgesim.learning.cohort import Cohort
from edgesim.learning.solvers import MOMENTS
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_FULL = 0.2  # tensors of less sparsity lose no more than that
_ROOM = 0.99  # share of a tensor's inactive weights that may come


def masked_step(local: State, batch: Batch, learner: Learner) -> State:
    """SGD on the active weights of `local["params"]` under `local["mask"]`; what is off is 0 and stays so."""
    gradient = learner.gradient(local["params"], batch)
    return learner.descend(local, masks.apply(local["mask"], gradient))


def remask(local: State, mask: Params) -> State:
    """The same under another mask: weights that go leave neither value nor moments; those that come are 0."""
    groups = [group for group in ("params", *MOMENTS) if group in local]
    thinned: State = {group: masks.apply(mask, local[group]) for group in groups}
    return {**local, **thinned, "mask": mask}


def movement(on: Tensor, budget: Tensor) -> Params:
    """What `moving_step` keeps of each client as `local["movement"]`: whether masks move, bool [client]; the weights
    that should be active, float64 [client]; and the correction of what random regrowth missed so far."""
    zero = torch.zeros_like(budget)
    return {"on": on, "budget": budget, "correction": zero, "missed": zero, "updates": zero}


def moving_step(local: State, batch: Batch, learner: Learner, prune_rate: float) -> State:
    """A masked step, and the next masks where they are due.

    Masks move after every epoch but the last, or once after step ⌊n/2⌋ where there is a single one. The prune rate
    falls linearly from `prune_rate` to 0 over the client's steps.
    """
    local = masked_step(local, batch, learner)
    due = torch.nonzero(_due(learner) & local["movement"]["on"]).flatten()
    return _moved(local, due, learner, prune_rate) if len(due) else local


def _due(learner: Learner) -> Tensor:
    done, epoch = learner.step + 1, learner.epoch_steps
    after_an_epoch = (done % epoch == 0) & (done < learner.steps)
    return torch.where(learner.steps == epoch, learner.step == epoch // 2, after_an_epoch)


def _moved(local: State, due: Tensor, learner: Learner, prune_rate: float) -> State:
    """The masks of the clients `due` move; the others are as they were."""
    rate = prune_rate * (1 - (learner.step + 1) / learner.steps[due].double())
    mask = {name: tensor[due] for name, tensor in local["mask"].items()}
    weight = {name: local["params"][name][due] for name in mask}
    state = {name: tensor[due] for name, tensor in local["movement"].items()}
    draws = _of(learner, due).uniforms(f"regrow/{learner.step}", sum(tensor[0].numel() for tensor in mask.values()))
    moved = redistribute(mask, weight, rate, state["correction"], draws)
    missed = state["budget"] - masks.count(moved).sum(1)
    state["missed"], state["updates"] = state["missed"] + missed, state["updates"] + 1
    state["correction"] = 0.25 * state["correction"] + 0.75 * missed + state["missed"] / state["updates"]
    kept = {name: tensor.index_copy(0, due, state[name]) for name, tensor in local["movement"].items()}
    whole = {name: tensor.index_copy(0, due, moved[name]) for name, tensor in local["mask"].items()}
    return {**remask(local, whole), "movement": kept}


def _of(learner: Learner, rows: Tensor) -> Learner:
    some, cohort = rows.cpu().numpy(), learner.cohort
    return replace(
        learner, cohort=Cohort(clients=cohort.clients[some], jobs=cohort.jobs[some], versions=cohort.versions[some])
    )


def redistribute(mask: Params, weight: Params, rate: Tensor, correction: Tensor, draws: Tensor) -> Params:
    """The next masks of a cohort: bool [client, *shape] by name.

    With v_l the mean |w| of tensor l's active weights, over the sum of these means:

        prune    the ⌈p_l · active_l⌉ smallest |w|;  p_l = rate, at most sparsity_l where sparsity_l < 0.2 and v_l > 1/L
        regrow   g_l = ⌈v_l · (pruned in all + correction)⌉, at most 0.99 of what is off then; what does not fit is
                 spread over all tensors; each inactive weight comes with probability ⌊g_l⌋ / off_l, just-pruned too

    weight is float32 like mask; rate and correction are float64 [client]; draws in [0, 1) are [client, all weights].
    """
    active, size = masks.count(mask).cpu().numpy(), np.array([m[0].numel() for m in mask.values()], np.float64)
    share, sparsity = _shares(mask, weight, active), (size - active) / size
    rates = np.repeat(rate.cpu().numpy()[:, None], len(size), axis=1)
    kept_full = (sparsity < _FULL) & (share > 1 / len(size))
    rates = np.where(kept_full, np.minimum(sparsity, rates), rates)
    pruned = np.ceil(rates * active * (1 - 2.0**-40))  # less a hair of rounding: ⌈0.125 · 80⌉ is 10
    off = size - active + pruned
    wanted = np.ceil(share * (pruned.sum(1) + correction.cpu().numpy())[:, None])
    chance = np.floor(_fitted(wanted, _ROOM * off)) / np.maximum(off, 1)
    moved, at = {}, 0
    for place, (name, tensor) in enumerate(mask.items()):
        left = masks.prune(tensor, weight[name], torch.from_numpy(pruned[:, place]))
        draw = draws[:, at : at + tensor[0].numel()]
        comes = draw.double() < torch.from_numpy(chance[:, place, None]).to(draw.device)
        moved[name] = left | comes.view(tensor.shape)
        at += tensor[0].numel()
    return moved


def _shares(mask: Params, weight: Params, active: NDArray[np.float64]) -> NDArray[np.float64]:
    """v_l, [client, tensor]; equal where all weights are 0."""
    size = torch.stack([(weight[name] * m).abs().flatten(1).double().sum(1) for name, m in mask.items()], dim=1)
    mean = size.cpu().numpy() / np.maximum(active, 1)
    total = mean.sum(1, keepdims=True)
    shares: NDArray[np.float64] = np.where(total > 0, mean / np.where(total > 0, total, 1), 1 / mean.shape[1])
    return shares


def _fitted(wanted: NDArray[np.float64], most: NDArray[np.float64]) -> NDArray[np.float64]:
    """`wanted` within `most`, [client, tensor]: what does not fit is spread evenly, as long as there is room."""
    for _ in range(1000):
        over = np.maximum(wanted - most, 0)
        wanted = np.minimum(wanted, most)
        if over.max() < 1e-9:
            break
        wanted = wanted + over.mean(1, keepdims=True)
    return np.minimum(wanted, most)
