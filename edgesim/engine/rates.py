"""Rates: the access rates of flows, in order, so that what they send under a common limit is known at once.

n flows of rates a under the level x send Σ min(a, x): linear in x between two neighbouring rates. The piece
of the last question is kept, since the next one is mostly about the same.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import mul

_BLOCK = 128  # distinct rates in a block before it is split: what an insertion may have to move


class SortedRates:
    """A multiset of whole numbers in sorted blocks, with the sum and the number of those in each.

    Attributes: total, their sum; count, how many there are.
    """

    __slots__ = ("_above", "_below", "_block_counts", "_block_sums", "_counts", "_high", "_last", "_low", "_rates",
                 "count", "total")  # fmt: skip

    def __init__(self) -> None:
        self.total = self.count = 0
        self._rates: list[list[int]] = []
        self._counts: list[list[int]] = []
        self._last: list[int] = []  # the largest rate of each block
        self._block_sums: list[int] = []
        self._block_counts: list[int] = []
        # in low ≤ x < high there is no rate but low: the flows send below + above · x
        self._low, self._high, self._below, self._above = 1, 0, 0, 0

    def add(self, rate: int) -> None:
        """Another flow of this rate."""
        self.total += rate
        self.count += 1
        if rate <= self._low:
            self._below += rate
        elif rate >= self._high:
            self._above += 1
        else:
            self._low, self._high = 1, 0
        if not self._rates:
            self._insert_block(0, [rate], [0])
        block = min(bisect_left(self._last, rate), len(self._last) - 1)
        rates, counts = self._rates[block], self._counts[block]
        place = bisect_left(rates, rate)
        if place == len(rates) or rates[place] != rate:
            rates.insert(place, rate)
            counts.insert(place, 0)
            self._last[block] = rates[-1]
        counts[place] += 1
        self._block_sums[block] += rate
        self._block_counts[block] += 1
        if len(rates) > _BLOCK:
            self._split(block)

    def remove(self, rate: int) -> None:
        """One flow of this rate fewer; there is one."""
        self.total -= rate
        self.count -= 1
        if rate <= self._low:
            self._below -= rate
        else:  # there is none within the piece
            self._above -= 1
        block = bisect_left(self._last, rate)
        rates, counts = self._rates[block], self._counts[block]
        place = bisect_left(rates, rate)
        counts[place] -= 1
        self._block_sums[block] -= rate
        self._block_counts[block] -= 1
        if not counts[place]:
            del rates[place], counts[place]
            if rates:
                self._last[block] = rates[-1]
            else:
                del self._rates[block], self._counts[block], self._last[block]
                del self._block_sums[block], self._block_counts[block]

    def sent(self, level: int) -> tuple[int, int]:
        """What all send together if none may exceed `level`, and by how much more for each unit of level more."""
        if not self._low <= level < self._high:
            self._seek(level)
        return self._below + self._above * level, self._above

    def between(self, low: int, high: int) -> Iterator[int]:
        """The distinct rates with low < rate ≤ high, in order; the multiset must not change meanwhile."""
        for block in range(bisect_right(self._last, low), len(self._last)):
            rates = self._rates[block]
            yield from rates[bisect_right(rates, low) : bisect_right(rates, high)]
            if rates[-1] > high:
                return

    def _seek(self, level: int) -> None:
        block = bisect_right(self._last, level)
        below, lower = sum(self._block_sums[:block]), sum(self._block_counts[:block])
        self._low, self._high = self._last[block - 1] if block else 0, level + 1
        if block < len(self._last):
            rates, counts = self._rates[block], self._counts[block]
            place = bisect_right(rates, level)
            below += sum(map(mul, rates[:place], counts[:place]))
            lower += sum(counts[:place])
            self._low, self._high = rates[place - 1] if place else self._low, rates[place]
        self._below, self._above = below, self.count - lower

    def _split(self, block: int) -> None:
        half = _BLOCK // 2
        rates, counts = self._rates[block], self._counts[block]
        self._insert_block(block + 1, rates[half:], counts[half:])
        del rates[half:], counts[half:]
        self._last[block] = rates[-1]
        self._block_sums[block] -= self._block_sums[block + 1]
        self._block_counts[block] -= self._block_counts[block + 1]

    def _insert_block(self, at: int, rates: list[int], counts: list[int]) -> None:
        self._rates.insert(at, rates)
        self._counts.insert(at, counts)
        self._last.insert(at, rates[-1])
        self._block_sums.insert(at, sum(map(mul, rates, counts)))
        self._block_counts.insert(at, sum(counts))
