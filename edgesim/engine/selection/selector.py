"""What a selector is asked, and what it is told of the clients before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.expected import Expected


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the clients before anything has happened.

    Attributes:
        fleet: their devices.
        samples: their training samples [client].
        participants: the numbers of those that may be chosen [n].
        expected: what a job of each would take; worked out for who asks.
        charge: the state of charge, from 0 to 1, of these clients' batteries at that time [n], NaN where there is
            none; None: there are no batteries.
    """

    fleet: Fleet
    samples: IntArray
    participants: IntArray
    expected: Callable[[], Expected]
    charge: Callable[[IntArray, int], FloatArray] | None = None


@dataclass
class Selector:
    """Whom of the idle clients the server dispatches to: the base of all selectors.

    Fields are the selector's options, but for the first.

    Attributes: seed, from which all that it draws follows, together with the number of the choice; wants_loss,
    whether it reads `History.loss`, which makes clients report their losses.
    """

    wants_loss: ClassVar[bool] = False

    seed: int

    def meet(self, facts: Facts) -> None:
        """Take note of the clients; once, before the first choice."""

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        """At most `count` of the candidates, all different; `draw` numbers the choices.

        Fewer only where there are no more, or where it is the selector's way.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain data."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
