"""The roster: which clients are idle, who of them works next, and when one that is away comes back."""

from collections.abc import Callable
from numbers import Integral
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
from edgesim.errors import RunError

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
        self.idle = IdleClients(len(fleet), learning.participants.tolist())
        self.room = Room(fleet, learning, rules)
        self._history, self._presence = history, presence
        self._is_foreign = not type(selector).__module__.startswith("edgesim.")
        selector.meet(
            Facts(
                fleet=fleet,
                samples=learning.samples,
                participants=learning.participants,
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
        chosen = self.selector.select(count, self.draws - 1, candidates, self._history)
        return _checked(chosen, count, candidates, self.selector) if self._is_foreign else chosen

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


def _checked(chosen: Any, count: int, candidates: Candidates, selector: Selector) -> list[int]:
    """What a selector of the user's own has chosen. Raises RunError for what `Selector.select` must not return."""
    hook = f"{type(selector).__name__}.select"
    if not isinstance(chosen, list | tuple) or not all(isinstance(client, Integral) for client in chosen):
        raise RunError(
            f"{hook} returned {chosen!r:.80}; return a list of the numbers of clients, as .tolist() makes it"
        )
    clients = [int(client) for client in chosen]
    if len(clients) > count or len(set(clients)) < len(clients):
        said = f"returned {len(clients)} clients, of whom {len(set(clients))} differ, where {count} were asked for"
        raise RunError(f"{hook} {said}; return at most `count`, all different")
    for client in clients:
        if not 0 <= client < candidates.idle.clients or not candidates.has(client):
            raise RunError(f"{hook} chose client {client}, which cannot get a job now; choose among the candidates")
    return clients
