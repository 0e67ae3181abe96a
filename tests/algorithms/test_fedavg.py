"""FedAvg and FedBuff: what the server does with three updates, redone by hand."""

from dataclasses import replace

import pytest
import torch
from toys import arrivals, context

from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.optimizers import Sgd
from edgesim.algorithms.rules import Average

SERVER = {"params": {"w": torch.tensor([1.0, 5.0])}}
THREE = arrivals({"params": {"w": [[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0]]}}, samples=[10, 30, 60])


def test_updates_count_by_their_samples() -> None:
    """1 + (10·1 + 30·3 + 60·(−1)) / 100 = 1.4."""
    merged = FedAvg().aggregate(context(), SERVER, THREE)
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([1.4, 5.0]))


def test_uniform_weighting_is_the_plain_mean() -> None:
    """1 + (1 + 3 − 1) / 3 = 2."""
    merged = FedAvg(weighting="uniform").aggregate(context(), SERVER, THREE)
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([2.0, 5.0]))


def test_a_stale_update_shortens_the_step_and_is_divided_by_the_buffer_once() -> None:
    """FedBuff: 1 + η (s1·Δ1 + s2·Δ2) / K = 1 + 0.5 · (1·4 + 0.5·4) / 2 = 2.5; not /K twice, not /Σs."""
    where = replace(context(), rule=Average(optimizer=Sgd(lr=0.5)))
    two = arrivals({"params": {"w": [[4.0, 0.0], [4.0, 0.0]]}}, samples=[7, 7], discount=[1.0, 0.5])
    merged = FedAvg(weighting="uniform").aggregate(where, SERVER, two)
    torch.testing.assert_close(merged["params"]["w"], torch.tensor([2.5, 5.0]))


def test_the_server_state_is_a_value() -> None:
    before = SERVER["params"]["w"].clone()
    FedAvg().aggregate(context(), SERVER, THREE)
    assert torch.equal(SERVER["params"]["w"], before)


def test_a_buffer_of_one_with_constant_weight_moves_to_the_clients_model() -> None:
    """FedAsync with mixing α = 1: w ← w + (w_new − w)."""
    merged = FedAvg().aggregate(context(), SERVER, arrivals({"params": {"w": [[2.5, 0.0]]}}, samples=[3]))
    assert merged["params"]["w"].tolist() == pytest.approx([3.5, 5.0])
