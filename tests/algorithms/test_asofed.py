"""ASO-Fed: what is sent the first and the second time, the server's share, and longer steps after long delays."""

import math

import pytest
import torch
from toys import arrivals, bn_task, context, federation, trained

from edgesim.algorithms.asofed import AsoFed
from edgesim.algorithms.contract import Client
from edgesim.algorithms.fedprox import FedProx
from edgesim.engine.learning import Received

HERE = context()


def test_the_first_update_is_a_proximal_one() -> None:
    """s' = h = 0: ζ = s, FedProx's update."""
    for own, prox in zip(trained(AsoFed(pull=0.1)), trained(FedProx(mu=0.1)), strict=True):
        for name, tensor in own.update["params"].items():
            torch.testing.assert_close(tensor, prox.update["params"][name])


def test_the_second_update_is_what_changed_and_the_balance() -> None:
    """ζ₂ = s₂ − s₁ + h₁ with h₁ = β·0 + (1 − β)·0 = 0, then h₂ = (1 − β) s₁."""
    world = federation(AsoFed(beta=0.25))
    world.dispatch(0, 2, 0)
    first = world._training.result(0)[1]
    world.arrive(0, 2)
    world.aggregate([Received(0, 2, 0, 1.0)])
    world.dispatch(1, 2, 1)
    second = world._training.result(1)[1]
    for name, last in first.state["last"].items():
        torch.testing.assert_close(-second.update["params"][name], second.state["last"][name] - last)
        torch.testing.assert_close(second.state["balance"][name], 0.75 * last)


def test_the_server_moves_by_the_share_of_all_data() -> None:
    """n_k/n of all clients' samples, not of those that arrived."""
    server = {"params": {"w": torch.tensor([1.0])}, "delay": {"sum": torch.zeros(8), "count": torch.zeros(8)}}
    whole = float(HERE.task.train.count.sum())
    moved = AsoFed().aggregate(HERE, server, arrivals({"params": {"w": [[whole]]}}, samples=[10], staleness=[3]))
    assert moved["params"]["w"].item() == pytest.approx(1 + 10)
    assert moved["delay"]["sum"][0] == 3


def test_long_delays_make_longer_steps() -> None:
    """d̄ = 20: r = log 20 = 2.996; up to e nothing changes."""
    algorithm = AsoFed()
    server = algorithm.init_server(HERE)
    server["delay"] = {"sum": torch.tensor([40.0, 2.0] + [0.0] * 6), "count": torch.tensor([2.0, 1.0] + [0.0] * 6)}
    rates = [
        float(algorithm.download(HERE, server, Client(client, 1, {})).state["step"]["rate"]) for client in range(3)
    ]
    assert rates == pytest.approx([math.log(20), 1.0, 1.0])


def test_feature_learning_reweights_the_first_layer_only() -> None:
    params = {name: torch.randn(shape) for name, shape in HERE.task.model.shapes.items()}
    after = AsoFed()._features(HERE, params)
    first = params["fc1.weight"]
    torch.testing.assert_close(after["fc1.weight"], torch.softmax(first.abs(), 1) * first)
    assert torch.equal(after["fc2.weight"], params["fc2.weight"])


def test_running_statistics_are_what_the_client_ends_with_whatever_it_sent_before() -> None:
    """ζ of a variance, what changed since the client's last update, may lead the server's below 0."""
    world = federation(AsoFed(), context(bn_task()), "loop")
    statistics = world._context.task.model.statistics
    for job in range(3):
        world.dispatch(job, 1, job)
        _, trained = world._training.result(job)
        for name in statistics:
            step = trained.state["last"][name]  # w_t − w_k
            assert step.any()
            assert torch.equal(trained.update["params"][name], -step)
        world.arrive(job, 1)
        world.aggregate([Received(job, 1, 0, 1.0)])
