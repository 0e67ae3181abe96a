"""Gradients and predictions of a cohort: [client, *shape] parameters against [client, B, …] samples.

Ways to the same numbers; which pays where is measured in benchmarks/README.md:
  loop     one client at a time, best for convolutions on a CPU: by hand where the model is a chain of known
           layers (`chain`), by autograd otherwise, which is the oracle of all
  stacked  every client at once: matrix products with a backward by hand for dense models (`layered`),
           `torch.func.vmap` over the module for any other
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from edgesim.learning.batches import Batch
from edgesim.learning.chain import chain
from edgesim.learning.layered import Layered, dense_layers
from edgesim.learning.tree import Params

_SAMPLES = 64  # predicted at once, so that what layers pass on stays in the cache


class Kernel(Protocol):
    """How a cohort's gradients are computed."""

    def gradient(self, params: Params, batch: Batch) -> Params:
        """Gradient of each client's mean cross-entropy over the real samples of its batch."""
        ...

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Predictions [client, sample, class] for x [client, sample, *shape]."""
        ...


def kernel(module: nn.Module, backend: str) -> Kernel:
    """The kernel of a backend ("loop" or "stacked") for this model."""
    if backend == "loop":
        return Loop(chain(module) or Autograd(module))
    layers = dense_layers(module)
    return Vmap(module) if layers is None else Layered(layers)


class One(Protocol):
    """One client's gradient and predictions; no client axis."""

    def gradient(self, params: Params, x: Tensor, y: Tensor) -> Params: ...

    def logits(self, params: Params, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Loop:
    """One client at a time."""

    one: One

    def gradient(self, params: Params, batch: Batch) -> Params:
        real = np.count_nonzero(batch.weight.numpy(), 1)
        return _rows([self.one.gradient(_row(params, i), batch.x[i, :n], batch.y[i, :n]) for i, n in enumerate(real)])

    def logits(self, params: Params, x: Tensor) -> Tensor:
        rows = [[self.one.logits(_row(params, i), some) for some in torch.split(x[i], _SAMPLES)] for i in range(len(x))]
        return torch.stack([torch.cat(row) for row in rows])


@dataclass(frozen=True)
class Autograd:
    """Any module, differentiated by torch."""

    module: nn.Module

    def gradient(self, params: Params, x: Tensor, y: Tensor) -> Params:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in params.items()}
        loss = F.cross_entropy(functional_call(self.module, leaves, (x,)), y)
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def logits(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = functional_call(self.module, params, (x,))
        return out


def _row(params: Params, i: int) -> Params:
    return {name: tensor[i] for name, tensor in params.items()}


def _rows(rows: list[Params]) -> Params:
    """With the client axis; a cohort of one is not copied."""
    if len(rows) == 1:
        return {name: tensor.unsqueeze(0) for name, tensor in rows[0].items()}
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


class Vmap:
    """Every client at once through `vmap`: slower than `Layered`, but it takes any module."""

    def __init__(self, module: nn.Module) -> None:
        def loss(params: Params, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
            each = F.cross_entropy(functional_call(module, params, (x,)), y, reduction="none")
            return (each * weight).sum()

        def logits(params: Params, x: Tensor) -> Tensor:
            out: Tensor = functional_call(module, params, (x,))
            return out

        self._gradient: Callable[..., Params] = vmap(grad(loss))
        self._logits: Callable[..., Tensor] = vmap(logits)

    def gradient(self, params: Params, batch: Batch) -> Params:
        return self._gradient(params, batch.x, batch.y, batch.weight)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self._logits(params, x)
