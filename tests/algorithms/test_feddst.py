"""FedDST against its specification (arXiv:2112.09824; bibikar/feddst): densities, readjustment, votes, bytes."""

import math
from dataclasses import replace

import pytest
import torch
from toys import arrivals, context, federation, play, task

from edgesim.algorithms.contract import Client
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.feddst import FedDst
from edgesim.engine.learning import Terms
from edgesim.errors import ScenarioError
from edgesim.learning import masks
from edgesim.learning.tree import State

MLP = context(horizon=None)  # digits, 64-16-10: weights of 1,024 and 160, biases of 26
OFTEN = FedDst(density=0.3, prune_rate=0.2, readjust_every=1)


def test_its_erk_scales_sparsities_not_densities() -> None:
    """fc1: 1 − 80/1024 = 0.921875; fc2: 1 − 26/160 = 0.8375; C = 0.8 · 1184 / (944 + 134) = 947.2/1078.
    So fc1 keeps 1 − 0.81002 and fc2 1 − 0.73588, where RigL's ERK gives the small tensor far more."""
    shapes = masks.maskable(MLP.task.model.shapes)
    found = masks.erk_sparsities(shapes, 0.2)
    assert found == pytest.approx({"fc1.weight": 0.189981, "fc2.weight": 0.264121}, abs=1e-5)
    assert masks.erk(shapes, 0.2)["fc2.weight"] > 1.3 * found["fc2.weight"]
    assert sum(found[n] * math.prod(shapes[n]) for n in shapes) == pytest.approx(0.2 * 1184)


def test_the_first_mask_holds_the_largest_start_values() -> None:
    server = FedDst(density=0.2).init_server(MLP)
    start, mask = MLP.task.model.init(MLP.seed)["fc1.weight"].abs(), server["mask"]["fc1.weight"]
    assert int(mask.sum()) == int(0.189981 * 1024)
    assert start[mask].min() >= start[~mask].max()
    assert not server["params"]["fc1.weight"][~mask].any()


def test_masks_move_in_every_tenth_round_of_the_first_half() -> None:
    """(t − 1) mod 10 = 0: rounds 1, 11, 21, … up to T/2 = 20."""
    algorithm = FedDst(rounds=40)
    server, client = algorithm.init_server(MLP), Client(0, 20, algorithm.init_client(MLP, 0))
    moving = []
    for number in range(35):
        at = {**server, "round": {"number": torch.tensor(number)}}
        if algorithm.download(MLP, at, client).state["job"]["moves"]:
            moving.append(number)
    assert moving == [1, 11]


def test_readjustment_prunes_by_magnitude_and_regrows_by_gradient_at_zero() -> None:
    world = federation(OFTEN, MLP)
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    for name, before in order.payload["mask"].items():
        after = trained.update["mask"][name]
        value = order.payload["params"][name] + trained.update["params"][name]
        assert int(after.sum()) == int(before.sum())
        came = after & ~before
        assert came.any()
        assert not value[came].any()
        assert not value[~after].any()


def test_settling_epochs_train_what_came() -> None:
    world = federation(replace(OFTEN, settle_epochs=1), MLP)
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    came = trained.update["mask"]["fc1.weight"] & ~order.payload["mask"]["fc1.weight"]
    value = order.payload["params"]["fc1.weight"] + trained.update["params"]["fc1.weight"]
    assert came.any()
    assert value[came].count_nonzero() > 0.5 * came.sum()


def test_the_server_averages_holders_by_samples_and_prunes_the_votes_to_the_density() -> None:
    """w = 0; A (10 samples) holds 1, 2 with 4, 2; B (30) holds 2, 3 with 6, 1: (40/10, (20 + 180)/40, 30/30).
    Density 1/2 of 4 weights keeps two of the three that got a vote: 5 and 4."""
    two = arrivals(
        {
            "params": {"w": [[[4.0, 2.0, 0.0, 0.0]], [[0.0, 6.0, 1.0, 0.0]]]},
            "mask": {"w": [[[True, True, False, False]], [[False, True, True, False]]]},
        },
        samples=[10, 30],
    )
    server: State = {
        "params": {"w": torch.zeros(1, 4)},
        "mask": {"w": torch.tensor([[True, True, False, False]])},
        "round": {"number": torch.tensor(3)},
        "seen": {"version": torch.tensor(0)},
    }
    toy = _Toy(density=0.5, layers="uniform")
    after = toy.aggregate(MLP, server, two)
    assert after["params"]["w"].tolist() == [[4.0, 5.0, 0.0, 0.0]]
    assert after["mask"]["w"].tolist() == [[True, True, False, False]]
    assert int(after["seen"]["version"]) == 0  # the mask is the same


class _Toy(FedDst):
    """With a single tensor of four weights."""

    def _counts(self, context: object, share: float) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor([2])}


def test_at_density_one_it_is_fedavg() -> None:
    worlds = [federation(algorithm, MLP) for algorithm in (FedDst(density=1.0, prune_rate=0.0), FedAvg())]
    for world in worlds:
        play(world, 2, clients=4)
    for name, tensor in worlds[1]._server["params"].items():
        torch.testing.assert_close(worlds[0]._server["params"][name], tensor)


def test_the_density_holds_over_rounds() -> None:
    world = federation(replace(OFTEN, settle_epochs=1), MLP)
    first = {name: int(mask.sum()) for name, mask in world._server["mask"].items()}
    play(world, 3, clients=4)
    assert {name: int(mask.sum()) for name, mask in world._server["mask"].items()} == first
    assert int(world._server["seen"]["version"]) > 0


def test_bytes_are_active_values_and_masks_only_when_they_are_new() -> None:
    """Down 4·(active + 26) + 5 B; a mask that the client has not seen: bitmaps of 128 + 20 B. Up likewise."""
    algorithm = FedDst(density=0.5, layers="uniform", rounds=40)
    server, client = algorithm.init_server(MLP), algorithm.init_client(MLP, 0)
    values = 4 * (512 + 80 + 26) + 5

    def down(version: int, number: int, seen: int) -> tuple[int, int | None]:
        at = {**server, "seen": {"version": torch.tensor(version)}, "round": {"number": torch.tensor(number)}}
        who = Client(0, 20, {**client, "seen": {"version": torch.tensor(seen)}})
        payload = algorithm.download(MLP, at, who)
        return payload.size_bytes, algorithm.upload_bytes(MLP, payload, who)

    assert down(0, 0, -1) == (values, values)
    assert down(2, 3, 1) == (values + 148, values)
    assert down(2, 3, 2) == (values, values)
    assert down(2, 11, 2) == (values, None)
    world = federation(replace(algorithm, readjust_every=1), MLP)
    world.dispatch(0, 0, 0)
    assert world.upload_bytes(0) == values + 148


def test_a_readjusting_job_pays_one_dense_batch() -> None:
    algorithm = FedDst(density=0.5, layers="uniform", rounds=40)
    client = Client(0, 20, algorithm.init_client(MLP, 0))
    work = []
    for number in (0, 1):
        server = {**algorithm.init_server(MLP), "round": {"number": torch.tensor(number)}}
        work.append(algorithm.workload(MLP, algorithm.download(MLP, server, client), client).flops)
    dense = 2 * 1024 * 2 + 2 * 160 * 3
    assert work == pytest.approx([0.5 * dense * 20 * 2, 0.5 * dense * 20 * 2 + dense * 5])


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"leaves fc1\.weight no weights"):
        FedDst(density=0.001).check(MLP)
    with pytest.raises(ScenarioError, match="cosine annealing wants T"):
        FedDst(annealing="cosine").check(MLP)
    with pytest.raises(ScenarioError, match=r"more than training\.epochs, 2"):
        FedDst(settle_epochs=3).check(MLP)


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    where = context(task(6, alpha=0.5))
    held = []
    for cohort in (128, 1):
        world = federation(OFTEN, where, cohort=cohort)
        for client in range(6):
            world.dispatch(client, client, 0)
        held.append([world._training.result(client)[1].update["mask"] for client in range(6)])
    for together, alone in zip(*held, strict=True):
        for name in together:
            assert torch.equal(together[name], alone[name])


def test_a_job_of_fewer_epochs_settles_for_no_more_than_it_has() -> None:
    """A schedule may ask for one epoch where the training has two: one is paid for, and one is trained."""
    updates = []
    for settle in (1, 2):
        world = federation(FedDst(density=0.5, settle_epochs=settle))
        world.dispatch(0, 0, 0, Terms(epochs=1))
        updates.append(world._training.result(0)[1].update["params"])
    assert all(torch.equal(tensor, updates[1][name]) for name, tensor in updates[0].items())
