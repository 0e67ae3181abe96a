"""LotteryFL against its specification (arXiv:2008.03371; charleslipku/LotteryFL): when it prunes, rewinding, costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call
from toys import TRAINING, arrivals, bn_task, context, federation, play, task

from edgesim.algorithms.contract import Client
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.lotteryfl import LotteryFl
from edgesim.engine.learning import Received
from edgesim.learning import masks
from edgesim.learning.shards import Shards
from edgesim.learning.tree import State

MLP = context()  # digits, 64-16-10: weights of 1,024 and 160, biases of 26
STILL = context(training=replace(TRAINING, lr=0.0))
ALWAYS = LotteryFl(start_accuracy=0.0)


def test_survivors_start_again_from_the_common_start() -> None:
    """With no learning, what a pruning client sends up is w_0 under its new mask, whatever the server has."""
    world = federation(ALWAYS, STILL)
    start = world._server["start"]
    moved = {name: tensor + 1 for name, tensor in start.items()}
    world._server = {"params": moved, "start": start}
    world.dispatch(0, 0, 0)
    _, trained = world._training.result(0)
    mask = trained.state["mask"]
    for name, change in trained.update["params"].items():
        value = moved[name] + change
        wanted = torch.where(mask[name], start[name], moved[name]) if name in mask else start[name]
        torch.testing.assert_close(value, wanted, atol=1e-6, rtol=0)
    gone = ~mask["fc1.weight"]
    assert int(gone.sum()) == 103  # ⌈0.1 · 1023⌉, those of smallest |w| in the server's model
    assert moved["fc1.weight"].abs()[gone].max() <= moved["fc1.weight"].abs()[~gone].min()


@pytest.mark.parametrize("gate", [{"start_accuracy": 1.0}, {"end_density": 1.0}])
def test_without_accuracy_or_with_few_weights_left_nothing_goes_or_is_reset(gate: dict[str, float]) -> None:
    world = federation(replace(ALWAYS, **gate), STILL)
    start = world._server["start"]
    world._server = {"params": {name: tensor + 1 for name, tensor in start.items()}, "start": start}
    world.dispatch(0, 0, 0)
    _, trained = world._training.result(0)
    assert trained.state["mask"]["fc1.weight"].all()
    assert not trained.update["params"]["fc1.weight"].any()


def test_weights_of_no_holder_keep_the_servers_value() -> None:
    two = arrivals(
        {
            "params": {"w": [[[2.0, 1.0, -1.0]], [[4.0, -1.0, -1.0]]]},
            "mask": {"w": [[[True, True, False]], [[True, False, False]]]},
            "job": {"rewound": [False, False]},
        },
        samples=[10, 90],
    )
    server: State = {"params": {"w": torch.ones(1, 3)}}
    assert LotteryFl().aggregate(MLP, server, two)["params"]["w"].tolist() == [[4.0, 2.0, 1.0]]


def test_a_stale_ticket_that_began_again_counts_from_the_servers_present_model() -> None:
    """Sent 5, the server is at 3. A began again and came to 1: −2 from now, where −4 would be from 5. B went on by 1,
    and C is fresh: sent 3, began again, came to 2. The mean is (−2 + 1 − 1)/3."""
    three = arrivals(
        {
            "params": {"w": [[[-4.0]], [[1.0]], [[-1.0]]]},
            "mask": {"w": [[[True]]] * 3},
            "job": {"rewound": [True, False, True]},
        },
        staleness=[1, 1, 0],
    )
    sent = tuple({"params": {"w": torch.tensor([[value]])}} for value in (5.0, 5.0, 3.0))
    server: State = {"params": {"w": torch.tensor([[3.0]])}}
    after = LotteryFl().aggregate(MLP, server, replace(three, payloads=sent))
    assert after["params"]["w"].item() == pytest.approx(3 - 2 / 3)


def test_until_someone_prunes_it_is_fedavg_with_equal_weights() -> None:
    worlds = [federation(LotteryFl(start_accuracy=1.0)), federation(FedAvg(weighting="uniform"))]
    for world in worlds:
        play(world, 1, clients=4)
    for name, tensor in worlds[1]._server["params"].items():
        torch.testing.assert_close(worlds[0]._server["params"][name], tensor)


def test_density_falls_by_a_tenth_at_a_time_down_to_the_end() -> None:
    """0.9^7 = 0.478 is the first below one half."""
    world = federation(ALWAYS)
    for turn in range(9):
        world.dispatch(turn, 0, turn)
        world.arrive(turn, 0)
        world.aggregate([Received(turn, 0, 0, 1.0)])
    assert world.evaluate()["density"] < 1
    left = float(world._clients.get(0)["mask"]["fc1.weight"].float().mean())
    assert left == pytest.approx(0.9**7, abs=0.01)


def test_a_percentile_that_is_a_place_is_that_place() -> None:
    """⌈0.1 · 1,023⌉ = 103, and of the 921 that are left 0.1 · 920 = 92 and no more, though float32's 0.1 is larger."""
    world = federation(ALWAYS)
    for turn in range(2):
        world.dispatch(turn, 0, turn)
        world.arrive(turn, 0)
        world.aggregate([Received(turn, 0, 0, 1.0)])
    assert int(world._state(0)["mask"]["fc1.weight"].sum()) == 1024 - 103 - 92


@pytest.mark.parametrize(("right", "prunes"), [(14, False), (15, True)])
def test_half_of_28_right_is_not_more_than_half(right: int, prunes: bool) -> None:
    """Whatever their order: shares of 1/28 in float32, added up, come to more than 1/2 every other time."""
    own, model = task().train.of(0)[:28], task().model
    predicted = functional_call(model.module, model.init(0), (task().x[own],)).argmax(1)
    y = task().y.clone()
    y[own] = (predicted + (torch.arange(28) >= right)) % task().classes
    shards = Shards(index=own, offset=np.array([0, 28]))
    world = federation(LotteryFl(start_accuracy=0.5), context(replace(task(), y=y, train=shards, test=shards)))
    for job in range(10):
        world.dispatch(job, 0, 0)
    left = [world._training.result(job)[1].state["mask"]["fc1.weight"].all() for job in range(10)]
    assert left == [not prunes] * 10


def test_statistics_of_a_late_client_that_began_again_are_averaged_as_models() -> None:
    """A lone one's replace the server's; counted from the present ones twice, its variances would be below 0."""
    world = federation(ALWAYS, context(bn_task()), "loop")
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    assert trained.update["job"]["rewound"]
    names = world._context.task.model.statistics
    now = {name: torch.full_like(world._server["params"][name], 50.0) for name in names}
    world._server = {**world._server, "params": {**world._server["params"], **now}}
    world.aggregate([Received(0, 0, 1, 1.0)])
    for name in names:
        ended = order.payload["params"][name] + trained.update["params"][name]
        torch.testing.assert_close(world._server["params"][name], ended, atol=1e-5, rtol=0)


def test_costs_are_the_masks_share_a_forward_pass_and_the_start_in_memory() -> None:
    shapes = masks.maskable(MLP.task.model.shapes)
    half = masks.random_mask(shapes, dict.fromkeys(shapes, 0.5), np.random.default_rng(0))
    algorithm = LotteryFl()
    client = Client(0, 20, {"mask": half})
    payload = algorithm.download(MLP, algorithm.init_server(MLP), client)
    values = 4 * (512 + 80 + 26) + 5
    assert payload.size_bytes == algorithm.upload_bytes(MLP, payload, client) == values
    work = algorithm.workload(MLP, payload, client)
    assert work.flops == pytest.approx(0.5 * ((2 * 1024 * 2 + 2 * 160 * 3) * 40 + (2 * 1024 + 2 * 160) * 20))
    full = Client(0, 20, algorithm.init_client(MLP, 0))
    assert algorithm.upload_bytes(MLP, payload, full) is None


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    where = context(task(6, alpha=0.5))
    held = []
    for cohort in (128, 1):
        world = federation(LotteryFl(start_accuracy=0.08), where, cohort=cohort)
        for client in range(6):
            world.dispatch(client, client, 0)
        held.append([world._training.result(client)[1] for client in range(6)])
    counts = set()
    for together, alone in zip(*held, strict=True):
        assert torch.equal(together.state["mask"]["fc1.weight"], alone.state["mask"]["fc1.weight"])
        torch.testing.assert_close(together.update["params"]["fc1.weight"], alone.update["params"]["fc1.weight"])
        counts.add(int(together.state["mask"]["fc1.weight"].sum()))
    assert counts == {1024, 1024 - 103}  # some prune, some do not
