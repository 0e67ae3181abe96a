"""FedFomo against its specification (arXiv:2012.08565)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from toys import TRAINING, context, federation, play, task, trained

from edgesim.algorithms.contract import Client, Context
from edgesim.algorithms.costs import local_work, phase_work
from edgesim.algorithms.fedfomo import FedFomo
from edgesim.algorithms.local_only import LocalOnly
from edgesim.engine.learning import Received
from edgesim.execution.federation import Federation
from edgesim.learning import tree
from edgesim.learning.shards import Shards, held_out
from edgesim.learning.task import Task
from edgesim.learning.tree import Params, State

HERE = context(task(8, alpha=0.3))


@cache
def clusters() -> Task:
    """Eight clients of equal data; for the odd ones every label is another one."""
    world = task(8)
    y = world.y.clone()
    for client in range(1, 8, 2):
        for part in (world.train, world.test):
            own = torch.from_numpy(part.of(client))
            y[own] = (y[own] + 5) % 10
    return replace(world, y=y)


def loss_on_held_out(where: Context, share: float, client: int) -> Callable[[Params], Tensor]:
    """By torch alone."""
    held = torch.from_numpy(where.task.train.without_held_out(share, where.seed)[1].of(client))
    x, y = where.task.x[held], where.task.y[held]
    return lambda params: F.cross_entropy(functional_call(where.task.model.module, params, (x,)), y)


def after_a_round(algorithm: FedFomo, where: Context = HERE) -> Federation:
    world = federation(algorithm, where)
    play(world, 1)
    return world


def test_weights_are_gains_on_held_out_data_over_distances() -> None:
    algorithm = FedFomo(others=3)
    world = after_a_round(algorithm)
    world.dispatch(100, 2, 1)
    order, result = world._training.result(100)
    own, measure = order.payload["params"], loss_on_held_out(HERE, 0.2, 2)
    for j in range(3):
        other = order.payload[f"other/{j}"]
        distance = sum(float((other[name] - own[name]).square().sum()) for name in own) ** 0.5
        wanted = (measure(own) - measure(other)) / distance
        torch.testing.assert_close(result.update["weights"]["w"][j], wanted, rtol=1e-3, atol=1e-5)


def test_the_start_is_the_normalised_mixture_of_those_that_help() -> None:
    """Training without a step: what changes is the mixture alone, Σ ŵ θ_n; ports and paper write it apart."""
    idle = context(task(8, alpha=2.0), replace(TRAINING, lr=0.0))
    algorithm = FedFomo(others=4)
    world = federation(algorithm, context(task(8, alpha=2.0)))
    play(world, 2)
    still = federation(algorithm, idle)
    still._server = world._server
    helped = 0
    for job in range(8):
        still.dispatch(job, job, 2)
        order, result = still._training.result(job)
        weight = result.update["weights"]["w"].clamp_min(0)
        start = tree.add(order.payload["params"], result.update["params"])
        if weight.sum() == 0:
            assert not any(tensor.any() for tensor in result.update["params"].values())
            continue
        helped += 1
        share = weight / weight.sum()
        for name, tensor in start.items():
            mixed = sum(float(share[j]) * order.payload[f"other/{j}"][name] for j in range(4))
            torch.testing.assert_close(tensor, mixed, rtol=1e-4, atol=1e-5)
    assert helped


def test_clients_give_weight_to_their_own_cluster_only() -> None:
    where = context(clusters())
    world = federation(FedFomo(others=7), where)
    play(world, 3)
    affinity = world._server["known"]["P"] - torch.eye(8)
    own = torch.tensor([[(i - j) % 2 == 0 and i != j for j in range(8)] for i in range(8)])
    foreign = torch.tensor([[(i - j) % 2 == 1 for j in range(8)] for i in range(8)])
    assert (affinity[own] > 0).sum() > 8  # not of all: some do no better than what a client has
    assert (affinity[foreign] < 0).all()
    few = replace(FedFomo(), others=3)
    for client in range(8):
        chosen = few._chosen(where, world._server, client)
        assert sorted(chosen) == [n for n in range(client % 2, 8, 2) if n != client]


def test_what_helped_is_added_and_the_next_download_goes_by_it() -> None:
    algorithm, world = FedFomo(others=2), after_a_round(FedFomo(others=2))
    known = {**world._server["known"], "P": torch.zeros(8, 8)}
    known["P"][0, 3], known["P"][0, 6], known["P"][0, 0], known["P"][0, 5] = 2.0, 1.0, 9.0, -1.0
    state: State = {**world._server, "known": known}
    assert algorithm._chosen(HERE, state, 0) == [3, 6]  # never itself: it has its own model


def test_only_models_that_there_are_travel() -> None:
    algorithm, world = FedFomo(others=5), federation(FedFomo(others=5))
    first = world.dispatch(0, 0, 0)
    assert first.download_bytes == 0
    assert first.upload_bytes == HERE.dense_bytes
    world.dispatch(1, 1, 0)
    world.dispatch(2, 2, 0)
    world.aggregate([Received(job, job, 0, 1.0) for job in range(3)])
    second = world.dispatch(3, 0, 1)
    assert second.download_bytes == 2 * HERE.dense_bytes  # those of 1 and 2
    assert second.upload_bytes == world.upload_bytes(3) == HERE.dense_bytes + 1 + 2 * 4  # and two weights
    third = world.dispatch(4, 2, 1)  # those of 0 and 1
    assert (third.download_bytes, third.upload_bytes) == (2 * HERE.dense_bytes, HERE.dense_bytes + 1 + 2 * 4)
    play(world, 1)
    assert world.dispatch(50, 0, 2).download_bytes == 5 * HERE.dense_bytes
    assert algorithm.client_model(world._server, Client(7, 1, {})) is world._server["model/7"]


def test_weighing_costs_forward_passes_on_what_is_held_out() -> None:
    algorithm, world = FedFomo(others=3), after_a_round(FedFomo(others=3))
    samples = int(HERE.task.train.count[0])
    held = held_out(samples, 0.2)
    work = world.dispatch(100, 0, 1).workload
    forward = float(HERE.profile.forward_flops.sum())
    training = HERE.profile.total_flops * (samples - held) * TRAINING.epochs
    assert work.flops == training + (1 + 3) * held * forward
    assert algorithm.held_out == 0.2
    payload = algorithm.download(HERE, world._server, Client(0, samples, {}))
    few, many = (algorithm.workload(HERE, payload, Client(0, n, {})).memory_bytes for n in (100, 10_000))
    assert few == many  # a batch at a time


def test_the_others_models_are_in_memory_while_they_are_weighed() -> None:
    """All seven, client 0's among them; weighing one after the other takes what a forward pass takes besides."""
    world = after_a_round(FedFomo(others=7))
    samples = int(HERE.task.train.count[1])
    work = world.dispatch(100, 1, 1).workload
    weighing = phase_work(HERE, held_out(samples, 0.2), (), epochs=1)
    assert work.memory_bytes == weighing.memory_bytes + 7 * 4 * (1024 + 16 + 160 + 10)
    assert work.memory_bytes > local_work(HERE, samples).memory_bytes


def test_a_model_that_has_diverged_has_no_part_in_the_mixture() -> None:
    world = after_a_round(FedFomo(others=7))
    lost = {name: torch.full_like(tensor, torch.nan) for name, tensor in world._server["model/3"].items()}
    world._server = {**world._server, "model/3": lost}
    world.dispatch(100, 2, 1)
    order, result = world._training.result(100)
    weights = dict(zip(order.payload["others"]["id"].tolist(), result.update["weights"]["w"].tolist(), strict=True))
    assert weights.pop(3) == 0.0
    assert all(weights.values())
    assert all(tensor.isfinite().all() for tensor in result.update["params"].values())


def test_held_out_samples_are_not_trained_on() -> None:
    """Whatever the labels of the held-out samples are, the first job gives the same model."""
    where = context(task(8))
    held = where.task.train.without_held_out(0.2, where.seed)[1]
    y = where.task.y.clone()
    y[torch.from_numpy(held.of(1))] = 0
    changed = context(replace(where.task, y=y))
    a, b = (trained(FedFomo(), [1], world)[0].update["params"] for world in (where, changed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_client_of_one_sample_trains_and_weighs_on_it() -> None:
    world = task(8)
    parts = [world.train.of(client)[: 1 if client == 0 else None] for client in range(8)]
    where = context(replace(world, train=Shards.of_parts(parts)))
    run = after_a_round(FedFomo(), where)
    assigned = run.dispatch(100, 0, 1)
    assert np.isfinite(assigned.workload.flops)
    assert run._training.result(100)[1].update["weights"]["w"].isfinite().all()


def test_mixing_beats_training_alone_where_there_are_clusters() -> None:
    where = context(clusters())
    mixing, alone = federation(FedFomo(others=3), where), federation(LocalOnly(), where)
    play(mixing, 10)
    play(alone, 10)
    assert mixing.evaluate()["accuracy"] > alone.evaluate()["accuracy"]


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    results = []
    for backend in ("stacked", "loop"):
        world = federation(FedFomo(), HERE, backend)
        play(world, 1)
        for client in range(4):
            world.dispatch(100 + client, client, 1)
        results.append([world._training.result(100 + client)[1].update for client in range(4)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a["params"], b["params"], rtol=5e-3, atol=5e-5)
        torch.testing.assert_close(a["weights"]["w"], b["weights"]["w"], rtol=1e-2, atol=1e-4)
