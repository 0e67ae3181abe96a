"""Gradients and predictions of a cohort: [client, *shape] parameters against [client, B, …] samples.

Ways to the same numbers; which pays where is measured in benchmarks/README.md:
  loop     one client at a time, best for convolutions on a CPU: by hand where the model is a chain of known
           layers (`chain`), by autograd otherwise, which is the oracle of all
  stacked  every client at once: matrix products with a backward by hand for dense models (`layered`),
           `torch.func.vmap` over the module for any other

Gradients are those of training, predictions and losses those of use: a batch norm goes by its batch in the
former and by its running statistics in the latter, and dropout drops in the former only. What is called the gradient of
a running statistic is its decrease, before − after the batch. Only the loop takes such models.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from edgesim.errors import ScenarioError
from edgesim.learning.batches import Batch, Batches, mapped, mean_loss, take
from edgesim.learning.chain import Chain, Convolution, Dense, Step, chain
from edgesim.learning.descent import Descent
from edgesim.learning.layered import Layered, dense_layers
from edgesim.learning.quadratic import Quadratic, QuadraticKernel
from edgesim.learning.statistics import statistics
from edgesim.learning.tree import Params

_SAMPLES = 64  # predicted at once, so that what layers pass on stays in the cache
_FEATURES = 1 << 26  # values of one client that are kept, 256 MB: of what stands still below the layers that learn
_SAMPLES_STACKED = 8192  # of all clients, so that what layers pass on has room in memory


class Kernel(Protocol):
    """How a cohort's gradients are computed."""

    def gradient(self, params: Params, batch: Batch) -> Params:
        """Gradient of each client's mean cross-entropy over the real samples of its batch."""
        ...

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Predictions [client, sample, class] for x [client, sample, *shape]."""
        ...

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Each client's mean cross-entropy over the real samples of its batch: [client]."""
        ...


@runtime_checkable
class Descending(Kernel, Protocol):
    """A kernel that does a whole local run of plain SGD by itself: nothing but the weights is kept between steps."""

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor, descent: Descent) -> Params:
        """Steps as `Descent` says over all batches of each client, from `params`, which are not changed; lr may be
        [client]. Clients are sorted by falling number of steps.
        """
        ...


def kernel(module: nn.Module, backend: str, *, random: bool = False) -> Kernel:
    """The kernel of a backend ("loop" or "stacked") for this model, which may draw `random` numbers when it trains.

    Raises ScenarioError for a stacked batch norm, whose samples of no weight would count, and for stacked models that
    draw, whose clients would draw otherwise in other company.
    """
    if isinstance(module, Quadratic):
        return QuadraticKernel()
    if backend == "loop":
        by_hand = chain(module)
        return Loop(Autograd(module)) if by_hand is None else Chained(by_hand)
    if statistics(module):
        raise ScenarioError(
            "execution.backend: stacked cannot train models with batch norm, since it pads short batches; "
            "write backend: loop, or auto, or take group norm"
        )
    if random:
        raise ScenarioError(
            "execution.backend: stacked cannot train models that draw random numbers, as dropout does: what a client "
            "draws would depend on its company; write backend: loop, or auto"
        )
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
        real = np.count_nonzero(batch.weight.cpu().numpy(), 1)
        rows = []
        for i, n in enumerate(real):
            with drawing(batch, i):
                rows.append(self.one.gradient(_row(params, i), batch.x[i, :n], batch.y[i, :n]))
        return _rows(rows)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        rows = [[self.one.logits(_row(params, i), some) for some in torch.split(x[i], _SAMPLES)] for i in range(len(x))]
        return torch.stack([torch.cat(row) for row in rows])

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)


def drawing(batch: Batch, client: int) -> AbstractContextManager[object]:
    """Within it, what torch draws at random is this client's of this batch."""
    return nullcontext() if batch.keys is None else _seeded(int(batch.keys[client]), batch.x)


@contextmanager
def _seeded(seed: int, where: Tensor) -> Iterator[None]:
    with torch.random.fork_rng([where.device] if where.is_cuda else []):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Chained(Loop):
    """One client at a time, by hand."""

    one: Chain

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor, descent: Descent) -> Params:
        """See `Descending`."""
        rates = lr.tolist() if isinstance(lr, Tensor) else [lr] * len(batches.steps)
        rows = [self._sgd(_row(params, c), batches, c, rate, descent.of(c)) for c, rate in enumerate(rates)]
        return _rows(rows)

    def _sgd(self, params: Params, batches: Batches, client: int, lr: float, descent: Descent) -> Params:
        """That of one client."""
        own = {name: tensor.clone() if descent.moves(name) else tensor for name, tensor in params.items()}
        ones = [(own[name], on.to(own[name].dtype)) for name, on in descent.masked().items()]
        moving = {name: tensor for name, tensor in own.items() if descent.moves(name)}
        keep, pull = 1 - lr * descent.decay, lr * descent.pull
        stepping = Step(moving, lr, keep, pull, descent.pulled(), descent.pushed(lr))
        below, above = self.one.cut(stepping)
        if not above.layers:
            return own
        alone = batches.some(slice(client, client + 1))
        if _is_worth_keeping(below, own, alone):
            batches, client = mapped(alone, lambda x: below.logits(own, x[0]).unsqueeze(0), _SAMPLES), 0
        else:
            above = self.one
        steps = int(batches.steps[client])
        real = np.count_nonzero(batches.weight[client, :steps].cpu().numpy(), 1)
        for index, samples in zip(batches.index[client], real, strict=False):
            at = index[:samples]
            above.differentiate(own, take(batches.x, at), take(batches.y, at), stepping)
            for weights, on in ones:
                weights.mul_(on)
        return own


def _is_worth_keeping(below: Chain, params: Params, batches: Batches) -> bool:
    """Whether what these layers, which stand still, make of a client's samples is kept: if they compute anything, and
    it has room in memory."""
    if not any(isinstance(layer, Convolution | Dense) for layer in below.layers):
        return False
    width = below.logits(params, take(batches.x, batches.index[0, 0, :1])).numel()
    return width * batches.index.numel() <= _FEATURES


class Autograd:
    """Any module, differentiated by torch.

    Images are channels last where all convolutions are 5×5 or larger, which takes 5 to 25 % off a gradient on a
    CPU; in ResNet18 it changes nothing, and VGG11 takes a quarter longer (batches of 20 of 3×32×32).
    """

    def __init__(self, module: nn.Module) -> None:
        self._training, self._using = copy.deepcopy(module).train(), copy.deepcopy(module).eval()
        self._statistics = statistics(module)
        sizes = [min(part.kernel_size) for part in module.modules() if isinstance(part, nn.Conv2d)]
        self._last = min(sizes, default=0) >= 5

    def gradient(self, params: Params, x: Tensor, y: Tensor) -> Params:
        leaves = {n: tensor.detach().requires_grad_() for n, tensor in params.items() if n not in self._statistics}
        # the call moves these in place
        running = {name: tensor.clone() for name, tensor in params.items() if name in self._statistics}
        loss = F.cross_entropy(functional_call(self._training, {**leaves, **running}, (self._laid_out(x),)), y)
        found = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        found |= {name: params[name] - after for name, after in running.items()}
        return {name: found[name] for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = functional_call(self._using, params, (self._laid_out(x),))
        return out

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self._last and x.dim() == 4 else x


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
        at_once = max(_SAMPLES_STACKED // len(x), 1)
        with torch.no_grad():
            return torch.cat([self._logits(params, some) for some in torch.split(x, at_once, 1)], 1)

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)
