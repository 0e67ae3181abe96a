"""Local training: what a client does with its batches between download and upload."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.learning import batches as batching
from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches
from edgesim.learning.kernels import Kernel
from edgesim.learning.tree import Params, State

if TYPE_CHECKING:
    from edgesim.learning.task import Task


@dataclass(frozen=True, kw_only=True)
class Training:
    """The local solver, the same for every algorithm: mini-batch SGD.

    Attributes: lr and its decay per server version (lr · lr_decay^version); momentum; weight_decay;
    batch_size; epochs; clip, the largest norm of a gradient, or None.
    """

    lr: float
    lr_decay: float = 1.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int
    epochs: int = 1
    clip: float | None = None


@dataclass(frozen=True)
class Learner:
    """What an algorithm's client side may use: gradients, the local solver, and where it stands.

    Attributes: draw_probe, draws one batch a client; version, of the server [client], that each was
    dispatched with; lr, a number or [client].
    """

    kernel: Kernel
    training: Training
    batches: Batches
    draw_probe: Callable[[], Batches]
    version: Tensor
    lr: float | Tensor

    def gradient(self, params: Params, batch: Batch) -> Params:
        """Gradient of each client's mean loss over its batch: [client, *shape]."""
        return self.kernel.gradient(params, batch)

    def probe(self) -> Batch:
        """One random mini-batch a client, apart from those it trains on."""
        return self.draw_probe().at(0, len(self.version))

    def descend(self, local: State, gradient: Params) -> State:
        """One SGD step of `local["params"]`; a momentum buffer lives in `local["momentum"]`.

        v ← μ v + (clip(g) + λ w);  w ← w − lr v
        """
        hyper, params = self.training, local["params"]
        if hyper.clip is not None:
            norm = tree.squared_norm(gradient).sqrt()
            gradient = tree.scale((hyper.clip / norm.clamp_min(1e-12)).clamp_max(1.0), gradient)
        if hyper.weight_decay:
            gradient = tree.apply(lambda g, w: g + hyper.weight_decay * w, gradient, params)
        state = dict(local)
        if hyper.momentum:
            if "momentum" in local:
                gradient = tree.apply(lambda v, g: hyper.momentum * v + g, local["momentum"], gradient)
            state["momentum"] = gradient
        state["params"] = self._step(params, gradient)
        return state

    def _step(self, params: Params, gradient: Params) -> Params:
        lr = self.lr
        if isinstance(lr, float):
            return tree.apply(lambda w, g: torch.sub(w, g, alpha=lr), params, gradient)
        return tree.subtract(params, tree.scale(lr, gradient))

    def first(self, clients: int) -> "Learner":
        """The same for the first `clients` clients of the cohort."""
        lr = self.lr[:clients] if isinstance(self.lr, Tensor) else self.lr
        return replace(self, version=self.version[:clients], lr=lr)


def learner(
    task: "Task",
    training: Training,
    kernel: Kernel,
    *,
    seed: int,
    clients: NDArray[np.int64],
    jobs: NDArray[np.int64],
    versions: NDArray[np.int64],
) -> Learner:
    """The learner of a cohort; its batches depend on (seed, client, job), not on the company."""

    def draw(purpose: str, epochs: int, steps: int | None) -> Batches:
        return batching.draw(
            task.x, task.y, task.train, clients, jobs,
            seed=seed, purpose=purpose, batch_size=training.batch_size, epochs=epochs, steps=steps,
        )  # fmt: skip

    version = torch.from_numpy(versions)
    lr: float | Tensor = training.lr
    if training.lr_decay != 1.0:
        lr = (training.lr * training.lr_decay ** version.double()).float()
    return Learner(kernel, training, draw("batches", training.epochs, None), partial(draw, "probe", 1, 1), version, lr)
