"""Flat params: the same tensors, side by side."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgesim.algorithms.rules import weighted_sum
from edgesim.learning import tree
from edgesim.learning.flat import Flat, Rows, difference, flat, flattened, gathered, moved, row
from edgesim.learning.tree import Params

SHAPES = {"weight": (5, 3), "bias": (5,), "scale": (), "last": (16, 2)}


def params(seed: int, *some: int) -> Params:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn((*some, *shape), generator=draw) for name, shape in SHAPES.items()}


def same(a: Params, b: Params) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_tensors_are_views_that_begin_with_a_cache_line() -> None:
    plain = params(0, 7)
    made = flat(plain, 1)
    assert same(made, plain)
    assert all(tensor.data_ptr() % 64 == 0 for tensor in made.values())
    assert all(tensor[3].is_contiguous() for tensor in made.values())
    assert flat(made, 1) is made
    assert made.whole.sum() == pytest.approx(float(sum(t.double().sum() for t in plain.values())), rel=1e-4)  # gaps: 0


def test_a_row_of_a_flat_state_is_flat() -> None:
    plain = {"params": params(0, 4), "mixed": {"on": torch.ones(4, dtype=torch.bool), "n": torch.arange(4)}, "none": {}}
    made = flattened(plain)
    assert [isinstance(group, Flat) for group in made.values()] == [True, False, False]
    for client in range(4):
        one, expected = row(made, client), tree.row(plain, client)
        assert isinstance(one["params"], Flat)
        assert list(one) == list(expected)
        assert all(same(one[group], expected[group]) for group in one)


def test_they_are_a_value() -> None:
    def made() -> Flat:
        return flat(params(0), 0)

    changes: list[Callable[[Any], object]] = [
        lambda p: p.__setitem__("bias", torch.zeros(5)), lambda p: p.pop("bias"), lambda p: p.setdefault("new", 1),
        lambda p: p.update({"new": 1}), lambda p: p.popitem(), lambda p: p.clear(), lambda p: p.__delitem__("bias"),
        lambda p: p.__ior__({"new": 1}),
    ]  # fmt: skip
    for change in changes:
        fresh = made()
        with pytest.raises(TypeError, match=r"dict\(params\)"):
            change(fresh)
        assert same(fresh, params(0))
    assert list(reversed(made())) == [*reversed(SHAPES)]
    changed = {**made(), "bias": torch.zeros(5)}
    assert changed.keys() == SHAPES.keys()


def test_what_all_clients_share_is_not_laid_out_for_each() -> None:
    shared = {"mask": {"w": torch.ones(1, 5).expand(4, 5)}, "own": {"w": torch.ones(4, 5)}}
    made = flattened(shared)
    assert made["mask"] is shared["mask"]
    assert isinstance(made["own"], Flat)


def test_a_difference_is_that_of_the_tensors() -> None:
    after, sent = params(0, 4), params(1)
    before = {name: tensor.expand(4, *tensor.shape) for name, tensor in sent.items()}
    made = difference(after, before)
    assert isinstance(made, Flat)
    assert same(made, tree.subtract(after, before))
    counted = {**after, "seen": torch.arange(4)}
    assert not isinstance(difference(counted, {**before, "seen": torch.ones(4, dtype=torch.int64)}), Flat)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=9), st.tuples(*[st.booleans()] * 3)
)
def test_clients_are_gathered_from_where_they_are(chosen: list[tuple[int, int]], is_flat: tuple[bool, ...]) -> None:
    sources = [params(seed, 4) for seed in range(3)]
    held = [flat(source, 1) if one else source for source, one in zip(sources, is_flat, strict=True)]
    pieces = []
    for number in dict.fromkeys(number for number, _ in chosen):
        places = [place for place, (source, _) in enumerate(chosen) if source == number]
        pieces.append(Rows(held[number], np.array([chosen[place][1] for place in places]), np.array(places)))
    made = gathered(pieces, len(chosen))
    assert isinstance(made, Flat)
    assert same(made, {n: torch.stack([sources[source][n][row] for source, row in chosen]) for n in SHAPES})


def test_clients_whose_tensors_lie_in_another_order_are_gathered_by_name() -> None:
    one, other = params(0, 2), params(1, 2)
    turned = flat(dict(reversed(other.items())), 1)
    pieces = [Rows(flat(one, 1), np.array([1]), np.array([0])), Rows(turned, np.array([0]), np.array([1]))]
    assert same(gathered(pieces, 2), {name: torch.stack([one[name][1], other[name][0]]) for name in SHAPES})


def test_masks_are_gathered_as_they_are() -> None:
    masks: Params = {"weight": torch.tensor([[True, False], [False, False], [True, True]])}
    one, other = Rows(masks, np.array([2]), np.array([1])), Rows(masks, np.array([0, 1]), np.array([0, 2]))
    made = gathered([one, other], 3)
    assert made["weight"].tolist() == [[True, False], [True, True], [False, False]]


def test_steps_are_the_same_to_the_bit_however_updates_lie() -> None:
    start, update = params(0), params(1, 6)
    factors = torch.rand(6, dtype=torch.float64)
    apart, together = (weighted_sum(u, factors, factors) for u in (update, flat(update, 1)))
    assert same(apart, together)
    for name, tensor in apart.items():
        expected: Tensor = torch.einsum("k,k...->...", factors.float(), update[name])
        torch.testing.assert_close(tensor, expected)
    step = moved(start, apart, 0.5)
    assert same(step, moved(start, dict(apart), 0.5))
    assert isinstance(step, Flat)
    turned = dict(reversed(start.items()))  # another order is another layout
    assert same(moved(turned, apart, 0.5), {name: step[name] for name in turned})


def test_nothing_and_tensors_of_several_types_are_summed_one_by_one() -> None:
    factors = torch.tensor([0.5, 1.0])
    assert weighted_sum({}, factors, factors) == {}
    mixed = {"a": torch.ones(2, 3), "b": torch.ones(2, 3, dtype=torch.float64)}
    assert {name: tensor.tolist() for name, tensor in weighted_sum(mixed, factors, factors).items()} == {
        "a": [1.5] * 3, "b": [1.5] * 3
    }  # fmt: skip


def test_flat_params_are_a_dict_to_whoever_looks() -> None:
    plain = params(0, 2)
    made = flat(plain, 1)
    for other in (dict(flat(plain, 1)), {**flat(plain, 1)}, flat(plain, 1) | {}, {} | flat(plain, 1), made.copy()):
        assert type(other) is dict
        assert same(other, plain)
    assert (len(made), "bias" in flat(plain, 1), "other" in flat(plain, 1)) == (4, True, False)
    assert list(flat(plain, 1).keys()) == list(plain)
    assert torch.equal(flat(plain, 1)["bias"], plain["bias"])
    assert flat(plain, 1).get("other") is None
    with pytest.raises(KeyError, match="other"):
        made["other"]


def test_a_copy_elsewhere_is_a_plain_dict() -> None:
    made = flat(params(0, 2), 1)
    copy = pickle.loads(pickle.dumps(made))
    assert type(copy) is dict
    assert same(copy, made)
