"""The roster: which clients are idle, who of them works next, and when one that is away comes back."""

from collections.abc import Callable
from typing import Any

from edgesim.devices.availability import NEVER
from edgesim.devices.fleet import Fleet
from edgesim.engine.history import History
from edgesim.engine.learning import Learning
from edgesim.engine.power import Power
from edgesim.engine.presence import Presence
from edgesim.engine.room import Room
from edgesim.engine.rules import Rules
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.expected import expect
from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.selection.selector import Facts, Selector

_PARTS = ("selector", "idle", "room")


class Roster:
    """Attributes: draws, choices of clients so far; selector, who chooses; idle, among whom; room, in their memory."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        learning: Learning,
        selector: Selector,
        rules: Rules,
        history: History,
        presence: Presence,
        power: Power | None,
    ) -> None:
        self.draws, self.selector = 0, selector
        self.idle, self.room = IdleClients(len(fleet)), Room(fleet, learning, rules)
        self._history, self._presence = history, presence
        selector.meet(
            Facts(
                fleet=fleet,
                samples=learning.samples,
                expected=lambda: expect(fleet, learning.samples, learning.cost, rules.sparse_speedup),
                charge=None if power is None else power.charge,
            )
        )

    def select(self, count: int, now_ns: int, among: Callable[[int], bool] | None) -> list[int]:
        """At most `count` idle clients that can work now, of those that `among` accepts."""
        presence = self._presence
        if not presence.is_reached(now_ns):
            return []
        self.draws += 1
        candidates = Candidates(self.idle, now_ns, presence.is_on, presence.is_on_many, self.room.among(among))
        return self.selector.select(count, self.draws - 1, candidates, self._history)

    def returns_ns(self, now_ns: int) -> int | None:
        """When to look again whether an idle client has come on line; None where none ever will."""
        due_ns = self._presence.next_change_ns(self.idle.array(), now_ns)
        return None if due_ns == NEVER else due_ns

    def deserted(self) -> str:
        """Why nobody is left who could work, and what would help."""
        advice = "give the fleet another availability, or charge its batteries"
        if self.room.skipped:
            advice = "the jobs of some do not fit into their memory: write failures.out_of_memory: shrink-batch"
        return (
            "no client is available, none will ever come on line again, and no job is in flight; if there is to be "
            f"more, {advice}"
        )

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {"draws": self.draws, **{name: getattr(self, name).state() for name in _PARTS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`, in which there may be more."""
        self.draws = state["draws"]
        for name in _PARTS:
            getattr(self, name).restore(state[name])
