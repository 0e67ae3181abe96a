"""Oort's pacer: how long a job may take before its client's utility is cut."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Pacer:
    """The preferred duration of a round as a percentile of all clients' durations.

    Every `step` rounds from round 2 `step` on, the utility that exploited clients brought in the last `step` rounds
    is held against that of the `step` rounds before. If it has become flat, |now − before| ≤ 10 % of before, slower
    clients are let in: the percentile rises by `delta`, up to 100. If it has changed sharply, by 500 % or more, it
    falls by `delta`, down to that.

    Attributes: percentile; rounds, that have begun; utility, of those that count, the last 2 `step`.
    """

    percentile: float
    step: int
    delta: float
    rounds: int = 0
    utility: list[float] = field(default_factory=list)

    def end_round(self, utility: float) -> None:
        """A round's exploited clients have brought this utility in the mean; the next one begins."""
        self.rounds += 1
        self.utility = [*self.utility, utility][-2 * self.step :]
        if self.rounds >= 2 * self.step and self.rounds % self.step == 0:
            self._compare(sum(self.utility[self.step :]), sum(self.utility[: self.step]))

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain data."""
        return {"percentile": self.percentile, "rounds": self.rounds, "utility": list(self.utility)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.percentile, self.rounds, self.utility = state["percentile"], state["rounds"], list(state["utility"])

    def _compare(self, now: float, before: float) -> None:
        change = abs(now - before)
        if change <= 0.1 * before:
            self.percentile = min(100.0, self.percentile + self.delta)
        elif change >= 5 * before:
            self.percentile = max(self.delta, self.percentile - self.delta)
