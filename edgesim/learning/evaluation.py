"""How good each client's own model is on its own test part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from edgesim.learning import flat, quadratic, tree
from edgesim.learning.batches import take
from edgesim.learning.kernels import Kernel
from edgesim.learning.placement import moved
from edgesim.learning.task import Task
from edgesim.learning.tree import Params

_WEIGHTS_AT_ONCE = 50_000_000  # of stacked models: 200 MB
_SAMPLES_AT_ONCE = 2048  # under one model

Part: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Of some clients: number right, summed loss, share of weights that are not zero; each [client]."""


@dataclass(frozen=True)
class Scores:
    """Client by client, over its test samples: number right, summed cross-entropy, samples, and the share
    of its model's weights that are not zero; each [client].

    Of quadratic problems, which predict nothing, `right` is NaN and `gradient` [client, d] says the gradient of each
    client's objective in what all share; d is 0 elsewhere.
    """

    right: NDArray[np.int64] | NDArray[np.float64]
    loss: NDArray[np.float64]
    samples: NDArray[np.int64]
    active: NDArray[np.float64]
    gradient: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def accuracy(self) -> NDArray[np.float64]:
        return self.right / self.samples

    def summary(self) -> dict[str, float]:
        """Mean, standard deviation and worst tenth over clients; pooled accuracy and loss over samples."""
        return {
            **spread(self.accuracy),
            "accuracy_pooled": float(self.right.sum() / self.samples.sum()),
            "loss": float(self.loss.sum() / self.samples.sum()),
            "density": float(self.active.mean()),
            **({"gradient_norm": float(np.linalg.norm(self.gradient.mean(0)))} if self.gradient.shape[1] else {}),
        }

    def of(self, clients: NDArray[np.bool_]) -> "Scores":
        """Those of some clients, bool [client]."""
        gradient = self.gradient[clients] if len(self.gradient) else self.gradient
        return Scores(self.right[clients], self.loss[clients], self.samples[clients], self.active[clients], gradient)


def spread(accuracy: NDArray[np.float64]) -> dict[str, float]:
    """Mean, standard deviation and worst tenth of accuracies [client], at least one."""
    ordered = np.sort(accuracy)
    worst = ordered[: -(-len(ordered) // 10)]  # the worst ⌈n/10⌉: defined for fewer than ten
    return {
        "accuracy": float(ordered.mean()),
        "accuracy_std": float(ordered.std()),
        "accuracy_worst10": float(worst.mean()),
    }


def evaluate(task: Task, kernel: Kernel, models_of: Callable[[range], Sequence[Params]]) -> Scores:
    """Score every client's model where the task's data are; clients that share one parameter tree are scored in one
    pass."""
    if isinstance(task.model.module, quadratic.Quadratic):
        return _stationarity(task, models_of(range(task.clients)))
    clients = len(task.test.count)
    weights = sum(prod(shape) for shape in task.model.shapes.values())
    at_once = min(max(_WEIGHTS_AT_ONCE // weights, 4), 1024)
    parts = []
    for start in range(0, clients, at_once):
        models = models_of(range(start, min(start + at_once, clients)))
        shared = all(model is models[0] for model in models)
        offset = task.test.offset[start : start + len(models) + 1]
        parts.append(_shared(task, kernel, models[0], offset) if shared else _own(task, kernel, models, offset))
    right, loss, active = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Scores(right, loss, task.test.count, active, np.empty((clients, 0)))


def evaluate_shared(task: Task, kernel: Kernel, model: Params) -> Scores:
    """Score the one model that all clients use."""
    if isinstance(task.model.module, quadratic.Quadratic):
        return _stationarity(task, [model] * task.clients)
    right, loss, active = _shared(task, kernel, model, task.test.offset)
    return Scores(right, loss, task.test.count, active, np.empty((len(right), 0)))


def _stationarity(task: Task, models: Sequence[Params]) -> Scores:
    """Of quadratic problems: each client's own loss, and its gradient in what all share."""
    stacked = flat.stacked([{"params": model} for model in models])["params"]
    loss, gradient = quadratic.measure(task.x.cpu(), stacked["theta"], stacked["w"])
    return Scores(
        right=np.full(task.clients, np.nan),
        loss=loss,
        samples=task.test.count,
        active=_active(stacked),
        gradient=gradient,
    )


def _shared(task: Task, kernel: Kernel, model: Params, offset: NDArray[np.int64]) -> Part:
    """Of the clients whose test samples these stretches of the index are, all under one model."""
    one = {name: tensor.unsqueeze(0) for name, tensor in model.items()}
    samples = task.test.index[offset[0] : offset[-1]]
    cuts = range(0, len(samples), _SAMPLES_AT_ONCE)
    scored = [_score(task, kernel, one, samples[None, cut : cut + _SAMPLES_AT_ONCE]) for cut in cuts]
    hit, each = (np.concatenate(part, axis=1)[0] for part in zip(*scored, strict=True))
    return (*_by_client(hit, each, offset), np.repeat(_active(one, task.model.statistics), len(offset) - 1))


def _own(task: Task, kernel: Kernel, models: Sequence[Params], offset: NDArray[np.int64]) -> Part:
    """The same, each client under its own model; test parts are padded to one length, then cut again."""
    count = np.diff(offset)
    place = np.arange(count.max())
    samples = task.test.index[offset[:-1, None] + np.minimum(place, count[:, None] - 1)]
    stacked = flat.stacked([{"params": model} for model in models])["params"]
    hit, each = _score(task, kernel, stacked, samples)
    real = place < count[:, None]
    return (*_by_client(hit[real], each[real], offset), _active(stacked, task.model.statistics))


def _by_client(
    hit: NDArray[np.int64], each: NDArray[np.float64], offset: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    first = offset[:-1] - offset[0]
    return np.add.reduceat(hit, first), np.add.reduceat(each, first)


def _score(
    task: Task, kernel: Kernel, params: Params, samples: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Right or not, and cross-entropy, of samples [client, sample] under params [client, *shape]."""
    at = torch.from_numpy(samples).to(task.x.device)
    logits, y = kernel.logits(moved(params, at.device), take(task.x, at)), take(task.y, at)
    # of ten classes a quarter of the time that torch's own cross-entropy takes
    each = torch.logsumexp(logits, 2) - logits.gather(2, y.unsqueeze(2)).squeeze(2)
    return (logits.argmax(2) == y).cpu().numpy().astype(np.int64), each.double().cpu().numpy()


def _active(stacked: Params, statistics: frozenset[str] = frozenset()) -> NDArray[np.float64]:
    """The share of each model's weights that are not zero [client]."""
    weights = [tree.vectors(tensor) for name, tensor in stacked.items() if name not in statistics]
    ones = torch.stack([torch.count_nonzero(tensor, 1) for tensor in weights]).sum(0)
    shares: NDArray[np.float64] = ones.cpu().numpy() / sum(tensor.shape[1] for tensor in weights)
    return shares
