"""The choice by data size."""

from dataclasses import dataclass, field

from edgesim import streams
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.selector import Facts, Selector
from edgesim.engine.selection.weighted import Weighted


@dataclass
class DataSize(Selector):
    """In proportion to training samples, one client after the other, without replacement.

    With it, and updates that count equally, each sample has the same say (Li et al. 2020, arXiv:1907.02189,
    scheme II, but for the replacement).
    """

    _weighted: Weighted = field(init=False, repr=False)

    def meet(self, facts: Facts) -> None:
        self._weighted = Weighted(facts.samples)

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        return self._weighted.draw(count, candidates, streams.key(self.seed, "select", draw))
