"""DisPFL against its specification (arXiv:2206.00187; its authors' code): mixing, masks, bytes, work."""

import math

import pytest
import torch
from toys import arrivals, context, federation, trained

from edgesim.algorithms.contract import Client, Payload, Peer
from edgesim.algorithms.dispfl import DisPfl, _is_settled
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.errors import ScenarioError
from edgesim.learning import codecs

MLP = context()  # digits, 64-16-10: weights of 1,024 and 160, biases of 16 and 10
EQUAL = torch.full((3,), 1 / 3, dtype=torch.float64)


def peer(number: int, values: list[float], mask: list[int], bias: float) -> Peer:
    params = {"w": torch.tensor(values), "b": torch.tensor([bias])}
    return Peer({"params": params}, Client(number, 10, {"mask": {"w": torch.tensor(mask).bool()}}))


def test_each_weight_is_divided_among_those_that_hold_it() -> None:
    """w_0 ← m_0 ⊙ Σ_j w_j / Σ_j m_j: the first weight is held by all three, the second by 0 and 1, where 1 has just
    regrown it at 0; the third by 2 alone, but 0 has no use for it; the fourth by 0 alone; the fifth by nobody. A mean
    over three would halve the second again. The bias has no mask: its mean."""
    peers = [
        peer(0, [3.0, 4.0, 0.0, 5.0, 0.0], [1, 1, 0, 1, 0], 1.0),
        peer(1, [6.0, 0.0, 0.0, 0.0, 0.0], [1, 1, 0, 0, 0], 2.0),
        peer(2, [9.0, 0.0, 7.0, 0.0, 0.0], [1, 0, 1, 0, 0], 6.0),
    ]
    mixed = DisPfl().mix(MLP, peers[0], peers, EQUAL)["params"]
    assert mixed["w"].tolist() == [6.0, 2.0, 0.0, 5.0, 0.0]
    assert mixed["b"].tolist() == [3.0]
    assert DisPfl().mix(MLP, peers[2], peers, EQUAL)["params"]["w"].tolist() == [6.0, 0.0, 7.0, 0.0, 0.0]


def test_a_mask_that_newly_holds_what_nobody_else_does_starts_from_zero() -> None:
    peers = [peer(0, [1.0, 0.0], [1, 1], 0.0), peer(1, [3.0, 0.0], [1, 0], 0.0)]
    assert DisPfl().mix(MLP, peers[0], peers, EQUAL[:2])["params"]["w"].tolist() == [2.0, 0.0]


@pytest.mark.parametrize("regrow", ["gradient", "random"])
def test_masks_move_by_the_annealed_rate_and_what_comes_is_zero(regrow: str) -> None:
    """α_0 = 0.5, T = 10: half of the active weights go in the first turn, a quarter in the sixth, none in the tenth."""
    for version, rate in ((0, 0.5), (5, 0.25), (10, 0.0)):
        world = federation(DisPfl(density=0.4, regrow=regrow))  # type: ignore[arg-type]
        world.dispatch(0, 0, version)
        order, result = world._training.result(0)
        for name, mask in order.state["mask"].items():
            after, sent = result.state["mask"][name], result.update["params"][name]
            assert after.sum() == mask.sum()  # the density never changes
            gone = int((mask & ~after).sum())
            assert (gone > 0) == (rate > 0)
            assert gone <= math.ceil(rate * int(mask.sum()))
            assert torch.count_nonzero(sent[~(mask & after)]) == 0
            assert torch.count_nonzero(sent[mask & after]) > 0


def test_its_masks_are_fedspas() -> None:
    """The same seed gives both the same first masks, so that runs of the two can be compared."""
    own, sibling = DisPfl(density=0.3).init_client(MLP, 4), FedSpa(density=0.3).init_client(MLP, 4)
    assert all(torch.equal(mask, sibling["mask"][name]) for name, mask in own["mask"].items())
    options = {"density": (0.3, 0.6), "layers": "uniform", "initial_masks": "same", "rounds": 7}
    own, sibling = (kind(**options).init_client(MLP, 3) for kind in (DisPfl, FedSpa))  # type: ignore[arg-type]
    for group, params in sibling.items():
        assert all(torch.equal(own[group][name], tensor) for name, tensor in params.items())


def test_dense_and_all_connected_it_is_fedavg() -> None:
    """Density 1, nothing pruned: each trains what FedAvg trains, and everybody's next model is the plain mean."""
    where, weights = context(), torch.full((8,), 1 / 8, dtype=torch.float64)
    start = FedAvg().init_server(where)
    models = {}
    for algorithm in (FedAvg(weighting="uniform"), DisPfl(density=1.0, prune_rate=0.0)):
        peers = []
        for client, result in enumerate(trained(algorithm, range(8), where)):
            alone = arrivals({"params": {name: [tensor.tolist()] for name, tensor in result.update["params"].items()}})
            peers.append(Peer(algorithm.aggregate(where, start, alone), Client(client, 1, result.state)))
        models[type(algorithm)] = algorithm.mix(where, peers[0], peers, weights)["params"]
    for name, tensor in models[FedAvg].items():
        assert models[DisPfl][name].numpy() == pytest.approx(tensor.numpy(), abs=1e-6)


def test_a_message_is_the_active_values_with_their_mask() -> None:
    """Uniform density 0.5 of 1,024 and 160: 512 and 80 values of 4 bytes under bitmaps of 128 and 20 bytes, 26 biases;
    1 byte counts the parts, 4 name their forms. DisPFL's code counts the 618 values alone."""
    algorithm = DisPfl(density=0.5, layers="uniform")
    state = algorithm.init_client(MLP, 0)
    client = Client(0, 30, state)
    payload = algorithm.download(MLP, algorithm.init_server(MLP), client)
    assert payload.size_bytes == 4 * (512 + 80 + 26) + 128 + 20 + 1 + 4
    assert algorithm.upload_bytes(MLP, payload, client) == payload.size_bytes
    after = trained(algorithm, [0])[0]
    assert codecs.size(algorithm.upload(after.update, state, after.state)) == payload.size_bytes


def test_where_a_list_of_places_may_be_shorter_the_length_is_known_after_training_only() -> None:
    """At density 0.05 the 51 places of 1,024 take a byte or two each, which hangs on where they are; a bitmap, 128."""
    sparse = DisPfl(density=0.05, layers="uniform")
    client = Client(0, 30, sparse.init_client(MLP, 0))
    payload = sparse.download(MLP, sparse.init_server(MLP), client)
    assert sparse.upload_bytes(MLP, payload, client) is None
    assert DisPfl(density=0.05, layers="uniform", prune_rate=0.0).upload_bytes(MLP, payload, client) is not None


@pytest.mark.parametrize(
    ("active", "settled"),
    [(0, True), (1, False), (12, False), (13, True), (87, True), (88, False), (99, False), (100, True)],
)
def test_a_list_of_places_is_shorter_than_a_bitmap_up_to_an_eighth(active: int, settled: bool) -> None:
    """Of 100 weights: a bitmap of 13 bytes, and a byte at least for each place that is on, or off."""
    assert _is_settled(torch.arange(100) < active) == settled


def test_regrowth_by_gradient_costs_one_dense_batch_and_drawing_nothing() -> None:
    """Of 30 samples twice, 64-16-10: each costs 3 · 2 · 160 in the second layer and 2 · 2 · 1,024 in the first, whose
    input needs no gradient, by density 0.5; then 5 samples' gradients, dense."""
    client = Client(0, 30, DisPfl(layers="uniform").init_client(MLP, 0))
    payload = Payload(state={}, size_bytes=0)
    one = 4 * 1024 + 6 * 160
    for regrow, dense in (("random", 0), ("gradient", 1)):
        algorithm = DisPfl(layers="uniform", regrow=regrow)  # type: ignore[arg-type]
        work = algorithm.workload(MLP, payload, client)
        active = float(work.layer_flops @ work.layer_density) + work.other_flops
        assert active == pytest.approx(60 * one * 0.5 + dense * 5 * one)


def test_a_cohort_learns_what_one_client_at_a_time_does() -> None:
    one, many = (trained(DisPfl(density=0.4), range(4), backend=backend) for backend in ("loop", "stacked"))
    for alone, among in zip(one, many, strict=True):
        for name, tensor in alone.update["params"].items():
            assert among.update["params"][name].numpy() == pytest.approx(tensor.numpy(), abs=1e-5)
        for name, mask in alone.state["mask"].items():
            assert torch.equal(mask, among.state["mask"][name])


def test_without_a_horizon_it_asks_for_one() -> None:
    with pytest.raises(ScenarioError, match="anneals its prune rate over a client's T turns"):
        DisPfl().check(context(horizon=None))
    DisPfl(prune_rate=0.0).check(context(horizon=None))
    DisPfl(rounds=20).check(context(horizon=None))
