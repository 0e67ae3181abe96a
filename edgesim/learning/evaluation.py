"""How good each client's own model is on its own test part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgesim.learning import quadratic, tree
from edgesim.learning.batches import take
from edgesim.learning.kernels import Kernel
from edgesim.learning.placement import moved
from edgesim.learning.task import Task
from edgesim.learning.tree import Params

_WEIGHTS_AT_ONCE = 50_000_000  # of stacked models: 200 MB


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


def evaluate(task: Task, kernel: Kernel, model_of: Callable[[int], Params]) -> Scores:
    """Score every client's model where the task's data are; clients that share one parameter tree are scored in one
    pass."""
    if isinstance(task.model.module, quadratic.Quadratic):
        return _stationarity(task, model_of)
    clients = len(task.test.count)
    weights = sum(prod(shape) for shape in task.model.shapes.values())
    at_once = min(max(_WEIGHTS_AT_ONCE // weights, 4), 1024)
    right, loss, active = [], [], []
    for start in range(0, clients, at_once):
        models = [model_of(client) for client in range(start, min(start + at_once, clients))]
        shared = all(model is models[0] for model in models)
        score = _shared if shared else _own
        hit, each = score(task, kernel, models, start)
        first = task.test.offset[start : start + len(models)] - task.test.offset[start]
        right.append(np.add.reduceat(hit, first))
        loss.append(np.add.reduceat(each, first))
        dense = task.model.statistics
        active += [_active(models[0], dense)] * len(models) if shared else [_active(model, dense) for model in models]
    return Scores(
        np.concatenate(right), np.concatenate(loss), task.test.count, np.array(active), np.empty((clients, 0))
    )


def _stationarity(task: Task, model_of: Callable[[int], Params]) -> Scores:
    """Of quadratic problems: each client's own loss, and its gradient in what all share."""
    models = [model_of(client) for client in range(task.clients)]
    theta, w = (torch.stack([model[name] for model in models]) for name in ("theta", "w"))
    loss, gradient = quadratic.measure(task.x.cpu(), theta, w)
    return Scores(
        right=np.full(task.clients, np.nan),
        loss=loss,
        samples=task.test.count,
        active=np.array([_active(model, frozenset()) for model in models]),
        gradient=gradient,
    )


def _shared(
    task: Task, kernel: Kernel, models: Sequence[Params], first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Whether each test sample of these clients is right, and its loss, all under one model."""
    samples = task.test.index[task.test.offset[first] : task.test.offset[first + len(models)]]
    one = {name: tensor.unsqueeze(0) for name, tensor in models[0].items()}
    hit, each = _score(task, kernel, one, samples[None, :])
    return hit[0], each[0]


def _own(
    task: Task, kernel: Kernel, models: Sequence[Params], first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same, each client under its own model; test parts are padded to one length, then cut again."""
    offset = task.test.offset[first : first + len(models) + 1]
    count = np.diff(offset)
    place = np.arange(count.max())
    samples = task.test.index[offset[:-1, None] + np.minimum(place, count[:, None] - 1)]
    stacked = tree.stack([{"params": model} for model in models])["params"]
    hit, each = _score(task, kernel, stacked, samples)
    real = place < count[:, None]
    return hit[real], each[real]


def _score(
    task: Task, kernel: Kernel, params: Params, samples: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Right or not, and cross-entropy, of samples [client, sample] under params [client, *shape]."""
    at = torch.from_numpy(samples).to(task.x.device)
    logits, y = kernel.logits(moved(params, at.device), take(task.x, at)), take(task.y, at)
    each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    return (logits.argmax(2) == y).cpu().numpy().astype(np.int64), each.double().cpu().numpy()


def _active(model: Params, statistics: frozenset[str] = frozenset()) -> float:
    weights = [tensor for name, tensor in model.items() if name not in statistics]
    return sum(int(torch.count_nonzero(tensor)) for tensor in weights) / sum(tensor.numel() for tensor in weights)
