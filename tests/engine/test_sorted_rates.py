"""Sorted rates: whatever comes and goes, they answer as a plain list does."""

import random
from collections.abc import Iterator

import pytest

from edgesim.engine.rates import _BLOCK, SortedRates


def check(rates: SortedRates, kept: list[int], low: int, high: int) -> None:
    """The answers around two levels, against what `kept` sums up to one by one."""
    assert (rates.total, rates.count) == (sum(kept), len(kept))
    for level in (low, low + 1, high):
        assert rates.sent(level) == (sum(min(rate, level) for rate in kept), sum(rate > level for rate in kept))
    assert list(rates.between(low, high)) == sorted({rate for rate in kept if low < rate <= high})


def levels(chance: random.Random, highest: int) -> Iterator[tuple[int, int]]:
    """Two levels in order, which stay for a few turns, as those of a pipe do."""
    while True:
        low, high = sorted(chance.choices(range(highest + 2), k=2))
        for _ in range(chance.randrange(1, 6)):
            yield low, high


@pytest.mark.parametrize("highest", [3, 500, 10**6])
def test_a_multiset_that_comes_and_goes_is_that_of_a_plain_list(highest: int) -> None:
    """Up to several blocks of distinct rates, down to none, and up again; rates of 0 are devices in an outage."""
    chance = random.Random(highest)
    rates, kept, asked = SortedRates(), list[int](), levels(chance, highest)
    for size in (6 * _BLOCK, 0, 3 * _BLOCK, _BLOCK // 2, 0, 2):
        while len(kept) != size:
            more = chance.random() < (0.8 if len(kept) < size else 0.2)
            if more or not kept:
                kept.append(chance.randrange(highest + 1))
                rates.add(kept[-1])
            else:
                rates.remove(kept.pop(chance.randrange(len(kept))))
            check(rates, kept, *next(asked))


@pytest.mark.parametrize("step", [1, -1])
def test_no_block_grows_beyond_its_size(step: int) -> None:
    """Rates in order, up or down, always join the last or the first block; each but the ends is in one."""
    rates = SortedRates()
    for rate in range(1, 10 * _BLOCK)[::step]:
        rates.add(rate)
    sizes = [len(block) for block in rates._rates]
    assert sum(sizes) == 10 * _BLOCK - 1
    assert _BLOCK // 2 <= min(sizes) <= max(sizes) <= _BLOCK
