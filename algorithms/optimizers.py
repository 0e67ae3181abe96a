"""Server optimisers: what the server does with the merged update Δ, taken as a descent direction.

FedOpt (Reddi et al. 2021, arXiv:2003.00295, Algorithm 2): m ← β₁ m + (1 − β₁) Δ, no bias correction,
v₀ = τ², w ← w + η m / (√v + τ).
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from typing_extensions import Doc

from edgesim.learning import tree
from edgesim.learning.flat import moved
from edgesim.learning.solvers import Decay
from edgesim.learning.tree import Params, State


class Optimizer(Protocol):
    """One step of the server's model."""

    def step(self, params: Params, delta: Params, memory: State, staleness: int) -> tuple[Params, State]:
        """The next params and memory ({} before the first step); `staleness`, the largest among the updates."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """m ← β m + Δ;  w ← w + η m. With η = 1 and β = 0 it is plain averaging."""

    lr: Annotated[float, Gt(0), Doc("η")] = 1.0
    momentum: Annotated[Decay, Doc("β")] = 0.0

    def step(self, params: Params, delta: Params, memory: State, staleness: int) -> tuple[Params, State]:
        if self.momentum:
            if "m" in memory:
                delta = tree.apply(lambda d, m: self.momentum * m + d, delta, memory["m"])
            memory = {**memory, "m": delta}
        return moved(params, delta, self.lr), memory


@dataclass(frozen=True, kw_only=True)
class _Adaptive:
    """What the adaptive ones share."""

    lr: Annotated[float, Gt(0), Doc("η")] = 0.1
    beta1: Annotated[Decay, Doc("β₁, of the mean")] = 0.9
    tau: Annotated[float, Gt(0), Doc("τ, adaptivity: the larger, the nearer to SGD")] = 1e-3

    def step(self, params: Params, delta: Params, memory: State, staleness: int) -> tuple[Params, State]:
        start = {name: torch.zeros_like(d) for name, d in delta.items()}
        first = memory.get("m", start)
        second = memory.get("v", {name: torch.full_like(d, self.tau**2) for name, d in delta.items()})
        m = tree.apply(lambda a, d: self.beta1 * a + (1 - self.beta1) * d, first, delta)
        v = tree.apply(lambda b, d: self._square(b, d.square()), second, delta)
        after = tree.apply(lambda w, a, b: w + self.lr * a / (b.sqrt() + self.tau), params, m, v)
        return after, {**memory, "m": m, "v": v}

    def _square(self, v: Tensor, square: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Adam(_Adaptive):
    """v ← β₂ v + (1 − β₂) Δ²."""

    beta2: Annotated[Decay, Doc("β₂, of the square")] = 0.99

    def _square(self, v: Tensor, square: Tensor) -> Tensor:
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True, kw_only=True)
class Yogi(_Adaptive):
    """v ← v − (1 − β₂) Δ² sign(v − Δ²)."""

    beta2: Annotated[Decay, Doc("β₂, of the square")] = 0.99

    def _square(self, v: Tensor, square: Tensor) -> Tensor:
        return v - (1 - self.beta2) * square * (v - square).sign()


@dataclass(frozen=True, kw_only=True)
class Adagrad(_Adaptive):
    """v ← v + Δ²."""

    beta1: Annotated[Decay, Doc("β₁, of the mean")] = 0.0

    def _square(self, v: Tensor, square: Tensor) -> Tensor:
        return v + square


@dataclass(frozen=True, kw_only=True)
class Fadas:
    """AMSGrad on buffered updates, with a shorter step after long delays (Wang et al. 2024, arXiv:2407.18365).

    m ← β₁ m + (1 − β₁) Δ;  v ← β₂ v + (1 − β₂) Δ²;  v̂ ← max(v̂, v);  w ← w + η_t m / (√v̂ + ε), where
    η_t = min(η, η/τ_max) if the largest staleness τ_max exceeds `delay`, else η.
    """

    lr: Annotated[float, Gt(0), Doc("η")] = 0.1
    beta1: Annotated[Decay, Doc("β₁")] = 0.9
    beta2: Annotated[Decay, Doc("β₂")] = 0.99
    epsilon: Annotated[float, Gt(0), Doc("ε")] = 1e-3
    delay: Annotated[int, Ge(0), Doc("τ_c, the staleness up to which the step is whole")] = 1

    def step(self, params: Params, delta: Params, memory: State, staleness: int) -> tuple[Params, State]:
        zeros = {name: torch.zeros_like(d) for name, d in delta.items()}
        m = tree.apply(lambda a, d: self.beta1 * a + (1 - self.beta1) * d, memory.get("m", zeros), delta)
        v = tree.apply(lambda b, d: self.beta2 * b + (1 - self.beta2) * d.square(), memory.get("v", zeros), delta)
        largest = tree.apply(torch.maximum, memory.get("largest", zeros), v)
        lr = self.lr / max(staleness, 1) if staleness > self.delay else self.lr
        after = tree.apply(lambda w, a, b: w + lr * a / (b.sqrt() + self.epsilon), params, m, largest)
        return after, {**memory, "m": m, "v": v, "largest": largest}


OPTIMIZERS = {"sgd": Sgd, "adam": Adam, "yogi": Yogi, "adagrad": Adagrad, "fadas": Fadas}
