"""The choice by energy."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from annotated_types import Gt
from typing_extensions import Doc

from edgesim import streams
from edgesim.devices.arrays import FloatArray
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.ranking import Ranking, by_chance
from edgesim.engine.selection.selector import Facts, Selector


@dataclass
class EnergyAware(Selector):
    """Those with the fullest batteries; where no device has one, those whose job takes the least energy.

    The state of charge is compared in hundredths; among equals the job that is expected to take less energy wins. A
    device without a battery counts as full. Levels are looked up for `asked` clients drawn uniformly, since each
    takes a walk along its battery's course. A choice after AutoFL's and EAFL's idea (Arouj and Abdelmoniem 2022,
    arXiv:2208.04505), without their further terms.
    """

    asked: Annotated[
        int, Gt(0), Doc("clients whose batteries are looked at, where there are more; at least twice those wanted")
    ] = 1000
    _facts: Facts = field(init=False, repr=False)
    _energy_j: FloatArray = field(init=False, repr=False)
    _ranking: Ranking = field(init=False, repr=False)

    def meet(self, facts: Facts) -> None:
        self._facts, self._energy_j = facts, facts.expected().energy_j
        self._ranking = Ranking(-self._energy_j, by_chance(len(self._energy_j), self.seed))

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        if self._facts.charge is None:
            return candidates.first(self._ranking, count)
        key = streams.key(self.seed, "select", draw)
        some = np.array(candidates.shuffled(key, max(self.asked, 2 * count)), np.int64)
        charge = np.nan_to_num(self._facts.charge(some, candidates.now_ns), nan=1.0)
        order = np.lexsort((self._energy_j[some], -np.round(charge, 2)))
        chosen: list[int] = some[order][:count].tolist()
        return chosen
