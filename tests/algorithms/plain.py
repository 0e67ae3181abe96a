"""What it takes to write an algorithm out plainly: one client, one mini-batch and one weight at a time, in double
precision. Of edgesim it takes the mini-batches, the first models and masks, and the random numbers; the rest is here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toys import context, federation

from edgesim.algorithms.contract import Algorithm, Context
from edgesim.engine.learning import Received
from edgesim.execution.federation import Federation
from edgesim.learning import batches
from edgesim.learning.cohort import Cohort
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.streams import uniforms

Model: TypeAlias = dict[str, Tensor]
MiniBatch: TypeAlias = tuple[Tensor, Tensor]
CLIENTS = 6
HALF_DECAYED = Training(lr=0.1, lr_decay=0.5, batch_size=8, epochs=2)


@cache
def world() -> Task:
    """Six clients of unequal sizes, and a network 7-9-6-4: so few weights that none are nearly as large as others."""
    return make_task(
        dataset="synthetic", dataset_params={"samples": 240, "features": 7, "classes": 4}, partition="dirichlet",
        partition_params={"alpha": 0.5}, clients=CLIENTS, model="mlp", model_params={"hidden": [9, 6]}, seed=0,
    )  # fmt: skip


def here(training: Training = HALF_DECAYED, horizon: int = 4) -> Context:
    return context(world(), training, horizon)


def rounds(
    algorithm: Algorithm, where: Context, cohorts: Sequence[Sequence[int]]
) -> Iterator[tuple[Federation, list[tuple[int, int]]]]:
    """Synchronous rounds of these clients in edgesim: before each, and after the last, the state of affairs; and the
    jobs, with their clients, of the round that comes."""
    made = federation(algorithm, where)
    for turn, clients in enumerate(cohorts):
        jobs = [(10 * turn + place, client) for place, client in enumerate(clients)]
        yield made, jobs
        for job, client in jobs:
            made.dispatch(job, client, turn)
        for job, client in jobs:
            made.arrive(job, client)
        made.aggregate([Received(job, client, 0, 1.0) for job, client in jobs])
    yield made, []


def doubled(model: Mapping[str, Tensor]) -> Model:
    return {name: tensor.double() for name, tensor in model.items()}


def under(mask: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Model:
    return {name: tensor * mask[name] if name in mask else tensor for name, tensor in model.items()}


def alone(client: int, job: int) -> Cohort:
    """A cohort of one."""
    return Cohort(clients=np.array([client]), jobs=np.array([job]), versions=np.array([0]))


def mini_batches(
    where: Context, client: int, job: int, purpose: str = "batches", *, epochs: int = 1, steps: int | None = None
) -> list[MiniBatch]:
    """Those that a job's training draws."""
    drawn = batches.draw(
        where.task.x, where.task.y, where.task.train, alone(client, job), seed=where.seed,
        purpose=purpose, batch_size=where.training.batch_size, epochs=epochs, steps=steps,
    )  # fmt: skip
    made = []
    for step in range(int(drawn.steps[0])):
        at = drawn.index[0, step][drawn.weight[0, step] > 0]
        made.append((where.task.x[at].double(), where.task.y[at]))
    return made


def chances(where: Context, client: int, job: int, purpose: str, count: int) -> Tensor:
    """Numbers that a job's training draws, [count]."""
    keys = alone(client, job).keys(where.seed, f"learner/{purpose}")
    return torch.from_numpy(uniforms(keys, count)[0].astype(np.float32))


def samples(where: Context, client: int) -> MiniBatch:
    at = torch.from_numpy(where.task.train.of(client))
    return where.task.x[at].double(), where.task.y[at]


def logits(model: Mapping[str, Tensor], x: Tensor) -> Tensor:
    for layer in ("fc1", "fc2"):
        x = torch.relu(x @ model[f"{layer}.weight"].T + model[f"{layer}.bias"])
    return x @ model["fc3.weight"].T + model["fc3.bias"]


def gradient(model: Model, batch: MiniBatch) -> Model:
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in model.items()}
    loss = F.cross_entropy(logits(leaves, batch[0]), batch[1])
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def stepped(model: Model, batch: MiniBatch, lr: float, only: Iterable[str] | None = None) -> Model:
    """One step of SGD, of the tensors `only`."""
    slope = gradient(model, batch)
    for name in set(model).difference(model if only is None else only):
        slope[name] = torch.zeros_like(slope[name])
    return {name: tensor - lr * slope[name] for name, tensor in model.items()}


def without_smallest(mask: Tensor, weight: Tensor, share: float) -> Tensor:
    """The mask without this share of its weights, rounded up: those of smallest |w|."""
    on = sorted(torch.nonzero(mask.flatten()).flatten().tolist(), key=lambda i: abs(float(weight.flatten()[i])))
    left = mask.clone().flatten()
    left[on[: math.ceil(share * len(on) - 1e-9)]] = False
    return left.view(mask.shape)


def with_largest(mask: Tensor, weight: Tensor, count: int) -> Tensor:
    """The mask with `count` more weights, those of largest |w|."""
    off = sorted(torch.nonzero(~mask.flatten()).flatten().tolist(), key=lambda i: -abs(float(weight.flatten()[i])))
    more = mask.clone().flatten()
    more[off[:count]] = True
    return more.view(mask.shape)


def assert_in_use(made: Federation, where: Context, models: Sequence[Model]) -> None:
    """Each client is tested with its own of these models on its own test part: the mean accuracy over clients, and the
    mean loss over samples."""
    shares, losses = [], []
    for client, model in enumerate(models):
        at = torch.from_numpy(where.task.test.of(client))
        found, y = logits(model, where.task.x[at].double()), where.task.y[at]
        shares.append((found.argmax(1) == y).double().mean())
        losses.append(F.cross_entropy(found, y, reduction="none"))
    scores = made.evaluate()
    assert scores["accuracy"] == pytest.approx(float(torch.stack(shares).mean()))
    assert scores["loss"] == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)


def assert_close(found: Mapping[str, Tensor], wanted: Model) -> None:
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name].double(), tensor, rtol=1e-4, atol=1e-5)
