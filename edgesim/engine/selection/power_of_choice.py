"""The choice of those that the model serves worst."""

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from typing_extensions import Doc

from edgesim import streams
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.selector import Facts, Selector
from edgesim.engine.selection.weighted import Weighted


@dataclass
class PowerOfChoice(Selector):
    """Of `candidates` clients drawn at random, those with the largest loss.

    Cho, Wang, Joshi 2020, arXiv:2010.01243, in the variant rpow-d: a client's loss is the one that came with its
    last update, so nothing is asked of candidates; clients that have sent none come first. The loss is the mean
    over its training samples, of the model from which it began to train.
    """

    wants_loss: ClassVar[bool] = True

    candidates: Annotated[Annotated[int, Gt(0)] | None, Doc("d, clients drawn; by default twice those wanted")] = None
    draw_by: Annotated[
        Literal["data-size", "uniform"], Doc("how they are drawn: in proportion to their samples, or uniformly")
    ] = "data-size"
    _weighted: Weighted = field(init=False, repr=False)

    def meet(self, facts: Facts) -> None:
        self._weighted = Weighted(facts.samples)

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        key = streams.key(self.seed, "select", draw)
        size = max(count, self.candidates or 2 * count)
        if self.draw_by == "uniform":
            drawn = candidates.shuffled(key, size)
        else:
            drawn = self._weighted.draw(size, candidates, key)
        loss = {client: inf if (known := history.loss(client)) is None else known.mean for client in drawn}
        return sorted(drawn, key=lambda client: -loss[client])[:count]
