"""SAFA's aggregation by hand: three clients of 1, 1 and 2 samples, one weight, which begins at 0."""

import numpy as np
import pytest
import torch

from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.learning.tree import Params, State

RULE = LagTolerant(samples=np.array([1.0, 1.0, 2.0]))


def step(
    w: float, memory: State, *given: tuple[int, float, float], spare: int = 0, outdated: tuple[int, ...] = ()
) -> tuple[float, State]:
    """One aggregation of (client, what it was sent, its update)."""
    clients, sent, update = zip(*given, strict=True)
    ones = torch.ones(len(given), dtype=torch.float64)
    arrivals = Arrivals(
        clients=clients, samples=ones, staleness=torch.zeros(len(given), dtype=torch.int64), discount=ones,
        update=_tree(update), payloads=tuple({"params": {"w": torch.tensor(w)}} for w in sent),
        population=3, spare=spare, outdated=outdated,
    )  # fmt: skip
    moved, memory = RULE.step({"w": torch.tensor(w)}, memory, arrivals, ones, _tree(update)["params"], None)
    return float(moved["w"]), memory


def _tree(values: tuple[float, ...]) -> dict[str, Params]:
    return {"params": {"w": torch.tensor(values)}}


def test_picked_models_count_now_and_spare_ones_the_next_time() -> None:
    """Client 0 picked with model 4, client 1 spare with 8: w = 1/4 · 4. Then client 2 with 1 + 1:
    w = 1/4 · 4 + 1/4 · 8 + 2/4 · 2."""
    w, memory = step(0.0, {}, (0, 0.0, 4.0), (1, 0.0, 8.0), spare=1)
    assert w == pytest.approx(1.0)
    w, memory = step(w, memory, (2, 1.0, 1.0))
    assert w == pytest.approx(4.0)


def test_outdated_clients_are_taken_to_have_the_servers_model() -> None:
    """Client 0, known with 4, lags behind: its entry becomes w = 1; client 1 brings 3: w = 1/4 · 1 + 1/4 · 3."""
    w, memory = step(0.0, {}, (0, 0.0, 4.0))
    w, _ = step(w, memory, (1, 1.0, 2.0), outdated=(0,))
    assert w == pytest.approx(1.0)


def test_with_everybody_picked_it_is_the_weighted_mean_of_models() -> None:
    w, _ = step(0.0, {}, (2, 0.0, 1.0), (0, 0.0, 4.0), (1, 0.0, 8.0))
    assert w == pytest.approx((4 + 8 + 2 * 1) / 4)
