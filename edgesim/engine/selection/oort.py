"""Oort: guided participant selection."""

from dataclasses import dataclass, field
from math import floor, inf, log
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from edgesim import streams
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.pacer import Pacer
from edgesim.engine.selection.ranking import Ranking, by_chance
from edgesim.engine.selection.selector import Facts, Selector
from edgesim.engine.selection.weighted import draw_by

_Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
_Count: TypeAlias = Annotated[int, Gt(0)]


@dataclass
class Oort(Selector):
    """Clients whose data help most, as far as they are fast: exploited by utility, explored by speed and size.

    Lai, Zhu, Madhyastha, Chowdhury 2021, OSDI, arXiv:2010.06081; defaults are those of the authors' code (github
    SymbioticLab/Oort). A round is an aggregation; R, the number of the one that is under way, begins at 1.

    Utility of a client whose update arrived: U = |B| · sqrt(mean squared loss of its samples), by the model from
    which it began to train. Of K clients wanted, (1 − ε) K are exploited: with the utilities that are known,
    brought to [0, 1] and cut off at a percentile, a client's score is

        (min(U, clip) − min) / range + sqrt(0.1 ln R / R_last),   times (T / t)^α where its job took t > T,

    and all with at least `cut_off` times the score of rank (1 − ε) K are drawn from in proportion to their scores.
    The rest are explored: of clients never heard of, the `window` · (number wanted) with most samples, discounted
    for their expected duration likewise, are drawn from in proportion to that. ε falls by `decay` each round down to
    its `floor`, and is 0 once nobody is left to explore. T follows the `Pacer`. Too many dispatched on purpose (1.3
    times, there) is a matter of the schedule.

    The authors' code cuts (1 − ε) K down to a whole number, so that choices of one client never exploit. Here the
    fraction is a chance.
    """

    wants_loss: ClassVar[bool] = True

    exploration: Annotated[_Share, Doc("ε at the beginning")] = 0.9
    exploration_decay: Annotated[_Share, Doc("factor of ε in each round; FedScale and REFL: 0.98")] = 0.95
    exploration_floor: Annotated[_Share, Doc("ε never falls below; FedScale and REFL: 0.3")] = 0.2
    cut_off: Annotated[_Share, Doc("share of the score of the last rank that is good enough; others: 0.05")] = 0.7
    clip: Annotated[_Share, Doc("utilities above this quantile count as it; FedScale and REFL: 0.9")] = 0.98
    penalty: Annotated[float, Ge(0), Doc("α, how hard slowness counts")] = 2.0
    percentile: Annotated[float, Gt(0), Le(100), Doc("of all durations, T to begin with; FedScale and REFL: 30")] = 10.0
    pacer_step: Annotated[_Count, Doc("rounds between two looks of the pacer")] = 20
    pacer_delta: Annotated[float, Gt(0), Le(100), Doc("by how much it moves the percentile")] = 5.0
    window: Annotated[float, Ge(1), Doc("how many are considered for each one that is explored")] = 5.0
    most_jobs: Annotated[
        _Count | None, Doc("clients with more aggregated updates are left out, at most 30 % of all; none: nobody is")
    ] = None
    _pacer: Pacer = field(init=False, repr=False)
    _samples: IntArray = field(init=False, repr=False)
    _all: IntArray = field(init=False, repr=False)  # who may be chosen
    _expected_ns: IntArray = field(init=False, repr=False)
    _ties: IntArray = field(init=False, repr=False)
    _round: int = field(init=False, default=0)  # the last one that was asked about; 0: none
    _preferred_ns: float = field(init=False, default=inf)  # T
    _exploited: dict[int, int] = field(init=False, default_factory=dict)  # client → its updates when it was chosen
    _fresh: Ranking | None = field(init=False, default=None, repr=False)  # by what exploring promises, under T

    def meet(self, facts: Facts) -> None:
        self._samples, self._expected_ns = facts.samples, facts.expected().duration_ns
        self._all = facts.participants
        self._ties = by_chance(len(facts.samples), self.seed)
        self._pacer = Pacer(self.percentile, self.pacer_step, self.pacer_delta)

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        if self._round <= history.version:
            self._begin_round(history, candidates)
        key, barred = streams.key(self.seed, "select", draw), self._barred(history)
        known = candidates.of(history.heard())
        known = known[~np.isin(known, barred)] if len(barred) else known
        share = (1 - self.epsilon(history)) * count
        wanted = floor(share) + (next(streams.sequence(key)) < share % 1)
        chosen = self._exploit(min(wanted, len(known)), known, history, streams.key(key, "exploit"))
        self._exploited.update((client, int(history.arrived[client])) for client in chosen)
        chosen += self._explore(count - len(chosen), candidates, history, streams.key(key, "explore"))
        left_out = {*chosen, *barred.tolist()}
        return chosen + candidates.shuffled(streams.key(key, "rest"), count - len(chosen), but=left_out.__contains__)

    def epsilon(self, history: History) -> float:
        """ε, the share that is explored."""
        if len(history.heard()) == len(self._all):
            return 0.0
        return max(self.exploration * self.exploration_decay ** (history.version + 1), self.exploration_floor)

    def scores(self, clients: IntArray, history: History) -> FloatArray:
        """Of clients whose updates have arrived [n], at least one."""
        utility = self._utility(clients, history)
        ordered = np.sort(utility[utility > 0]) if (utility > 0).any() else np.zeros(1)
        clip, least = ordered[min(int(len(ordered) * self.clip), len(ordered) - 1)], 0.999 * ordered[0]
        spread = max(ordered[-1] - least, 1e-4)
        waited = np.sqrt(0.1 * log(history.version + 1) / (history.last_version[clients] + 1))
        scores: FloatArray = np.maximum((np.minimum(utility, clip) - least) / spread + waited, 0.0)
        return scores * self._discount(history.duration_ns[clients])

    def state(self) -> dict[str, Any]:
        return {
            "round": self._round,
            "preferred_ns": self._preferred_ns,
            "exploited": dict(self._exploited),
            "pacer": self._pacer.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._round, self._preferred_ns = state["round"], state["preferred_ns"]
        self._exploited, self._fresh = dict(state["exploited"]), None
        self._pacer.restore(state["pacer"])

    def _begin_round(self, history: History, candidates: Candidates) -> None:
        """Take stock of what the exploited have brought, once for each round that has passed, and set T anew."""
        done = [client for client, before in self._exploited.items() if history.arrived[client] > before]
        utility = float(self._utility(np.array(done, np.int64), history).mean()) if done else 0.0
        for _ in range(self._round, history.version + 1):
            self._pacer.end_round(utility)
        self._round = history.version + 1
        over = {*done, *(client for client in self._exploited if client in candidates.idle)}
        self._exploited = {client: before for client, before in self._exploited.items() if client not in over}
        preferred_ns = self._preferred(history)
        if preferred_ns != self._preferred_ns:
            self._preferred_ns, self._fresh = preferred_ns, None

    def _preferred(self, history: History) -> float:
        """T: the pacer's percentile of all clients' durations, their last ones or else the expected."""
        if self._pacer.percentile >= 100:
            return inf
        duration_ns: IntArray = np.where(history.duration_ns < 0, self._expected_ns, history.duration_ns)[self._all]
        place = min(int(len(duration_ns) * self._pacer.percentile / 100), len(duration_ns) - 1)
        return float(np.partition(duration_ns, place)[place])

    def _utility(self, clients: IntArray, history: History) -> FloatArray:
        """U of clients whose updates have arrived [n]; 0 where no loss is known."""
        loss: FloatArray = np.sqrt(history.mean_square_loss(clients))
        loss[np.isnan(loss)] = 0.0
        return self._samples[clients] * loss

    def _discount(self, duration_ns: IntArray) -> FloatArray:
        """(T / t)^α where t > T, else 1 [n]."""
        discount: FloatArray = np.minimum(1.0, self._preferred_ns / np.maximum(duration_ns, 1)) ** self.penalty
        return discount

    def _exploit(self, count: int, known: IntArray, history: History, key: int) -> list[int]:
        if not count:
            return []
        scores = self.scores(known, history)
        last = np.partition(scores, len(scores) - count)[len(scores) - count]
        good = scores >= self.cut_off * last
        return draw_by(scores[good], known[good], count, key)

    def _explore(self, count: int, candidates: Candidates, history: History, key: int) -> list[int]:
        if not count or len(history.heard()) == len(self._all):
            return []
        if self._fresh is None:
            self._fresh = Ranking(self._promise(np.arange(len(self._samples))), self._ties)
        fresh = (piece[history.arrived[piece] == 0] for piece in self._fresh)
        best = np.array(candidates.first(fresh, int(self.window * count)), np.int64)
        return draw_by(self._promise(best), best, count, key)

    def _promise(self, clients: IntArray) -> FloatArray:
        """What exploring each of them promises [n]."""
        promise: FloatArray = self._samples[clients] * self._discount(self._expected_ns[clients])
        return promise

    def _barred(self, history: History) -> IntArray:
        """Who has done enough: at most 30 % of all, those with most updates."""
        if self.most_jobs is None:
            return np.zeros(0, np.int64)
        over = np.flatnonzero(history.aggregated > self.most_jobs)
        by_jobs = over[np.argsort(-history.aggregated[over], kind="stable")]
        return by_jobs[: int(0.3 * len(self._all))]
