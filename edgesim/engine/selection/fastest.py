"""The choice of the fast."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from typing_extensions import Doc

from edgesim import streams
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.ranking import Ranking, by_chance
from edgesim.engine.selection.selector import Facts, Selector


@dataclass
class FastestAvailable(Selector):
    """Those whose job takes the least time, from dispatch to arrival.

    The greedy end of choosing by speed (FedCS, Nishio and Yonetani 2019, arXiv:1804.08333, fills a round with the
    fast): rounds are short, and the data of the slow is never seen, unless by exploration.
    """

    by: Annotated[
        Literal["expected", "last"],
        Doc(
            "expected: what a job takes undisturbed, by the figures of device and link; last: what the client's last "
            "job took, and clients without one come first"
        ),
    ] = "expected"
    exploration: Annotated[float, Ge(0), Le(1), Doc("share of the choices that are uniform")] = 0.0
    _ranking: Ranking | None = field(init=False, default=None, repr=False)
    _clients: int = field(init=False, default=0)

    def meet(self, facts: Facts) -> None:
        self._clients = len(facts.participants)
        if self.by == "expected":
            duration_ns = facts.expected().duration_ns.astype(np.float64)
            self._ranking = Ranking(-duration_ns, by_chance(len(duration_ns), self.seed))

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        key = streams.key(self.seed, "select", draw)
        explored = int(np.count_nonzero(streams.uniforms(np.array([key], np.uint64), count)[0] < self.exploration))
        chosen = self._fast(count - explored, candidates, history, streams.key(key, "new"))
        return chosen + candidates.shuffled(
            streams.key(key, "explore"), count - len(chosen), but={*chosen}.__contains__
        )

    def _fast(self, count: int, candidates: Candidates, history: History, key: int) -> list[int]:
        if self._ranking is not None:
            return candidates.first(self._ranking, count)
        heard = history.heard()
        known = len(heard) == self._clients
        unknown = [] if known else candidates.shuffled(key, count, but=lambda client: not history.is_new(client))
        by_last = heard[np.argsort(history.duration_ns[heard], kind="stable")]
        return unknown + candidates.first([by_last], count - len(unknown))
