"""Codecs composed with algorithms: what travels, what is remembered, and what it costs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import bn_task, context, federation, play

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.feddst import FedDst
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.lotteryfl import LotteryFl
from edgesim.algorithms.pfedla import PFedLA
from edgesim.algorithms.subfedavg import SubFedAvg
from edgesim.engine.learning import Received
from edgesim.learning.codecs import size
from edgesim.learning.compression import Codec, Qsgd, TopK


def test_the_largest_travel_and_the_rest_is_remembered() -> None:
    """k = ⌈0.4 · 5⌉ = 2: −5 and 4 of (1, −5, 2, 4, 0)."""
    sent = TopK(share=0.4).compress(torch.tensor([[1.0, -5.0, 2.0, 4.0, 0.0]]), torch.empty(1, 0))
    assert sent.values.tolist() == [[0.0, -5.0, 0.0, 4.0, 0.0]]


def test_error_feedback_sends_in_the_end_what_was_left_out() -> None:
    """Two jobs of one client: what arrived plus what is remembered is all that was learned."""
    algorithm = CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.1))
    world, plain = federation(algorithm), federation(FedAvg())
    world.dispatch(0, 3, 0)
    plain.dispatch(0, 3, 0)
    update, after = world._training.result(0)[1]
    whole = plain._training.result(0)[1].update["params"]
    for name, tensor in whole.items():
        kept = update["params"][name]
        assert torch.count_nonzero(kept) <= math.ceil(0.1 * tensor.numel())
        torch.testing.assert_close(kept + after["codec/error"][name], tensor)
    world.arrive(0, 3)
    world.aggregate([Received(0, 3, 0, 1.0)])
    world.dispatch(1, 3, 1)
    second = world._training.result(1)[1]
    assert any(not torch.equal(second.state["codec/error"][name], after["codec/error"][name]) for name in whole)


def test_without_feedback_nothing_is_remembered() -> None:
    algorithm = CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.1, feedback=False))
    assert algorithm.init_client(context(), 0) == {}


@given(st.integers(1, 64))
def test_random_rounding_is_unbiased_and_on_the_grid(levels: int) -> None:
    """Mean over 4,000 roundings of one value within six standard errors (at most unit/2 each)."""
    vector = torch.tensor([[0.3, -0.4, 1.2]]).expand(4000, 3)
    random = torch.rand(4000, 3, generator=torch.Generator().manual_seed(levels))
    sent = Qsgd(s=levels).compress(vector, random)
    unit = 1.3 / levels
    torch.testing.assert_close(sent.unit, torch.full((4000,), unit))
    whole = sent.values / unit
    torch.testing.assert_close(whole, whole.round(), atol=1e-3, rtol=0)
    assert (sent.values.mean(0) - vector[0]).abs().max() < 6 * unit / 2 / 4000**0.5


def test_many_levels_are_the_identity() -> None:
    """2²⁰ levels of a norm about 1: within a millionth."""
    tensor = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) / 7
    sent = Qsgd(s=1 << 20).compress(tensor, torch.rand(3, 50, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(sent.values, tensor, atol=3e-6, rtol=0)


def test_nothing_quantises_to_nothing() -> None:
    sent = Qsgd(s=4).compress(torch.zeros(1, 5), torch.rand(1, 5))
    assert not sent.values.any()


def test_quantised_updates_cost_their_bits() -> None:
    """64-16-10: 1,024 + 16 + 160 + 10 values of 5 bits (s = 15: 0 … 30), in whole bytes a tensor, each with a form
    byte, one byte of levels and a unit of four; one byte counts the parts."""
    world = federation(CompressedUpdates(inner=FedAvg(), codec=Qsgd(s=15)))
    world.dispatch(0, 0, 0)
    assert world.upload_bytes(0) == 1 + sum(math.ceil(5 * n / 8) + 6 for n in (1024, 16, 160, 10))


def test_the_largest_cost_their_values_and_places() -> None:
    """1 % of each tensor: 11 + 1 + 2 + 1 values of 4 bytes, and far less than the dense 4,840 B in all."""
    world = federation(CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.01)))
    world.dispatch(0, 0, 0)
    assert 4 * 15 < world.upload_bytes(0) < 4 * 15 + 4 * 15


@pytest.mark.parametrize("codec", [TopK(share=0.2), Qsgd(s=8)], ids=["top-k", "qsgd"])
@pytest.mark.parametrize("inner", [FedAvg(), FedSpa(density=0.5)], ids=["fedavg", "fedspa"])
def test_a_cohort_compresses_as_one_client_at_a_time(inner: FedAvg | FedSpa, codec: Codec) -> None:
    results = []
    for backend in ("stacked", "loop"):
        world = federation(CompressedUpdates(inner=inner, codec=codec), backend=backend)
        for client in range(3):
            world.dispatch(client, client, 0)
        results.append([world._training.result(client)[1].update["params"] for client in range(3)])
    differing = total = 0
    for stacked, loop in zip(*results, strict=True):
        for name, tensor in stacked.items():
            close = torch.isclose(tensor, loop[name], rtol=1e-3, atol=1e-6)
            differing, total = differing + int((~close).sum()), total + tensor.numel()
    assert differing <= 0.01 * total  # a last digit may move a value over a rounding border


def test_compressed_training_still_learns() -> None:
    for codec in (TopK(share=0.2), Qsgd(s=8)):
        world = federation(CompressedUpdates(inner=FedAvg(), codec=codec), context(horizon=15))
        before = world.evaluate()["accuracy"]
        play(world, 15)
        assert world.evaluate()["accuracy"] > max(0.75, before + 0.4)


@pytest.mark.parametrize("inner", [SubFedAvg(target=0.3), LotteryFl(end_density=0.6), Flash(mode="nst", density=0.3)])
@pytest.mark.parametrize("codec", [TopK(share=0.05, feedback=False), Qsgd(s=16)])
def test_only_what_travels_is_compressed(inner: Algorithm, codec: Codec) -> None:
    """Half of each mask is off: those weights, which count as 0, are no part of the message, nor of its norm."""
    generator = torch.Generator().manual_seed(0)
    world = federation(CompressedUpdates(inner=inner, codec=codec))
    half = {
        n: torch.rand(m.shape, generator=generator) < 0.5 for n, m in inner.init_client(context(), 0)["mask"].items()
    }
    world._clients.put(0, {**inner.init_client(context(), 0), "mask": half})
    world.dispatch(0, 0, 0)
    update = world._training.result(0)[1].update
    for name, on in update["mask"].items():
        assert update["params"][name][on].any()
        assert not update["params"][name][~on].any()


@pytest.mark.parametrize(
    "inner",
    [Flash(mode="nst", density=0.3), FedDst(density=0.3, readjust_every=1, prune_rate=0.3)],
    ids=["flash", "feddst"],
)
def test_a_mask_that_moved_travels_beside_the_largest_values(inner: Algorithm) -> None:
    """The server merges by it, and the places of the largest values do not say it: a bit a weight, and a form byte for
    each tensor that has a mask."""
    codec = TopK(share=0.05)
    world = federation(CompressedUpdates(inner=inner, codec=codec))
    world.dispatch(0, 0, 0)
    order, (update, after) = world._training.result(0)
    parts = world._algorithm.upload(update, order.state, after)
    told = [part.mask for part in parts if part.values is None and part.mask is not None]
    assert len(told) == len(update["mask"]) > 0
    assert all(torch.equal(one, mask) for one, mask in zip(told, update["mask"].values(), strict=True))
    largest = size([part for part in parts if part.values is not None])
    assert world.upload_bytes(0) == largest + sum(1 + mask.numel() // 8 for mask in told)


@pytest.mark.parametrize(
    "inner",
    [Flash(warm_up_share=0.5, layers="conv+linear"), PFedLA(retained=2, upload_retained=False)],
    ids=["stage 1 of flash", "retained layers"],
)
def test_of_what_is_not_sent_at_all_nothing_is_remembered(inner: Algorithm) -> None:
    """Or else what a client sends later would have, on top, what it learnt of a model that was thrown away."""
    world = federation(CompressedUpdates(inner=inner, codec=TopK(share=0.1)))
    world.dispatch(0, 0, 0)
    order, (update, after) = world._training.result(0)
    assert all(part.values is None or len(part.values) == 2 for part in inner.upload(update, order.state, after))
    assert not any(tensor.any() for tensor in after["codec/error"].values())


def test_statistics_that_are_not_sent_do_not_reach_the_server() -> None:
    """Top-k lets them travel as they are, where they travel at all; those of a client that retains layers do not."""
    inner = PFedLA(retained=1, upload_retained=False)
    world = federation(CompressedUpdates(inner=inner, codec=TopK(share=0.5)), context(bn_task()), "loop")
    world.dispatch(0, 0, 0)
    update = world._training.result(0)[1].update
    statistics = world._context.task.model.statistics
    assert not any(update["held"][name].any() or update["params"][name].any() for name in statistics)
