"""Masks that move while a client trains, and masks that a server makes of what clients found; by hand."""

import numpy as np
import pytest
import torch

from edgesim.learning import consensus
from edgesim.learning.sparse_training import redistribute, remask


def on(count: int, size: int) -> torch.Tensor:
    return torch.tensor([[place < count for place in range(size)]])


def test_a_move_prunes_by_magnitude_and_hands_weights_to_the_larger_tensor() -> None:
    """Two tensors of 10, 5 active each; rate 0.4 prunes ⌈2⌉ = 2 of each, R = 4. Mean |w| 3 and 1, so v = ¾ and ¼:
    g = ⌈3⌉ and ⌈1⌉, of 7 that are off. Draws below 3/7 (1/7) come: here places 0 and 9 of each tensor."""
    mask = {"a": on(5, 10), "b": on(5, 10)}
    row = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 0, 0, 0, 0, 0]])
    weight = {"a": row, "b": torch.tensor([[0.5, 0.75, 1.0, 1.25, 1.5, 0, 0, 0, 0, 0]])}
    draws = torch.full((1, 20), 0.9)
    draws[0, [0, 9, 10, 19]] = 0.2  # between 1/7 and 3/7
    moved = redistribute(mask, weight, torch.tensor([0.4], dtype=torch.float64), torch.zeros(1).double(), draws)
    assert torch.nonzero(moved["a"][0]).flatten().tolist() == [0, 2, 3, 4, 9]  # 0 and 1 went, 0 came again
    assert torch.nonzero(moved["b"][0]).flatten().tolist() == [2, 3, 4]
    draws[0, [10, 19]] = 0.1
    moved = redistribute(mask, weight, torch.tensor([0.4], dtype=torch.float64), torch.zeros(1).double(), draws)
    assert torch.nonzero(moved["b"][0]).flatten().tolist() == [0, 2, 3, 4, 9]


def test_regrowth_beyond_a_tensors_room_goes_to_the_others() -> None:
    """a has v = 0.99 and 10 weights, 8 active; rate 0.5: 4 + 50 pruned. It wants ⌈0.99 · 54⌉, and has room for
    0.99 · 6: ⌊5.94⌋ = 5 of 6 off. b, 100 of 200 active, gets what is over: its 1 and some 48 more."""
    mask = {"a": on(8, 10), "b": on(100, 200)}
    weight = {"a": torch.full((1, 10), 99.0), "b": torch.ones(1, 200)}
    zero = torch.zeros(1).double()
    draws = torch.full((1, 210), 5 / 6 - 0.001)
    full = redistribute(mask, weight, torch.tensor([0.5]).double(), zero, draws)
    assert full["a"].all()
    assert int(full["b"].sum()) == 50
    draws[:, 10:] = 48 / 150 - 0.001
    assert redistribute(mask, weight, torch.tensor([0.5]).double(), zero, draws)["b"].all()


def test_clients_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    mask = {n: torch.from_numpy(rng.random((3, 40)) < 0.5) for n in "ab"}
    weight = {n: torch.from_numpy(rng.standard_normal((3, 40)).astype(np.float32)) for n in "ab"}
    rate, correction = torch.tensor([0.1, 0.3, 0.6]).double(), torch.tensor([0.0, 3.0, -2.0]).double()
    draws = torch.from_numpy(rng.random((3, 80)))
    together = redistribute(mask, weight, rate, correction, draws)
    for i in range(3):
        one = slice(i, i + 1)
        alone = redistribute(
            {n: t[one] for n, t in mask.items()}, {n: t[one] for n, t in weight.items()},
            rate[one], correction[one], draws[one],
        )  # fmt: skip
        assert all(torch.equal(together[n][one], alone[n]) for n in "ab")


@pytest.mark.parametrize("memory", ["momentum", "squares"])
def test_what_goes_leaves_neither_value_nor_moments(memory: str) -> None:
    local = {"params": {"w": torch.ones(1, 3), "b": torch.ones(1, 1)}, memory: {"w": torch.ones(1, 3)}}
    after = remask(local, {"w": torch.tensor([[True, False, True]])})
    assert after["params"]["w"].tolist() == after[memory]["w"].tolist() == [[1.0, 0.0, 1.0]]
    assert after["params"]["b"].tolist() == [[1.0]]


def test_densities_are_scaled_and_cut_at_one() -> None:
    """δ = 0.1 of 100 and 0.4 of 10: Σ δ N = 14; for d = 0.3, r = 33/14: 0.2357, 0.9429; for d = 0.5 the second is 1."""
    shapes = {"a": (10, 10), "b": (2, 5)}
    assert consensus.scaled({"a": 0.1, "b": 0.4}, shapes, 0.3) == pytest.approx(
        {"a": 0.235714, "b": 0.942857}, abs=1e-6
    )
    assert consensus.scaled({"a": 0.1, "b": 0.4}, shapes, 0.5) == pytest.approx({"a": 0.392857, "b": 1.0}, abs=1e-6)


def test_a_mask_by_magnitude_takes_each_tensors_share_and_nests() -> None:
    """ones 6 and 2 of 8 + 8 weights; d = 0.25: r = 4/8, so 3 and 1; d = 0.75 wants more than there are: 6 and 2."""
    params = {"a": torch.arange(8.0) - 4, "b": torch.arange(8.0)}
    quarter = consensus.by_magnitude(params, {"a": 6.0, "b": 2.0}, 0.25)
    assert torch.nonzero(quarter["a"]).flatten().tolist() == [0, 1, 7]  # |w| = 4, 3, 3
    assert torch.nonzero(quarter["b"]).flatten().tolist() == [7]
    most = consensus.by_magnitude(params, {"a": 6.0, "b": 2.0}, 0.75)
    assert (int(most["a"].sum()), int(most["b"].sum())) == (6, 2)
    assert not (quarter["a"] & ~most["a"]).any()
