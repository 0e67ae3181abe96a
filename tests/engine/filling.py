"""The slow reference for flows: max-min fair rates by progressive filling, in exact fractions, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

SECOND_NS = 10**9


def fill(paths: Mapping[int, Sequence[str]], capacity: Mapping[str, Fraction]) -> dict[int, Fraction]:
    """The rate of each flow over the links that it crosses: all rise together until a link is full, again and again."""
    rates, rising = dict.fromkeys(paths, Fraction(0)), set(paths)
    while rising:
        room = {
            link: (limit - sum(rates[flow] for flow in paths if link in paths[flow])) / count
            for link, limit in capacity.items()
            if (count := sum(link in paths[flow] for flow in rising))
        }
        step = min(room.values())
        for flow in rising:
            rates[flow] += step
        full = {link for link, left in room.items() if left == step}
        rising = {flow for flow in rising if not full.intersection(paths[flow])}
    return rates


@dataclass
class Slow:
    """Flows one by one. Times are exact fractions of a ns."""

    now: Fraction = Fraction(0)
    paths: dict[int, Sequence[str]] = field(default_factory=dict)
    left: dict[int, Fraction] = field(default_factory=dict)
    capacity: dict[str, Fraction] = field(default_factory=dict)  # bit/s
    done: dict[int, Fraction] = field(default_factory=dict)

    def start(self, flow: int, size_bytes: int, path: Sequence[str]) -> None:
        self.paths[flow], self.left[flow] = path, Fraction(8 * size_bytes)

    def stop(self, flow: int) -> None:
        del self.paths[flow], self.left[flow]

    def advance(self, until: Fraction | int) -> None:
        """To a time in ns; completions on the way go to `done`."""
        while self.now < until:
            self._complete()
            rates = fill(self.paths, self.capacity)
            ends = [self.now + SECOND_NS * self.left[flow] / rate for flow, rate in rates.items() if rate]
            then = min([Fraction(until), *ends])
            for flow, rate in rates.items():
                self.left[flow] -= rate * (then - self.now) / SECOND_NS
            self.now = then
        self._complete()

    def _complete(self) -> None:
        for flow in [flow for flow, left in self.left.items() if left <= 0]:
            self.done[flow] = self.now
            self.stop(flow)
