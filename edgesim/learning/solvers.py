"""Local solvers: what a gradient becomes before a step along it, and what is remembered from step to step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim.learning import tree
from edgesim.learning.tree import Params, State

if TYPE_CHECKING:
    from edgesim.learning.training import Training

MOMENTS = ("momentum", "squares")
MEMORY = (*MOMENTS, "steps")
"""Groups of a local state that a solver keeps for `params`; of another group, with its name and a stroke before."""

Decay: TypeAlias = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """w ← w − lr v, v ← μ v + g + λ w, with μ = training.momentum and λ = training.weight_decay."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980): w ← w − lr m̂ / (√v̂ + ε), of g + λ w."""

    beta1: Annotated[Decay, Doc("β₁, of the mean")] = 0.9
    beta2: Annotated[Decay, Doc("β₂, of the squares")] = 0.999
    epsilon: Annotated[float, Gt(0), Doc("ε, what roots of squares are increased by")] = 1e-8


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam whose weights decay apart from the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101)."""


SOLVERS: Mapping[str, type[Any]] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW}
"""By name: the parameters that `Training` has of each."""


def direction(training: "Training", gradient: Params, params: Params, local: State, group: str) -> tuple[Params, State]:
    """What to step along instead of the gradient of `params`, tensors of `local[group]`, and the groups of the solver's
    memory that are new. Tensors without a gradient keep their memory as it is."""
    if training.weight_decay and training.optimizer != "adamw":
        gradient = tree.apply(lambda g, w: g + training.weight_decay * w, gradient, params)
    if training.optimizer != "sgd":
        return _adaptive(training, gradient, params, local, group)
    if not training.momentum:
        return gradient, {}
    name = _name(group, "momentum")
    if name in local:
        gradient = tree.apply(lambda g, v: training.momentum * v + g, gradient, local[name])
    return gradient, {name: {**local.get(name, {}), **gradient}}


def rested(local: State) -> State:
    """Without memory: whoever starts with a solver of its own."""
    return {group: params for group, params in local.items() if group not in MEMORY}


def _adaptive(training: "Training", gradient: Params, params: Params, local: State, group: str) -> tuple[Params, State]:
    """Adam's, whose memory begins at 0, which dividing by 1 − βᵗ makes up for; t, the steps of a tensor so far."""
    names = [_name(group, what) for what in MEMORY]
    first, second, steps = (local.get(name, {}) for name in names)
    means, squares, counts, along = {}, {}, {}, {}
    begun: dict[int, tuple[Tensor, ...]] = {}  # of tensors that have moved together
    for name, g in gradient.items():
        m, v, t = first.get(name), second.get(name), steps.get(name)
        if id(t) not in begun:
            now = g.new_ones(len(g)) if t is None else t + 1
            begun[id(t)] = now, *((1 - beta ** now.double()).float() for beta in (training.beta1, training.beta2))
        counts[name], of_means, of_squares = begun[id(t)]
        means[name] = m = (1 - training.beta1) * g if m is None else torch.lerp(m, g, 1 - training.beta1)
        square = g.square()
        squares[name] = v = (1 - training.beta2) * square if v is None else torch.lerp(v, square, 1 - training.beta2)
        root = (v / tree.broadcast(of_squares, v)).sqrt_().add_(training.epsilon)
        along[name] = m / root.mul_(tree.broadcast(of_means, m))
        if training.optimizer == "adamw" and training.weight_decay:
            along[name] += training.weight_decay * params[name]
    found = zip(names, ((first, means), (second, squares), (steps, counts)), strict=True)
    return along, {name: {**before, **after} for name, (before, after) in found}


def _name(group: str, what: str) -> str:
    return what if group == "params" else f"{group}/{what}"
