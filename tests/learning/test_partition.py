"""Partitions: pure in (labels, seed), covering, disjoint, never empty, with the skew that they promise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.arrays import IntArray
from edgesim.learning.dealing import MINIMUM, _draw
from edgesim.learning.partition import classes_per_client, dirichlet, iid, natural, quantity, split
from edgesim.learning.shards import Shards

LABELS = np.arange(2000) % 10
KINDS: dict[str, Callable[[IntArray, int, np.random.Generator], Shards]] = {
    "iid": iid,
    "dirichlet": lambda labels, clients, rng: dirichlet(labels, clients, rng, alpha=0.1),
    "balanced": lambda labels, clients, rng: dirichlet(labels, clients, rng, alpha=0.1, balanced=True),
    "classes": lambda labels, clients, rng: classes_per_client(labels, clients, rng, per_client=2),
    "skewed": lambda labels, clients, rng: classes_per_client(labels, clients, rng, per_client=2, dominance=0.8),
    "quantity": lambda labels, clients, rng: quantity(labels, clients, rng, alpha=0.5),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def histogram(parts: Shards, labels: IntArray = LABELS) -> IntArray:
    """Samples of each class that each client holds, [client, class]."""
    return np.array([np.bincount(labels[part], minlength=10) for part in parts])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clients", [5, 37, 400])
def test_every_sample_goes_to_exactly_one_client(kind: str, clients: int) -> None:
    parts = KINDS[kind](LABELS, clients, rng())
    assert parts.clients == clients
    assert np.sort(parts.index).tolist() == list(range(2000))
    assert parts.count.min() >= MINIMUM


@pytest.mark.parametrize("kind", KINDS)
def test_a_partition_follows_its_seed_alone(kind: str) -> None:
    first, again, other = (KINDS[kind](LABELS, 20, rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@given(st.integers(1, 40), st.integers(0, 99), st.floats(1e-3, 100), st.booleans())
def test_dirichlet_serves_everyone_however_uneven(clients: int, seed: int, alpha: float, balanced: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, 80)
    parts = dirichlet(labels, clients, rng(seed), alpha=alpha, balanced=balanced)
    assert np.sort(parts.index).tolist() == list(range(80))
    sizes = parts.count.tolist()
    assert min(sizes) >= MINIMUM
    if balanced:
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("balanced", [False, True])
def test_small_alpha_is_skewed_and_large_alpha_is_nearly_iid(balanced: bool) -> None:
    """Share of a client's samples in its most frequent class, mean over clients: 0.1 would be even."""
    top = {}
    for alpha in (0.05, 1000.0):
        counts = histogram(dirichlet(LABELS, 20, rng(), alpha=alpha, balanced=balanced))
        top[alpha] = float((counts.max(1) / counts.sum(1)).mean())
    assert top[0.05] > 0.5
    assert top[1000.0] < 0.2


def test_balanced_dirichlet_gives_early_and_late_clients_the_same_skew() -> None:
    """Clients take turns: exhausted classes do not hit the last clients only (±0.1 over 200 clients)."""
    counts = histogram(dirichlet(LABELS, 200, rng(3), alpha=0.3, balanced=True))
    top = counts.max(1) / counts.sum(1)
    assert abs(top[:100].mean() - top[100:].mean()) < 0.1


def test_balanced_dirichlet_draws_from_the_prior() -> None:
    """Two clients with uniform priors (α = 10⁶): 250 of 500 draws, give or take three standard deviations."""
    labels = np.arange(1000) % 2
    counts = np.array([np.bincount(labels[p]) for p in dirichlet(labels, 2, rng(), alpha=1e6, balanced=True)])
    assert counts.sum(1).tolist() == [500, 500]
    assert abs(counts[0, 0] - 250) < 3 * (500 * 0.25) ** 0.5


@pytest.mark.parametrize(("clients", "per_client"), [(5, 2), (7, 3), (30, 4), (10, 10)])
def test_each_client_holds_its_number_of_classes_and_holders_are_even(clients: int, per_client: int) -> None:
    counts = histogram(classes_per_client(LABELS, clients, rng(), per_client=per_client))
    assert ((counts > 0).sum(1) == per_client).all()
    holders = (counts > 0).sum(0)
    assert holders.max() - holders.min() <= 1
    for label in range(10):
        mine = counts[counts[:, label] > 0, label]
        assert mine.max() - mine.min() <= 1


def test_below_full_dominance_all_hold_all_classes_in_skewed_amounts() -> None:
    """20 clients of 100 samples; 200 of each class, 160 for its 4 holders and 40 for all: 42 or 2 of a class each."""
    counts = histogram(classes_per_client(LABELS, 20, rng(), per_client=2, dominance=0.8))
    assert sorted(set(counts.ravel().tolist())) == [2, 42]
    assert ((counts == 42).sum(1) == 2).all()
    assert ((counts == 42).sum(0) == 4).all()


def test_the_holders_part_of_a_class_is_rounded() -> None:
    """Two clients, a class each of 7 samples: 0.8 · 7 = 5.6, so 6 go to its holder, and one to either by lot."""
    labels, seen = np.repeat([0, 1], 7), set()
    for seed in range(20):
        parts = classes_per_client(labels, 2, np.random.default_rng(seed), per_client=1, dominance=0.8)
        seen |= {tuple(sorted(column)) for column in histogram(parts, labels).T[:2].tolist()}
    assert seen == {(0, 7), (1, 6)}


def test_who_has_none_of_its_classes_left_draws_any_that_are() -> None:
    """The first client's classes have run out, of the three the first and the last are open; the second's has not."""
    mass, open_ = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.25]]), np.array([True, False, True])
    drawn = _draw(mass, open_, np.repeat([0, 1], 1000), rng())
    assert np.bincount(drawn[:1000], minlength=3) == pytest.approx([500, 0, 500], abs=80)
    assert (drawn[1000:] == 2).all()


def test_quantity_skews_sizes_and_not_classes() -> None:
    uneven, even = (histogram(quantity(LABELS, 20, rng(), alpha=alpha)) for alpha in (0.2, 1e6))
    assert even.sum(1).max() - even.sum(1).min() <= 2  # rounding of the cuts
    assert uneven.sum(1).max() > 5 * np.median(uneven.sum(1))
    largest = uneven[uneven.sum(1).argmax()]
    assert largest.max() / largest.sum() < 0.2  # a tenth would be even


def test_natural_clients_are_owners_drawn_by_lot() -> None:
    owners = np.repeat([7, 3, 9, 5], [4, 1, 6, 2])
    parts = natural(owners, 3, rng())
    assert [part.tolist() for part in parts] == [[11, 12], [0, 1, 2, 3], [5, 6, 7, 8, 9, 10]]
    drawn = {tuple(owners[natural(owners, 1, rng(seed), at_least=4).of(0)]) for seed in range(20)}
    assert drawn == {(7,) * 4, (9,) * 6}
    with pytest.raises(ValueError, match="4 clients: of the data's 4 owners 3 have at least 2 samples; use 1 to 3"):
        natural(owners, 4, rng())


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="alpha is 0: it must be above 0"):
        quantity(LABELS, 5, rng(), alpha=0)
    with pytest.raises(ValueError, match="client 1000 gets 0 samples and needs 2: 2000 samples serve at most 1000"):
        iid(LABELS, 1001, rng())
    with pytest.raises(ValueError, match="0 clients: there must be at least 1"):
        iid(LABELS, 0, rng())
    with pytest.raises(ValueError, match="alpha is 0: it must be above 0"):
        dirichlet(LABELS, 5, rng(), alpha=0)
    with pytest.raises(ValueError, match="11 classes per client: the data has 10 classes"):
        classes_per_client(LABELS, 5, rng(), per_client=11)
    with pytest.raises(ValueError, match="3 clients with 2 classes each cannot hold all 10 classes: use at least 5"):
        classes_per_client(LABELS, 3, rng(), per_client=2)
    with pytest.raises(ValueError, match="3 clients with 3 classes each cannot hold all 10 classes: use at least 4"):
        classes_per_client(LABELS, 3, rng(), per_client=3)
    with pytest.raises(ValueError, match="2000 samples serve at most 1000 clients, not 1001; use fewer"):
        classes_per_client(LABELS, 1001, rng(), per_client=2)
    scarce = np.array([0] * 30 + [1])
    with pytest.raises(ValueError, match=r"client \d+ gets [01] samples of its 1 classes and needs 2"):
        classes_per_client(scarce, 4, rng(), per_client=1)


@given(st.integers(0, 999), st.floats(0.01, 0.99))
def test_split_is_stratified_disjoint_and_never_empty(seed: int, share: float) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, 200)
    parts = dirichlet(labels, 12, rng(seed), alpha=0.5)
    train, test = split(parts, labels, share, rng(seed))
    for part, mine, kept in zip(parts, train, test, strict=True):
        assert np.sort(np.concatenate([mine, kept])).tolist() == part.tolist()
        assert len(kept) == min(max(round(share * len(part)), 1), len(part) - 1)
        exact = np.bincount(labels[part], minlength=5) * share
        if 1 <= round(share * len(part)) < len(part):
            assert (np.abs(np.bincount(labels[kept], minlength=5) - exact) < 1).all()


def test_split_follows_its_seed_and_refuses_what_cannot_be_split() -> None:
    parts = iid(LABELS, 10, rng())
    first, again, other = (split(parts, LABELS, 0.25, rng(seed))[1] for seed in (0, 0, 1))
    assert np.array_equal(first.index, again.index)
    assert not np.array_equal(first.index, other.index)
    with pytest.raises(ValueError, match="test share 1: it must lie between 0 and 1"):
        split(parts, LABELS, 1, rng())
    with pytest.raises(ValueError, match="client 1 has 1 samples; a train and a test part need 2"):
        split(Shards.of_parts([np.arange(5), np.array([7])]), LABELS, 0.5, rng())


def test_shards_keep_each_clients_stretch() -> None:
    shards = Shards.of_parts([np.array([4, 5]), np.array([], np.int64), np.array([9])])
    assert (shards.clients, shards.count.tolist(), shards.offset.tolist()) == (3, [2, 0, 1], [0, 2, 2, 3])
    assert [shards.of(client).tolist() for client in range(3)] == [[4, 5], [], [9]]
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match=f"client {wrong}: there are clients 0 to 2"):
            shards.of(wrong)
    for offset in ([0, 2, 1, 3], [0, 2], [1, 3], [0, 4], []):
        with pytest.raises(ValueError, match="offset must rise from 0 to 3"):
            Shards(index=np.arange(3), offset=np.array(offset))
    assert (Shards.of_parts([]).clients, Shards.of_parts([]).most) == (0, 0)
