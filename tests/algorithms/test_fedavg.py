"""FedAvg and FedBuff: what the server does with three updates, redone by hand."""

import pytest
import torch
from toys import context

from edgesim.algorithms.contract import Arrival
from edgesim.algorithms.fedavg import FedAvg


def arrival(value: float, samples: int, discount: float = 1.0, staleness: int = 0) -> Arrival:
    return Arrival(
        client=0, samples=samples, staleness=staleness, discount=discount,
        update={"params": {"w": torch.tensor([value, 0.0])}},
    )  # fmt: skip


SERVER = {"params": {"w": torch.tensor([1.0, 5.0])}}


def test_updates_count_by_their_samples() -> None:
    """1 + (10·1 + 30·3 + 60·(−1)) / 100 = 1.4."""
    merged = FedAvg().aggregate(context(), SERVER, [arrival(1, 10), arrival(3, 30), arrival(-1, 60)])
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([1.4, 5.0]))


def test_uniform_weighting_is_the_plain_mean() -> None:
    """1 + (1 + 3 − 1) / 3 = 2."""
    merged = FedAvg(weighting="uniform").aggregate(context(), SERVER, [arrival(1, 10), arrival(3, 30), arrival(-1, 60)])
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([2.0, 5.0]))


def test_a_stale_update_shortens_the_step_and_is_divided_by_the_buffer_once() -> None:
    """FedBuff: 1 + η (s1·Δ1 + s2·Δ2) / K = 1 + 0.5 · (1·4 + 0.5·4) / 2 = 2.5; not /K twice, not /Σs."""
    merged = FedAvg(weighting="uniform", server_lr=0.5).aggregate(
        context(), SERVER, [arrival(4, 7), arrival(4, 7, discount=0.5, staleness=3)]
    )
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([2.5, 5.0]))


def test_the_server_state_is_a_value() -> None:
    before = SERVER["params"]["w"].clone()
    FedAvg().aggregate(context(), SERVER, [arrival(1, 10)])
    assert torch.equal(SERVER["params"]["w"], before)


def test_a_buffer_of_one_with_constant_weight_moves_to_the_clients_model() -> None:
    """FedAsync with mixing α = 1: w ← w + (w_new − w)."""
    merged = FedAvg().aggregate(context(), SERVER, [arrival(2.5, 3)])
    assert merged["params"]["w"].tolist() == pytest.approx([3.5, 5.0])
