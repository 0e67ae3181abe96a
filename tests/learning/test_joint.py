"""Clients of several runs in one stack learn, bit for bit, what they learn without the other runs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.algorithms.contract import Algorithm
from edgesim.learning.joint import Joint
from edgesim.learning.kernels import Kernel, kernel
from edgesim.learning.local import Order, Result, local_update, squads
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params

CLIENTS = 12


@lru_cache
def task(seed: int, features: int, hidden: tuple[int, ...], dataset: str = "synthetic") -> Task:
    """Clients of unlike sizes, and other ones for each seed."""
    params = {"samples": 300, "features": features, "classes": 5} if dataset == "synthetic" else {}
    return make_task(
        dataset=dataset, dataset_params=params, partition="dirichlet", partition_params={"alpha": 0.3},
        clients=CLIENTS, model="mlp", model_params={"hidden": list(hidden)}, seed=seed,
    )  # fmt: skip


def made(task: Task) -> tuple[Task, Kernel]:
    """One whose data the test may move."""
    return replace(task, x=task.x.clone(), y=task.y.clone()), kernel(task.model.module, "stacked")


def orders(task: Task, seed: int, clients: Sequence[int]) -> list[Order]:
    """Versions, and so models and rates, that differ."""
    models = [{"params": task.model.init(seed + version)} for version in range(3)]
    return [Order(100 * seed + i, client, i % 3, models[i % 3], {}) for i, client in enumerate(clients)]


def bits(result: Result) -> dict[str, bytes]:
    params: Params = result.update["params"]
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in params.items()}


companies = st.lists(
    st.lists(st.integers(0, CLIENTS - 1), min_size=1, max_size=CLIENTS, unique=True), min_size=2, max_size=5
)


@settings(max_examples=60)
@given(
    companies=companies,
    features=st.sampled_from([3, 16, 33]),
    hidden=st.sampled_from([(), (7,), (24, 10)]),
    batch_size=st.integers(1, 12),
    epochs=st.integers(1, 3),
    lr_decay=st.sampled_from([1.0, 0.97]),
)
def test_company_changes_no_bit(
    companies: list[list[int]], features: int, hidden: tuple[int, ...], batch_size: int, epochs: int,
    lr_decay: float,
) -> None:  # fmt: skip
    training = Training(lr=0.1, lr_decay=lr_decay, batch_size=batch_size, epochs=epochs)
    tasks = [task(seed, features, hidden) for seed in range(len(companies))]
    placed = [orders(one, seed, company) for seed, (one, company) in enumerate(zip(tasks, companies, strict=True))]
    alone = [
        [bits(result) for result in local_update(Algorithm(), *made(one)[:1], training, made(one)[1], seed, each)]
        for seed, (one, each) in enumerate(zip(tasks, placed, strict=True))
    ]
    for width in {min(batch_size, one.train.most) for one in tasks}:
        runs = [run for run, one in enumerate(tasks) if min(batch_size, one.train.most) == width]
        moved = [made(tasks[run])[0] for run in runs]
        parts = [
            (i, squads(one, training, placed[run])[0]) for i, (run, one) in enumerate(zip(runs, moved, strict=True))
        ]
        together = Joint.of(moved, runs).update(Algorithm(), kernel(tasks[0].model.module, "stacked"), parts)
        for run, (_, squad), results in zip(runs, parts, together, strict=True):
            assert [bits(result) for result in results] == [alone[run][place] for place in squad.places]


def test_data_are_there_once() -> None:
    """Real data are the same for all seeds; made ones are joined, and the tasks see their part."""
    real = [made(task(seed, 0, (4,), "digits"))[0] for seed in range(3)]
    joint = Joint.of(real, range(3))
    assert {one.x.data_ptr() for one in real} == {joint.task.x.data_ptr()}
    assert len(joint.task.y) == len(real[0].y)
    own = [made(task(seed, 3, (4,)))[0] for seed in range(3)]
    before = [one.x.clone() for one in own]
    joint = Joint.of(own, range(3))
    assert [one.x.untyped_storage().data_ptr() for one in own] == [joint.task.x.untyped_storage().data_ptr()] * 3
    assert all(torch.equal(one.x, x) for one, x in zip(own, before, strict=True))


def test_clients_keep_their_samples() -> None:
    own = [made(task(seed, 3, (4,)))[0] for seed in range(2)]
    expected = [(one.x[one.train.of(client)], one.y[one.test.of(client)]) for one in own for client in range(CLIENTS)]
    joint = Joint.of(own, range(2)).task
    assert joint.clients == 2 * CLIENTS
    for client, (x, y) in enumerate(expected):
        assert torch.equal(joint.x[joint.train.of(client)], x)
        assert torch.equal(joint.y[joint.test.of(client)], y)


def test_what_one_run_keeps_does_not_hold_what_others_trained() -> None:
    """A checkpoint writes whole storages."""
    own = [made(task(seed, 3, (4,)))[0] for seed in range(2)]
    training = Training(lr=0.1, batch_size=2)
    placed = [squads(one, training, orders(one, seed, [0, 1, 2]))[0] for seed, one in enumerate(own)]
    _, network = made(own[0])
    first, second = Joint.of(own, range(2)).update(Algorithm(), network, list(enumerate(placed)))
    for results in (first, second):
        weight = results[0].update["params"]["fc1.weight"]
        assert weight.untyped_storage().nbytes() == 3 * weight.numel() * np.dtype(np.float32).itemsize
