"""REFL: resource-efficient selection."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from edgesim import streams
from edgesim.devices.arrays import IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.selector import Facts, Selector

_PLACES = 10  # digits after which two shares of a window are the same


@dataclass
class Refl(Selector):
    """Those first that will hardly be there later: their data would be missed.

    Abdelmoniem, Sahu, Canini, Fahmy 2023, EuroSys, arXiv:2111.01108 (intelligent participant selection). A round is
    an aggregation, and takes about μ ← (1 − a) D + a μ, D being the time that the last one took and μ at first the
    median of what jobs are expected to take. Of the clients that are on line those are chosen that are least likely
    to be on line in [μ, 2μ] from now, by a forecast of limited accuracy; ties are broken by chance. Who was chosen
    in one of the last `rest` rounds comes after all others.

    With `adaptive` (adaptive participant target) so many fewer are chosen as there are stragglers that will report
    within μ: max(1, N − B). That is for schedules that keep late updates; the weights that the paper gives to them
    are the server's rule `refl`.
    """

    accuracy: Annotated[float, Ge(0), Le(1), Doc("how often the forecast is right; else it says the opposite")] = 0.9
    rest: Annotated[int, Ge(0), Doc("rounds in which a client is spared once it has been chosen")] = 5
    smoothing: Annotated[float, Ge(0), Le(1), Doc("a, the weight of the past in μ")] = 0.25
    adaptive: Annotated[bool, Doc("whether stragglers reduce the number chosen")] = False
    least_share: Annotated[
        float, Ge(0), Le(1), Doc("of the number wanted, that is chosen even so; the authors' code has 0.5 as a variant")
    ] = 0.0
    asked: Annotated[
        int, Gt(0), Doc("clients whose forecasts are looked at, drawn uniformly where there are more; at least four "
        "times those wanted")
    ] = 1000  # fmt: skip
    _fleet: Fleet = field(init=False, repr=False)
    _expected_ns: IntArray = field(init=False, repr=False)
    _version: int = field(init=False, default=0)  # as of the last choice
    _began_ns: int = field(init=False, default=0)  # the first choice at that version
    _round_ns: float = field(init=False, default=0.0)  # μ

    def meet(self, facts: Facts) -> None:
        self._fleet, self._expected_ns = facts.fleet, facts.expected().duration_ns
        self._round_ns = float(np.median(self._expected_ns[facts.participants]))

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        self._follow(history.version, candidates.now_ns)
        if self.adaptive:
            expected = self._stragglers(candidates, history)
            count = min(count, max(1, round(self.least_share * count), count - expected))
        drawn = candidates.shuffled(streams.key(self.seed, "select", draw), max(self.asked, 4 * count))
        some = np.array(drawn, np.int64)
        if not len(some):
            return []
        last = history.last_version[some]
        rests = (last >= 0) & (history.version - last <= self.rest)
        order = np.lexsort((self._forecast(some, candidates.now_ns), rests))
        chosen: list[int] = some[order][:count].tolist()
        return chosen

    def state(self) -> dict[str, Any]:
        return {"version": self._version, "began_ns": self._began_ns, "round_ns": self._round_ns}

    def restore(self, state: dict[str, Any]) -> None:
        self._version, self._began_ns, self._round_ns = state["version"], state["began_ns"], state["round_ns"]

    def _follow(self, version: int, now_ns: int) -> None:
        """Learn from the rounds that have passed, in equal parts of the time since the last choice of the first."""
        passed = version - self._version
        if not passed:
            return
        took_ns = (now_ns - self._began_ns) / passed
        for _ in range(passed):
            self._round_ns = (1 - self.smoothing) * took_ns + self.smoothing * self._round_ns
        self._version, self._began_ns = version, now_ns

    def _forecast(self, clients: IntArray, now_ns: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """The share of [μ, 2μ] from now that each is on line [n]."""
        round_ns = max(1, round(self._round_ns))
        since_ns = now_ns + round_ns
        share = self._fleet.availability.forecast_on(clients, since_ns, since_ns + round_ns, self.accuracy)
        return np.round(share, _PLACES)

    def _stragglers(self, candidates: Candidates, history: History) -> int:
        """How many at work will report within μ, going by their last job or else by what is expected."""
        busy = candidates.idle.busy()
        takes_ns = np.where(history.duration_ns[busy] < 0, self._expected_ns[busy], history.duration_ns[busy])
        return int(np.count_nonzero(history.dispatched_ns[busy] + takes_ns <= candidates.now_ns + self._round_ns))
