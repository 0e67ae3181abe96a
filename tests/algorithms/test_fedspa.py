"""FedSpa against its specification (arXiv:2201.11380; algorithms of DisPFL's code): masks, bytes, work, merging."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from toys import TRAINING, arrivals, context, federation, task

from edgesim.algorithms.async_rules import FedAsync
from edgesim.algorithms.contract import Client, Payload
from edgesim.algorithms.fedspa import FedSpa
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks
from edgesim.learning.local import cohort_of
from edgesim.learning.training import Learner, Training, learner
from edgesim.learning.tree import Params, State

MLP = context()  # digits, 64-16-10: weights of 1,024 and 160, biases of 16 and 10


def nnz(mask: Params) -> dict[str, int]:
    return {name: int(tensor.sum()) for name, tensor in mask.items()}


def test_every_client_has_its_own_erk_mask_of_the_asked_density() -> None:
    algorithm = FedSpa(density=0.3)
    states = [algorithm.init_client(MLP, client)["mask"] for client in range(3)]
    shapes = masks.maskable(MLP.task.model.shapes)
    expected = {name: int(d * math.prod(shapes[name])) for name, d in masks.erk(shapes, 0.3).items()}
    assert [nnz(mask) for mask in states] == [expected] * 3
    assert not torch.equal(states[0]["fc1.weight"], states[1]["fc1.weight"])
    again = algorithm.init_client(MLP, 1)["mask"]
    assert torch.equal(again["fc1.weight"], states[1]["fc1.weight"])


def test_same_initial_masks_are_one_mask() -> None:
    algorithm = FedSpa(density=0.3, initial_masks="same")
    first, second = (algorithm.init_client(MLP, client)["mask"] for client in (0, 5))
    assert torch.equal(first["fc1.weight"], second["fc1.weight"])


def test_density_groups_go_round_the_clients() -> None:
    """DisPFL's heterogeneous clients: client i is in group i mod 5."""
    algorithm = FedSpa(density=(0.2, 0.4, 0.6, 0.8, 1.0), layers="uniform")
    shares = [algorithm.init_client(MLP, client)["mask"]["fc1.weight"].float().mean() for client in range(6)]
    assert [round(float(share), 2) for share in shares] == [0.2, 0.4, 0.6, 0.8, 1.0, 0.2]


@pytest.mark.parametrize("masking", ["rsm", "dst"])
def test_what_is_off_neither_trains_nor_travels(masking: str) -> None:
    algorithm = FedSpa(density=0.4, masking=masking)  # type: ignore[arg-type]
    world = federation(algorithm)
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    mask = order.state["mask"]
    for name, update in trained.update["params"].items():
        if name in mask:
            assert torch.count_nonzero(update[~mask[name]]) == 0
            assert torch.count_nonzero(update[mask[name]]) > 0
    assert nnz(trained.state["mask"]) == nnz(mask)  # the active share never changes


def test_static_masks_stay_and_dynamic_ones_move_by_the_annealed_rate() -> None:
    """α_0 = 0.5, T = 10: half of each tensor's active weights go at t = 0, a quarter at t = 5, none from t = T."""
    for version, rate in ((0, 0.5), (5, 0.25), (10, 0.0), (12, 0.0)):
        world = federation(FedSpa(density=0.4, prune_rate=0.5))
        world.dispatch(0, 0, version)
        order, trained = world._training.result(0)
        for name, mask in order.state["mask"].items():
            pruned = math.ceil(rate * int(mask.sum()) - 1e-3)
            moved = int((mask & ~trained.state["mask"][name]).sum())
            assert moved <= pruned
            assert (moved > 0) == (rate > 0)
    static = federation(FedSpa(density=0.4, masking="rsm"))
    static.dispatch(0, 0, 0)
    order, trained = static._training.result(0)
    assert all(torch.equal(mask, trained.state["mask"][name]) for name, mask in order.state["mask"].items())


def test_regrowth_follows_the_dense_gradient() -> None:
    """Weights that come are those whose gradient on the probe batch is largest among all that are off."""
    algorithm = FedSpa(density=0.4, prune_rate=0.2)
    world = federation(algorithm)
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    backend = world._backend
    whole = learner(task(), TRAINING, backend.kernel, seed=0, cohort=cohort_of([order]))
    start = {n: t * order.state["mask"].get(n, torch.ones_like(t)) for n, t in order.payload["params"].items()}
    final = {n: (start[n] + trained.update["params"][n]).unsqueeze(0) for n in start}
    gradient = whole.gradient(final, whole.probe())
    for name, mask in order.state["mask"].items():
        after, weight, score = trained.state["mask"][name], final[name][0], gradient[name][0].abs()
        count = math.ceil(0.2 * int(mask.sum()) - 1e-3)
        kept = mask.clone().flatten()
        order_by_size = weight.abs().flatten().masked_fill(~kept, torch.inf).argsort(stable=True)
        kept[order_by_size[:count]] = False
        come = score.flatten().masked_fill(kept, -1.0).argsort(descending=True, stable=True)[:count]
        kept[come] = True
        assert torch.equal(after.flatten(), kept)


def test_random_regrowth_needs_no_gradient_and_prunes_the_same_weights() -> None:
    """DisPFL's own runs: places are drawn among all that are off, and no screening batch is paid for."""
    after, work = {}, {}
    for regrow in ("gradient", "random"):
        world = federation(FedSpa(density=0.4, prune_rate=0.2, regrow=regrow))
        work[regrow] = world.dispatch(0, 0, 0).workload.flops
        order, trained = world._training.result(0)
        after[regrow] = trained.state["mask"]
        assert nnz(after[regrow]) == nnz(order.state["mask"])
    assert work["gradient"] - work["random"] == pytest.approx((2 * 1024 * 2 + 2 * 160 * 3) * 5)
    assert not torch.equal(after["gradient"]["fc1.weight"], after["random"]["fc1.weight"])


@pytest.mark.parametrize("solver", [{"momentum": 0.9}, {"optimizer": "adam"}, {"optimizer": "adamw"}])
def test_weight_decay_and_moments_do_not_leak_into_what_is_off(solver: dict[str, Any]) -> None:
    where = context(training=Training(lr=0.1, batch_size=5, epochs=2, weight_decay=0.1, **solver))
    world = federation(FedSpa(density=0.4), where)
    world.dispatch(0, 0, 0)
    order, trained = world._training.result(0)
    for name, mask in order.state["mask"].items():
        assert not trained.update["params"][name][~mask].any()


def test_bytes_are_active_values_and_a_mask_only_when_it_moved() -> None:
    """Down: 4·(active + biases) + form bytes; the receiver knows the mask. Up: the same, and the new masks as
    bitmaps (1,024/8 + 160/8 B) or as lists of places, whichever is shorter."""
    algorithm = FedSpa(density=0.5, layers="uniform")
    client = algorithm.init_client(MLP, 0)
    who = Client(0, 20, client)
    server = algorithm.init_server(MLP)
    values = 4 * (512 + 16 + 80 + 10)
    header = 1 + 4  # the number of parts, and the form of each
    down = algorithm.download(MLP, server, who).size_bytes
    assert down == values + header
    update: State = {"params": server["params"]}
    moved = {**client, "mask": {n: ~m for n, m in client["mask"].items()}}
    assert codecs.size(algorithm.upload(update, client, client)) == down
    assert codecs.size(algorithm.upload(update, client, moved)) == down + 2 + 1024 // 8 + 160 // 8
    static = FedSpa(density=0.5, masking="rsm", layers="uniform")
    payload = static.download(MLP, server, who)
    assert static.upload_bytes(MLP, payload, who) == down
    assert algorithm.upload_bytes(MLP, payload, who) is None


def test_work_is_the_masks_share_and_one_dense_screening_batch() -> None:
    """§11.4: 3 × forward(nnz) × samples × epochs + one dense batch (the first layer has no input gradient)."""
    samples, epochs, batch = 20, 2, 5
    static, dynamic = FedSpa(density=0.5, masking="rsm", layers="uniform"), FedSpa(density=0.5, layers="uniform")
    client, sent = Client(0, samples, static.init_client(MLP, 0)), Payload(state={}, size_bytes=0)
    dense = 2 * 1024 * 2 + 2 * 160 * 3  # FLOPs a sample: two passes over the first layer, three over the second
    assert static.workload(MLP, sent, client).flops == pytest.approx(0.5 * dense * samples * epochs)
    extra = dynamic.workload(MLP, sent, client).flops - static.workload(MLP, sent, client).flops
    assert extra == pytest.approx(dense * batch)


def test_from_t_on_no_gradient_is_taken_nor_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """α_t is 0 then, and no mask moves."""
    world, works = federation(FedSpa(density=0.5, rounds=3)), []
    for version in range(5):
        works.append(world.dispatch(version, 0, version).workload)
        if version == 3:
            monkeypatch.setattr(Learner, "probe", lambda _: pytest.fail("a gradient was taken"))
        order, trained = world._training.result(version)
        moved = [not torch.equal(mask, order.state["mask"][n]) for n, mask in trained.state["mask"].items()]
        assert any(moved) == (version < 3)
        world.arrive(version, 0)
        world.aggregate([Received(version, 0, 0, 1.0)])
    static = federation(FedSpa(density=0.5, masking="rsm")).dispatch(0, 0, 0).workload
    assert [work.steps - static.steps for work in works] == [1, 1, 1, 0, 0]
    assert works[3].flops == static.flops < works[2].flops


def test_each_client_of_a_cohort_anneals_by_its_own_version() -> None:
    """Sent out at t = 0, T and beyond, and trained together: each mask is what it would be alone."""
    versions = [0, 4, 7]
    world = federation(FedSpa(density=0.4, rounds=4))
    for client, version in enumerate(versions):
        world.dispatch(client, client, version)
    for client, version in enumerate(versions):
        alone = federation(FedSpa(density=0.4, rounds=4))
        alone.dispatch(client, client, version)
        (order, together), (_, own) = world._training.result(client), alone._training.result(client)
        assert nnz(together.state["mask"]) == nnz(order.state["mask"])
        for name, mask in together.state["mask"].items():
            assert torch.equal(mask, own.state["mask"][name])
            assert torch.equal(mask, order.state["mask"][name]) == (version >= 4)


def test_a_prune_rate_of_nothing_costs_what_static_masks_cost() -> None:
    """No mask moves, so that no gradient is taken for it, nor a horizon wanted, and the upload is known beforehand."""
    seen = []
    for algorithm in (FedSpa(density=0.4, masking="rsm"), FedSpa(density=0.4, prune_rate=0.0)):
        algorithm.check(context(horizon=None))
        world = federation(algorithm)
        assigned = world.dispatch(0, 0, 0)
        order, trained = world._training.result(0)
        assert torch.equal(trained.state["mask"]["fc1.weight"], order.state["mask"]["fc1.weight"])
        seen.append((assigned.workload.flops, assigned.workload.memory_bytes, assigned.upload_bytes))
    assert seen[0] == seen[1]


def test_halving_the_density_lowers_bytes_work_and_memory() -> None:
    seen = []
    for density in (0.8, 0.4):
        algorithm = FedSpa(density=density)
        client = Client(0, 20, algorithm.init_client(MLP, 0))
        payload = algorithm.download(MLP, algorithm.init_server(MLP), client)
        work, size = algorithm.workload(MLP, payload, client), payload.size_bytes
        seen.append((size, work.flops, work.memory_bytes))
    assert all(half < whole for whole, half in zip(*seen, strict=True))


def test_the_two_averaging_rules() -> None:
    """Two clients, one weight held by both, one by the second alone, one by none.
    sampled: Σ/2 everywhere; holders: Σ/2, Σ/1, and unmoved. The bias is nobody's mask: Σ/2 in both."""
    server = {"params": {"w": torch.zeros(1, 3), "b": torch.zeros(1)}}
    two = arrivals(
        {
            "params": {"w": [[[2.0, 0.0, 0.0]], [[4.0, 6.0, 0.0]]], "b": [[2.0], [4.0]]},
            "held": {"w": [[[True, False, False]], [[True, True, False]]]},
        }
    )
    by_sampled = FedSpa().aggregate(MLP, server, two)["params"]
    by_holders = FedSpa(divisor="holders").aggregate(MLP, server, two)["params"]
    assert by_sampled["w"].tolist() == [[3.0, 3.0, 0.0]]
    assert by_holders["w"].tolist() == [[3.0, 6.0, 0.0]]
    assert by_sampled["b"].tolist() == by_holders["b"].tolist() == [3.0]


def test_density_one_is_dense_local_training() -> None:
    """All masks full and nothing to prune: the update equals FedAvg's."""
    from edgesim.algorithms.fedavg import FedAvg

    updates = []
    for algorithm in (FedSpa(density=1.0), FedAvg()):
        world = federation(algorithm)
        world.dispatch(0, 3, 0)
        updates.append(world._training.result(0)[1].update["params"])
    for name, tensor in updates[0].items():
        torch.testing.assert_close(tensor, updates[1][name])


def test_annealing_without_a_horizon_is_refused_with_the_way_out() -> None:
    with pytest.raises(ScenarioError, match=r"write rounds: 500, or stop\.aggregations, or masking: rsm"):
        FedSpa().check(context(horizon=None))
    FedSpa(masking="rsm").check(context(horizon=None))
    FedSpa(rounds=3).check(context(horizon=None))


def test_personal_models_learn_skewed_data_better_than_chance() -> None:
    """Twelve rounds on digits with a Dirichlet(0.3) split: far above 10 %, at half the weights."""
    where = context(task(8, alpha=0.3), horizon=12)
    world = federation(FedSpa(density=0.5), where)
    first = world.evaluate()["accuracy"]
    for turn in range(12):
        for client in range(8):
            world.dispatch(8 * turn + client, client, turn)
        world.aggregate([_received(world, 8 * turn + client, client) for client in range(8)])
    last = world.evaluate()
    assert last["accuracy"] > max(0.8, first + 0.4)
    assert last["density"] == pytest.approx(0.5, abs=0.05)


def _received(world: object, job: int, client: int) -> Received:
    world.arrive(job, client)  # type: ignore[attr-defined]
    return Received(job, client, 0, 1.0)


def test_fedasync_moves_only_what_a_client_was_sent() -> None:
    """The others' weights have moved on since: what it never had does not pull them back."""
    world = federation(FedSpa(density=0.3), replace(MLP, rule=FedAsync(mixing=0.6)))
    world.dispatch(0, 0, 0)
    mask = world._training.result(0)[1].update["held"]["fc1.weight"]
    moved = {name: tensor + 1 for name, tensor in world._server["params"].items()}
    world._server = {**world._server, "params": moved}
    world.aggregate([Received(0, 0, 1, 1.0)])
    after = world._server["params"]["fc1.weight"]
    assert torch.equal(after[~mask], moved["fc1.weight"][~mask])
    assert not torch.isclose(after[mask], moved["fc1.weight"][mask]).any()
