"""Sub-FedAvg against its specification (arXiv:2105.00562; MMorafah/Sub-FedAvg): gates, holders, costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import TRAINING, arrivals, context, federation, task

from edgesim.algorithms.contract import Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.subfedavg import SubFedAvg
from edgesim.engine.learning import Received
from edgesim.learning import masks
from edgesim.learning.tree import State

MLP = context()  # digits, 64-16-10: weights of 1,024 and 160, biases of 26
EASY = SubFedAvg(accuracy=0.0)


def trained_mask(algorithm: SubFedAvg, where: Context = MLP, mask: float = 1.0) -> tuple[State, State]:
    """A client's state before and after a job, from a mask of that density."""
    world = federation(algorithm, where)
    if mask < 1:
        shapes = masks.maskable(where.task.model.shapes)
        world._clients.put(
            0, {"mask": masks.random_mask(shapes, dict.fromkeys(shapes, mask), np.random.default_rng(0))}
        )
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    return order.state, trained.state


def test_a_step_prunes_the_percentile_of_each_tensor() -> None:
    """numpy's 10th percentile of 1,024 different values has ⌈0.1 · 1023⌉ = 103 below it; of 160, 16."""
    _, after = trained_mask(EASY)
    assert {name: int((~mask).sum()) for name, mask in after["mask"].items()} == {"fc1.weight": 103, "fc2.weight": 16}
    values = np.random.default_rng(0).random(1024)
    assert int((values < np.percentile(values, 10)).sum()) == 103


@pytest.mark.parametrize("gate", [{"distance": 0.9}, {"accuracy": 1.0}, {"target": 0.0}])
def test_each_gate_keeps_the_old_mask(gate: dict[str, float]) -> None:
    before, after = trained_mask(replace(EASY, **gate))
    assert torch.equal(before["mask"]["fc1.weight"], after["mask"]["fc1.weight"])


def test_masks_that_no_longer_change_are_kept() -> None:
    """With no learning the candidates of both epochs are the same, so their Hamming distance is 0."""
    _, after = trained_mask(EASY, context(training=replace(TRAINING, lr=0.0)))
    assert after["mask"]["fc1.weight"].all()


def test_a_single_epoch_compares_its_half_with_its_end() -> None:
    _, after = trained_mask(EASY, context(training=replace(TRAINING, epochs=1)))
    assert not after["mask"]["fc1.weight"].all()


def test_the_last_step_does_not_overshoot_the_target() -> None:
    """72 % left, target 30 % pruned: 2/72 of each tensor go, not a tenth; 80 % left: at most 5 % of a step."""
    before, after = trained_mask(EASY, mask=0.72)
    assert int(before["mask"]["fc1.weight"].sum() - after["mask"]["fc1.weight"].sum()) == pytest.approx(
        0.02 * 1024, abs=2
    )
    before, after = trained_mask(replace(EASY, target=0.29), mask=0.8)
    assert int(before["mask"]["fc1.weight"].sum() - after["mask"]["fc1.weight"].sum()) == pytest.approx(
        0.05 * 0.8 * 1024, abs=2
    )


def test_weights_that_nobody_holds_keep_the_servers_value() -> None:
    """w = (1, 1, 1); A trains weight 0 to 3 and holds 0, 1 (1 → 2); B holds 0 (1 → 5): (4, 2, 1); bias: mean."""
    two = arrivals(
        {
            "params": {"w": [[[2.0, 1.0, -1.0]], [[4.0, -1.0, -1.0]]], "b": [[2.0], [4.0]]},
            "mask": {"w": [[[True, True, False]], [[True, False, False]]]},
        },
        samples=[10, 90],
    )
    server: State = {"params": {"w": torch.ones(1, 3), "b": torch.zeros(1)}}
    after = SubFedAvg().aggregate(MLP, server, two)["params"]
    assert after["w"].tolist() == [[4.0, 2.0, 1.0]]
    assert after["b"].tolist() == [3.0]


def test_with_nothing_to_prune_it_is_fedavg_with_equal_weights() -> None:
    worlds = [federation(SubFedAvg(target=0.0)), federation(FedAvg(weighting="uniform"))]
    for world in worlds:
        for client in range(4):
            world.dispatch(client, client, 0)
        world.aggregate([Received(client, client, 0, 1.0) for client in range(4)])
    for name, tensor in worlds[1]._server["params"].items():
        torch.testing.assert_close(worlds[0]._server["params"][name], tensor)


def test_costs_are_the_masks_share_and_a_forward_pass_while_it_prunes() -> None:
    """Masks go up when they changed: bitmaps or the places that are off, whichever is shorter."""
    algorithm, shapes = SubFedAvg(), masks.maskable(MLP.task.model.shapes)
    half = masks.random_mask(shapes, dict.fromkeys(shapes, 0.5), np.random.default_rng(0))
    server, client = algorithm.init_server(MLP), Client(0, 20, {"mask": half})
    payload = algorithm.download(MLP, server, client)
    values = 4 * (512 + 80 + 26) + 5
    assert payload.size_bytes == algorithm.upload_bytes(MLP, payload, client) == values
    dense = 2 * 1024 * 2 + 2 * 160 * 3
    assert algorithm.workload(MLP, payload, client).flops == pytest.approx(0.5 * dense * 20 * 2)
    prunes = SubFedAvg(target=0.6)
    assert prunes.upload_bytes(MLP, payload, client) is None
    extra = prunes.workload(MLP, payload, client).flops - algorithm.workload(MLP, payload, client).flops
    assert extra == pytest.approx(0.5 * (2 * 1024 + 2 * 160) * 20)


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    where = context(task(6, alpha=0.5))
    held = []
    for cohort in (128, 1):
        world = federation(EASY, where, cohort=cohort)
        for client in range(6):
            world.dispatch(client, client, 0)
        held.append([world._training.result(client)[1].state["mask"] for client in range(6)])
    for together, alone in zip(*held, strict=True):
        for name in together:
            assert torch.equal(together[name], alone[name])
