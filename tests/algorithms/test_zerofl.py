"""ZeroFL: what is trained, what goes up, and what both cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import TRAINING, arrivals, context, federation, play, task, trained

from edgesim.algorithms.async_rules import FedAsync
from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Client
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.algorithms.lotteryfl import LotteryFl
from edgesim.algorithms.reporting import LossReports
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.algorithms.zerofl import ZeroFl
from edgesim.devices.cost import effective_flops
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.execution.terms import is_mean
from edgesim.learning.compression import TopK
from edgesim.learning.local import cohort_of
from edgesim.learning.training import learner

MLP = context()  # digits, 64-16-10: weights of 1,024 and 160, biases of 26


@pytest.mark.parametrize("sends", ["top-weights", "diff-on-top-weights", "top-diff"])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.2])
def test_the_upload_has_density_one_minus_s_plus_r(sends: str, ratio: float) -> None:
    """Values: ⌈(0.1 + r) N_l⌉ of each weight tensor and all biases; a bitmap or list of places for each mask."""
    world = federation(ZeroFl(sparsity=0.9, mask_ratio=ratio, sends=sends))  # type: ignore[arg-type]
    world.dispatch(0, 0, 0)
    _, trained = world._training.result(0)
    density = 0.1 + ratio
    counts = [math.ceil(density * 1024 - 1e-6), math.ceil(density * 160 - 1e-6)]
    assert [int(mask.sum()) for mask in trained.update["mask"].values()] == counts
    values = 4 * (sum(counts) + 26) + 5
    assert values < world.upload_bytes(0) <= values + 128 + 20


@pytest.mark.parametrize("sends", ["top-weights", "diff-on-top-weights", "top-diff"])
def test_with_top_k_a_difference_needs_no_mask_besides(sends: str) -> None:
    """k = ⌈0.05 N⌉ values of each of four tensors and their places: FedAvg's length, where all of them lie within the
    mask. Of weights it is the mask that says which of them count as 0."""
    codec, own = TopK(share=0.05), ZeroFl(sends=sends)  # type: ignore[arg-type]
    world, only = (federation(CompressedUpdates(inner=inner, codec=codec)) for inner in (own, FedAvg()))
    world.dispatch(0, 0, 0)
    update = world._training.result(0)[1].update
    counts = [int(torch.count_nonzero(tensor)) for tensor in update["params"].values()]
    assert counts == [math.ceil(0.05 * tensor.numel()) for tensor in update["params"].values()]
    most = (
        4 * sum(counts) + 2 * sum(counts) + 4 * 2 + 1 + 4
    )  # values, gaps of two bytes at most, counts, kinds of parts
    assert (world.upload_bytes(0) <= most) == (sends != "top-weights")
    forecast, dense = (it.cost(0).upload_bytes for it in (world, only))
    assert forecast is not None
    assert dense is not None
    assert (forecast == dense) == (sends != "top-weights")


def test_where_values_are_sent_from() -> None:
    """top-weights: unsent weights count as 0; the diffs leave them as they were."""
    sent = {}
    for sends in ("top-weights", "diff-on-top-weights", "top-diff"):
        world = federation(ZeroFl(sends=sends))
        world.dispatch(0, 0, 0)
        order, trained = world._training.result(0)
        off = ~trained.update["mask"]["fc1.weight"]
        arrived = (order.payload["params"]["fc1.weight"] + trained.update["params"]["fc1.weight"])[off]
        assert torch.equal(arrived, order.payload["params"]["fc1.weight"][off])
        world.aggregate([Received(0, 0, 0, 1.0)])
        after = world._server["params"]["fc1.weight"][off]
        assert torch.equal(after, torch.zeros_like(after) if sends == "top-weights" else arrived)
        sent[sends] = trained.update["mask"]["fc1.weight"]
    assert torch.equal(sent["top-weights"], sent["diff-on-top-weights"])
    assert not torch.equal(sent["top-weights"], sent["top-diff"])


def test_a_step_takes_the_dense_gradient_at_the_largest_weights() -> None:
    world = federation(ZeroFl(sparsity=0.5))
    world.dispatch(0, 0, 0)
    order, _ = world._training.result(0)
    who = learner(task(), TRAINING, world._backend.kernel, seed=0, cohort=cohort_of([order]))
    params = {name: tensor.unsqueeze(0) for name, tensor in order.payload["params"].items()}
    batch = who.probe()
    moved = ZeroFl(sparsity=0.5).local_step({"params": params}, batch, who)["params"]["fc1.weight"]
    weight = params["fc1.weight"]
    limit = weight.abs().flatten().sort().values[512]
    sparse = {**params, "fc1.weight": weight * (weight.abs() >= limit)}
    limit = params["fc2.weight"].abs().flatten().sort().values[80]
    sparse["fc2.weight"] = params["fc2.weight"] * (params["fc2.weight"].abs() >= limit)
    torch.testing.assert_close(moved, weight - 0.1 * who.gradient(sparse, batch)["fc1.weight"])
    assert ((moved != weight) & (weight.abs() < limit)).any()  # weights that are left out still learn


@pytest.mark.usefixtures("step_by_step")
def test_nothing_left_out_is_fedavg() -> None:
    worlds = [federation(ZeroFl(sparsity=0.0, mask_ratio=0.0)), federation(FedAvg())]
    for world in worlds:
        play(world, 1, clients=4)
    for name, tensor in worlds[1]._server["params"].items():
        assert torch.equal(worlds[0]._server["params"][name], tensor)


def test_two_of_three_products_are_sparse() -> None:
    """fc1: forward at 0.1 and dense weight gradient; fc2: two at 0.1 and one dense; 2 FLOPs a weight and sample."""
    algorithm = ZeroFl(sparsity=0.9)
    client = Client(0, 20, {})
    payload = algorithm.download(MLP, algorithm.init_server(MLP), client)
    work, seen = algorithm.workload(MLP, payload, client), 20 * 2
    assert work.flops == pytest.approx((2 * 1024 * 1.1 + 2 * 160 * 1.2) * seen, rel=1e-6)
    # a device that gains from sparsity only below a density of 0.4: a quarter of the time, not of the mean density's
    took = effective_flops(work, sparse_efficiency=0.4, sparse_speedup="realised")
    assert took == pytest.approx((2 * 1024 * 1.25 + 2 * 160 * 1.5) * seen, rel=1e-6)
    # an estimate that asks for the client's loss has a forward pass more, of the sparse weights
    told = LossReports(inner=algorithm).workload(MLP, payload, client)
    assert told.flops - work.flops == pytest.approx((2 * 1024 + 2 * 160) * 0.1 * 20, rel=1e-6)


def test_the_download_is_dense_until_the_model_has_zeros() -> None:
    algorithm = ZeroFl()
    server = algorithm.init_server(MLP)
    assert algorithm.download(MLP, server, Client(0, 20, {})).size_bytes == MLP.dense_bytes
    weight = server["params"]["fc1.weight"].clone()
    weight[:8] = 0.0
    thin = {"params": {**server["params"], "fc1.weight": weight}}
    assert algorithm.download(MLP, thin, Client(0, 20, {})).size_bytes == MLP.dense_bytes - 4 * 512 + 128


def test_uploads_are_averaged_by_samples() -> None:
    two = arrivals({"params": {"w": [[4.0, 0.0], [0.0, 8.0]]}}, samples=[10, 30])
    assert ZeroFl().aggregate(MLP, {"params": {"w": torch.zeros(2)}}, two)["params"]["w"].tolist() == [1.0, 6.0]


def test_more_than_everything_cannot_be_sent() -> None:
    with pytest.raises(ScenarioError, match="exceeds the sparsity"):
        ZeroFl(sparsity=0.1, mask_ratio=0.2).check(MLP)


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    where = context(task(6, alpha=0.5))
    whole, single = (trained(ZeroFl(), range(6), where, cohort=cohort) for cohort in (128, 1))
    for (together, _), (alone, _) in zip(whole, single, strict=True):
        assert torch.equal(together["mask"]["fc1.weight"], alone["mask"]["fc1.weight"])
        torch.testing.assert_close(together["params"]["fc1.weight"], alone["params"]["fc1.weight"])


STILL = context(training=replace(TRAINING, lr=1e-9))


@pytest.mark.parametrize(
    "algorithm",
    [
        ZeroFl(sends="top-weights", sparsity=0.8, mask_ratio=0.1),
        Flash(mode="nst", density=0.3, layers="conv+linear"),
        LotteryFl(start_accuracy=0.0, end_density=0.1),
    ],
)
@pytest.mark.parametrize("rule", [Average(), FedAsync(mixing=1.0)])
def test_stale_clients_that_begin_anew_do_not_take_the_same_away_twice(algorithm: Algorithm, rule: ServerRule) -> None:
    """Four learn nothing from one model, and what they have off is 0, or as in the beginning: it is so after each."""
    world = federation(algorithm, replace(STILL, rule=rule))
    begun = world._server["params"]
    world._server = {**world._server, "params": {name: tensor + 1 for name, tensor in begun.items()}}
    for client in range(4):
        world.dispatch(client, client, 0)
    for client in range(4):
        off = ~world._training.result(client)[1].update["mask"]["fc1.weight"]
        world.aggregate([Received(client, client, client, 1.0)])
        found, wanted = world._server["params"]["fc1.weight"], torch.zeros(int(off.sum()))
        if isinstance(algorithm, LotteryFl):  # what nobody holds stays, what is held began again
            off, wanted = ~off, begun["fc1.weight"][~off]
        torch.testing.assert_close(found[off], wanted, atol=1e-5, rtol=0)


def test_under_safa_a_late_model_is_its_own() -> None:
    """One client has all samples; the server has moved by 1 meanwhile: what the client has off is 0 all the same."""
    algorithm = ZeroFl(sends="top-weights", sparsity=0.8, mask_ratio=0.1)
    assert is_mean(algorithm)
    world = federation(algorithm, replace(STILL, rule=LagTolerant(samples=np.eye(8)[0])))
    world.dispatch(0, 0, 0)
    off = ~world._training.result(0)[1].update["mask"]["fc1.weight"]
    world._server = {**world._server, "params": {name: tensor + 1 for name, tensor in world._server["params"].items()}}
    world.aggregate([Received(0, 0, 1, 1.0)])
    assert world._server["params"]["fc1.weight"][off].abs().max() < 1e-5
