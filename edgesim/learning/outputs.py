"""Outputs: what models make of a cohort's samples on the way, for losses of an algorithm's own."""

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from edgesim.errors import RunError
from edgesim.learning.batches import Batch
from edgesim.learning.kernels import Kernel, Loop, drawing
from edgesim.learning.quadratic import QuadraticKernel
from edgesim.learning.tree import Params

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Logits [client, B, class], features [client, B, *shape] → each client's loss [client]; rows of weight 0 are none."""


class Network:
    """A module whose features can be had besides its logits: what its last layer with parameters is given.

    As in kernels, gradients are those of training and outputs those of use, which are not the same with batch norms.
    """

    def __init__(self, module: nn.Module, statistics: frozenset[str], stacked: bool) -> None:
        self._statistics = statistics
        training, using = _observed(copy.deepcopy(module).train()), _observed(copy.deepcopy(module).eval())
        self._training, self._using = (
            (_stacked(training), _stacked(using)) if stacked else (_each(training), _each(using))
        )

    def outputs(self, params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and features of a batch; nothing flows back through them."""
        with torch.no_grad():
            return self._using(params, batch)

    def gradient(self, params: Params, batch: Batch, loss: Loss) -> Params:
        """The gradient of each client's loss; of a running statistic its decrease, as in `Model.statistics`."""
        given = {
            name: tensor.clone() if name in self._statistics else tensor.detach().requires_grad_()
            for name, tensor in params.items()
        }  # statistics are moved in place
        leaves = {name: tensor for name, tensor in given.items() if name not in self._statistics}
        each = loss(*self._training(given, batch))
        if not isinstance(each, Tensor):
            raise ValueError(
                f"learner.gradient: the loss is a {type(each).__name__}, and a tensor of one number a client is "
                f"wanted, {list(batch.y.shape[:1])}"
            )
        if each.shape != batch.y.shape[:1]:
            raise ValueError(
                f"learner.gradient: the loss has shape {list(each.shape)}, and one number a client is wanted, "
                f"{list(batch.y.shape[:1])}: weigh that of each sample, (each * batch.weight).sum(1)"
            )
        if not each.requires_grad:
            raise ValueError(
                "learner.gradient: the loss does not depend on the parameters: make it of the logits or the features, "
                "without detach, item or numpy"
            )
        found = torch.autograd.grad(each.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
        moved = dict(zip(leaves, found, strict=True))
        return {name: moved[name] if name in moved else params[name] - given[name] for name in params}


def network_of(module: nn.Module, statistics: frozenset[str], kernel: Kernel) -> Network:
    """The network of a module that computes as a kernel does: one client at a time, or all at once.

    Raises RunError for quadratic problems, which predict nothing.
    """
    if isinstance(kernel, QuadraticKernel):
        raise RunError("the quadratic task predicts nothing, and this algorithm asks for predictions; take another")
    return _network(module, statistics, not isinstance(kernel, Loop))


@lru_cache(maxsize=4)
def _network(module: nn.Module, statistics: frozenset[str], stacked: bool) -> Network:
    return Network(module, statistics, stacked)


_One: TypeAlias = Callable[[Params, Tensor], tuple[Tensor, Tensor]]
_All: TypeAlias = Callable[[Params, Batch], tuple[Tensor, Tensor]]


def _observed(module: nn.Module) -> _One:
    """One client's logits and features."""
    seen: list[Tensor] = []

    def see(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen[:] = [value for value in given if isinstance(value, Tensor)][:1]

    for part in module.modules():
        if next(part.parameters(recurse=False), None) is not None:
            part.register_forward_pre_hook(see)

    def both(params: Params, x: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = functional_call(module, params, (x,))
        return logits, seen.pop()

    return both


def _stacked(one: _One) -> _All:
    together = vmap(one)
    return lambda params, batch: together(params, batch.x)


def _each(one: _One) -> _All:
    def each(params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
        found = []
        for client, weight in enumerate(batch.weight):
            real = int(torch.count_nonzero(weight))  # padding would count in a batch norm
            with drawing(batch, client):
                found.append(one({name: tensor[client] for name, tensor in params.items()}, batch.x[client, :real]))
        logits, features = ([_padded(row, batch.y.shape[1]) for row in rows] for rows in zip(*found, strict=True))
        return torch.stack(logits), torch.stack(features)

    return each


def _padded(rows: Tensor, count: int) -> Tensor:
    """With rows of zeros up to so many."""
    if len(rows) == count:
        return rows
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])
