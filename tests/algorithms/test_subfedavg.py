"""Sub-FedAvg against its specification (arXiv:2105.00562; MMorafah/Sub-FedAvg): gates, holders, costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain import (
    CLIENTS,
    Model,
    assert_close,
    assert_in_use,
    doubled,
    here,
    logits,
    mini_batches,
    rounds,
    samples,
    stepped,
    under,
)
from toys import TRAINING, arrivals, context, federation, play, task

from edgesim.algorithms.contract import Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.subfedavg import SubFedAvg
from edgesim.learning import masks
from edgesim.learning.training import Training
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


def thinner(mask: Model, w: Model, share: float) -> Model:
    """The mask without what lies below numpy's percentile of the active |w| of each tensor."""
    size = {name: w[name].abs().numpy() for name in mask}
    least = {name: np.percentile(size[name][on.numpy()], 100 * share) for name, on in mask.items()}
    return {name: on & torch.from_numpy(size[name] >= least[name]) for name, on in mask.items()}


@pytest.mark.parametrize(("epochs", "target"), [(1, 0.2), (2, 0.35)])
def test_whole_rounds_are_those_of_a_plain_version(epochs: int, target: float) -> None:
    """A fifth of 20 % is reached at once, and no more goes; of 35 %, steps of 5 % are left. Some models are too bad."""
    where = here(Training(lr=0.1, batch_size=8, epochs=epochs))
    algorithm = SubFedAvg(percent=20, target=target, accuracy=0.7)
    w = doubled(algorithm.init_server(where)["params"])
    whole: Model = {name: torch.ones_like(t).bool() for name, t in w.items() if t.dim() > 1}
    mask, outcomes = dict.fromkeys(range(CLIENTS), whole), []
    cohorts = [[0, 1, 2], [1, 3, 5, 2], [0, 2, 4], [1, 2], [2, 5], [1, 5]]
    for made, jobs in rounds(algorithm, where, cohorts):
        assert_close(made._server["params"], w)
        for client in range(CLIENTS):
            now = made._who(client).state["mask"]
            assert all(torch.equal(now[name], on) for name, on in mask[client].items())
        assert_in_use(made, where, [under(mask[client], w) for client in range(CLIENTS)])
        change = []
        for job, client in jobs:
            on, local = mask[client], under(mask[client], w)
            drawn = mini_batches(where, client, job, epochs=epochs)
            early = on
            for step, batch in enumerate(drawn):
                local = under(on, stepped(local, batch, 0.1))
                if step == (len(drawn) // 2 if epochs == 1 else len(drawn) // 2 - 1):
                    early = thinner(on, local, 0.2)
            full = thinner(on, local, 0.2)
            distance = float(np.mean([float((early[name] ^ full[name]).double().mean()) for name in on]))
            pruned = 1 - sum(int(m.sum()) for m in on.values()) / sum(m.numel() for m in on.values())
            share = 0.2 if target - pruned >= 0.2 else min(max((target - pruned) / (1 - pruned), 0), 0.05)
            late, (x, y) = thinner(on, local, share), samples(where, client)
            right = float((logits(under(late, local), x).argmax(1) == y).double().mean())
            gates = (distance > 1e-4, pruned < target, right > 0.7)
            outcomes.append(gates)
            mask[client] = late if all(gates) else on
            change.append(under(mask[client], {name: local[name] - t for name, t in w.items()}))
        for name in w if jobs else ():
            holders = torch.tensor(len(jobs))
            if name in whole:
                holders = torch.stack([mask[client][name] for _, client in jobs]).sum(0).clamp_min(1)
            w[name] = w[name] + sum(one[name] for one in change) / holders
    assert (True, True, True) in outcomes
    assert {gates[1] for gates in outcomes} == ({True, False} if target == 0.2 else {True})
    assert {gates[2] for gates in outcomes} == {True, False}


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
        play(world, 1, clients=4)
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
