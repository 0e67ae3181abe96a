"""L2GD against its two steps (arXiv:2002.05516): the coin, the pull to the mean, the local steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import arrivals, context, federation, play, task

from edgesim.algorithms.contract import Client, Context, Payload
from edgesim.algorithms.l2gd import L2GD
from edgesim.errors import ScenarioError
from edgesim.execution.backend import BackendName
from edgesim.learning.training import Training

ALGORITHM = L2GD(p=0.2, lam=0.5)


def steps(where: Context, round_number: int, algorithm: L2GD = ALGORITHM) -> int:
    server = {**algorithm.init_server(where), "l2gd": {"round": torch.tensor(round_number)}}
    payload = algorithm.download(where, server, Client(0, 20, algorithm.init_client(where, 0)))
    return int(payload.state["l2gd"]["steps"])


def test_the_steps_between_two_pulls_are_geometric() -> None:
    """P(N = 0) = p = 0.2, mean (1 − p)/p = 4; the same for all clients of a round, another in the next."""
    where = context()
    drawn = np.array([steps(where, number) for number in range(2000)])
    assert abs((drawn == 0).mean() - 0.2) < 0.03
    assert abs(drawn.mean() - 4) < 0.4
    assert steps(replace(where, seed=1), 0) != steps(where, 0) or steps(replace(where, seed=1), 1) != steps(where, 1)


def test_a_pull_moves_to_the_mean_by_its_share() -> None:
    """lr·λ·(1 − p)/p = 0.1 · 0.5 · 4 = 0.2; no local steps: x ← x − 0.2 (x − x̄), sent as x − x̄."""
    world = federation(ALGORITHM)
    world.dispatch(0, 0, 0)
    order, _ = world._training.result(0)
    mean = order.payload["params"]
    own = {name: tensor + 1.0 for name, tensor in mean.items()}
    payload = {"params": mean, "l2gd": {"steps": torch.tensor(0)}}
    order = order._replace(payload=payload, state={"personal": own})
    update, state = world._backend.train([order])[0]
    for name, tensor in mean.items():
        torch.testing.assert_close(state["personal"][name], tensor + 0.8)
        torch.testing.assert_close(update["params"][name], torch.full_like(tensor, 0.8))


def test_the_server_holds_the_mean_of_the_models_and_counts_its_rounds() -> None:
    server = {"params": {"w": torch.tensor([1.0])}, "l2gd": {"round": torch.tensor(3)}}
    merged = ALGORITHM.aggregate(context(), server, arrivals({"params": {"w": [[2.0], [4.0]]}}, samples=[1, 9]))
    assert merged["params"]["w"].tolist() == [4.0]  # 1 + (2 + 4)/2, whatever the samples
    assert int(merged["l2gd"]["round"]) == 4


def test_without_a_pull_clients_train_alone() -> None:
    """λ = 0: what others send changes nothing."""
    worlds = [federation(L2GD(lam=0.0)) for _ in range(2)]
    play(worlds[0], 1)
    play(worlds[1], 1, clients=4)  # only half of them
    play(worlds[0], 1, first=1)
    for job in range(4):
        worlds[1].dispatch(8 + job, job, 1)
    mine = worlds[1]._training.result(8)[1].state["personal"]
    assert all(torch.equal(tensor, mine[name]) for name, tensor in worlds[0]._base_models([0])[0].items())


@pytest.mark.parametrize("rounds", [3])
def test_clients_of_different_rounds_train_together_as_alone(rounds: int) -> None:
    """Jobs of several rounds wait together when schedules are asynchronous: their numbers of steps differ."""
    where = context(task(8, alpha=0.3), training=Training(lr=0.1, batch_size=5, momentum=0.9))
    kinds: tuple[BackendName, ...] = ("stacked", "loop")
    results = []
    for kind in kinds:
        world = federation(L2GD(), where, kind)
        orders = []
        for client in range(8):
            world.dispatch(client, client, 0)
            order = world._training._waiting[client]
            payload = {**order.payload, "l2gd": {"steps": torch.tensor(client % rounds * 4)}}
            orders.append(order._replace(payload=payload))
        results.append([result.update["params"] for result in world._backend.train(orders)])
    for one, other in zip(*results, strict=True):
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)
    assert float(results[0][0]["fc1.weight"].abs().max()) == 0.0  # no steps, and nothing to be pulled from


def test_bytes_are_fedavgs_and_the_number_of_steps_and_work_is_that_number() -> None:
    where = context()
    client = Client(0, 20, ALGORITHM.init_client(where, 0))
    payload = ALGORITHM.download(where, ALGORITHM.init_server(where), client)
    assert payload.size_bytes == where.dense_bytes + 4
    assert ALGORITHM.upload_bytes(where, payload, client) == where.dense_bytes
    for number in (0, 7):
        sent = Payload(state={"l2gd": {"steps": torch.tensor(number)}}, size_bytes=0)
        assert ALGORITHM.workload(where, sent, client).flops == number * 5 * (2 * 1024 * 2 + 2 * 160 * 3)


def test_a_pull_beyond_the_mean_is_refused_with_a_better_one() -> None:
    """0.1 · 2 · 9 = 1.8; lam: 0.56 would pull half way."""
    with pytest.raises(ScenarioError, match=r"= 1\.8 overshoots the mean; write lam: 0\.56"):
        L2GD(p=0.1, lam=2.0).check(context())
    L2GD().check(context())
