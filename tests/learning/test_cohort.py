"""A cohort trains each client exactly as if it were alone: every kernel, and a plain torch loop as oracle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesim.algorithms.contract import Algorithm
from edgesim.learning import batches as batching
from edgesim.learning.chain import chain
from edgesim.learning.cohort import Cohort
from edgesim.learning.kernels import Autograd, Kernel, Loop, Vmap
from edgesim.learning.layered import Layered, dense_layers
from edgesim.learning.local import Order, cohort_of, local_update
from edgesim.learning.models import make_model
from edgesim.learning.shards import Shards
from edgesim.learning.task import Task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params

SIZES = [3, 17, 1, 10, 25]  # of unequal clients: with batches of 8 they make 1, 3, 1, 2 and 4 steps an epoch


def task(model: str) -> Task:
    rng = np.random.default_rng(0)
    total = sum(SIZES)
    x = torch.from_numpy(rng.normal(size=(total, 1, 8, 8)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 10, total))
    offset = np.cumsum([0, *SIZES])
    shards = Shards(index=rng.permutation(total), offset=offset)
    network = make_model(model, {}, input_shape=(1, 8, 8), classes=10, folder=Path())
    return Task(x=x, y=y, classes=10, train=shards, test=shards, model=network)


def orders(world: Task, clients: list[int]) -> list[Order]:
    start = {"params": world.model.init(0)}
    return [Order(100 + client, client, 0, start, {}) for client in clients]


def train(world: Task, kernel: Kernel, training: Training, clients: list[int]) -> dict[int, Params]:
    trained = local_update(Algorithm(), world, training, kernel, 7, orders(world, clients))
    return {client: result.update["params"] for client, result in zip(clients, trained, strict=True)}


def cohort(job: int, *clients: int) -> Cohort:
    """Clients that all do this job."""
    return cohort_of([Order(job, client, 0, {}, {}) for client in clients])


def by_hand(world: Task, training: Training, client: int) -> Params:
    """torch's optimiser on the module, over the same batches: what anybody would write for one client."""
    module = world.model.build()
    start = world.model.init(0)
    module.load_state_dict(start)
    rest: dict[str, Any] = {"momentum": training.momentum}
    if training.optimizer != "sgd":
        rest = {"betas": (training.beta1, training.beta2), "eps": training.epsilon}
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer]
    optimizer = kind(module.parameters(), lr=training.lr, weight_decay=training.weight_decay, **rest)
    drawn = batching.draw(
        world.x, world.y, world.train, cohort(100 + client, client),
        seed=7, purpose="batches", batch_size=training.batch_size, epochs=training.epochs,
    )  # fmt: skip
    for step in range(int(drawn.steps[0])):
        batch = drawn.at(step, 1)
        real = batch.weight[0] > 0
        optimizer.zero_grad()
        F.cross_entropy(module(batch.x[0][real]), batch.y[0][real]).backward()  # type: ignore[no-untyped-call]
        if training.clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), training.clip)
        optimizer.step()
    return {name: tensor.detach() - start[name] for name, tensor in module.named_parameters()}


PLAIN = Training(lr=0.1, batch_size=8, epochs=2)
RICH = Training(lr=0.1, batch_size=8, epochs=2, momentum=0.9, weight_decay=1e-2, clip=1.0)
# an ε that rounding of small gradients does not matter beside
ADAM = Training(
    lr=0.01, batch_size=8, epochs=2, optimizer="adam", beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.1
)
ADAMW = replace(ADAM, optimizer="adamw", clip=0.5)


def autograd(module: nn.Module) -> Kernel:
    return Loop(Autograd(module))


def chained(module: nn.Module) -> Kernel:
    one = chain(module)
    assert one is not None
    return Loop(one)


def layered(module: nn.Module) -> Kernel:
    layers = dense_layers(module)
    assert layers is not None
    return Layered(layers)


@pytest.mark.parametrize(
    "training", [PLAIN, RICH, ADAM, ADAMW], ids=["plain", "momentum, decay, clip", "adam", "adamw, clip"]
)
@pytest.mark.parametrize(
    ("model", "kernel"),
    [
        ("mlp", autograd), ("mlp", Vmap), ("mlp", layered), ("mlp", chained),
        ("cnn", autograd), ("cnn", Vmap), ("cnn", chained),
    ],
)  # fmt: skip
def test_a_cohort_of_unequal_clients_trains_as_torch_does_one_by_one(
    model: str, kernel: Callable[[nn.Module], Kernel], training: Training
) -> None:
    world = task(model)
    together = train(world, kernel(world.model.module), training, [0, 1, 2, 3, 4])
    for client in range(len(SIZES)):
        expected = by_hand(world, training, client)
        for name, tensor in expected.items():
            torch.testing.assert_close(together[client][name], tensor, rtol=1e-4, atol=1e-6)


def test_company_and_order_do_not_change_what_a_client_learns() -> None:
    world = task("mlp")
    kernel = layered(world.model.module)
    alone = train(world, kernel, PLAIN, [1])
    company = train(world, kernel, PLAIN, [4, 1, 0])
    for name, tensor in alone[1].items():
        torch.testing.assert_close(company[1][name], tensor, rtol=1e-5, atol=1e-7)


def test_learning_rate_decays_with_the_version_each_client_was_sent() -> None:
    """One step from the same start: versions 0 and 2 at decay 0.5 move 1 : 0.25."""
    world = task("mlp")
    training = Training(lr=0.1, lr_decay=0.5, batch_size=8, epochs=1)
    start = {"params": world.model.init(0)}
    placed = [Order(5, 0, 0, start, {}), Order(5, 0, 2, start, {})]
    first, third = local_update(Algorithm(), world, training, layered(world.model.module), 7, placed)
    for name, tensor in first.update["params"].items():
        torch.testing.assert_close(third.update["params"][name], 0.25 * tensor, rtol=1e-4, atol=1e-7)


def test_batches_cover_every_sample_once_an_epoch_in_a_new_order() -> None:
    world = task("mlp")
    drawn = batching.draw(
        world.x, world.y, world.train, cohort(0, *range(5)),
        seed=0, purpose="batches", batch_size=8, epochs=2,
    )  # fmt: skip
    assert drawn.steps.tolist() == [2, 6, 2, 4, 8]
    for client, size in enumerate(SIZES):
        real = drawn.weight[client] > 0
        index = drawn.index[client][real].numpy()
        assert sorted(index[:size]) == sorted(index[size:]) == sorted(world.train.of(client))
        torch.testing.assert_close(
            drawn.weight[client].sum(1)[: drawn.steps[client]], torch.ones(int(drawn.steps[client]))
        )
    first, second = np.split(drawn.index[4][drawn.weight[4] > 0].numpy(), 2)
    assert first.tolist() != second.tolist()


def test_another_job_of_the_same_client_draws_other_batches() -> None:
    world = task("mlp")

    def index(job: int) -> list[int]:
        drawn = batching.draw(
            world.x, world.y, world.train, cohort(job, 4),
            seed=0, purpose="batches", batch_size=25, epochs=1,
        )  # fmt: skip
        return list(drawn.index[0, 0].numpy())

    assert index(1) != index(2)
    assert index(1) == index(1)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 2), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 2)),
        nn.Sequential(nn.Flatten(2), nn.Linear(4, 2)),
        nn.Linear(4, 2),
    ],
)
def test_other_models_are_left_to_vmap(module: nn.Module) -> None:
    assert dense_layers(module) is None


def test_layers_without_activation_between_them_pass_the_gradient_on() -> None:
    """Linear–Linear–ReLU–Linear without biases: the hand-written backward equals autograd's."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    params = {name: tensor.detach().unsqueeze(0) for name, tensor in module.named_parameters()}
    batch = batching.Batch(torch.randn(1, 7, 6), torch.randint(0, 3, (1, 7)), torch.full((1, 7), 1 / 7))
    for name, tensor in autograd(module).gradient(params, batch).items():
        torch.testing.assert_close(layered(module).gradient(params, batch)[name], tensor, rtol=1e-4, atol=1e-7)
