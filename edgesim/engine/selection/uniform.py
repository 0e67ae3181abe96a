"""The uniform choice."""

from collections.abc import Callable
from dataclasses import dataclass

from edgesim import streams
from edgesim.engine.history import History
from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.selection.selector import Selector


@dataclass(frozen=True)
class Uniform(Selector):
    """Uniformly among the available idle clients.

    Idle clients are shuffled only as far as it takes to meet enough that are on line, so a choice costs the
    same in a fleet of any size.
    """

    seed: int  # with the number of the draw it keys the random numbers

    def select(
        self, count: int, draw: int, idle: IdleClients, is_on: Callable[[int], bool], history: History
    ) -> list[int]:
        chosen: list[int] = []
        numbers = streams.sequence(streams.key(self.seed, "select", draw))
        for position in range(len(idle)):
            if len(chosen) == count:
                break
            client = idle.draw(position, next(numbers))
            if is_on(client):
                chosen.append(client)
        return chosen
