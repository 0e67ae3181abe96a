"""Timers: named instants at which something is due."""

from collections.abc import Callable

import simpy

from edgesim.engine import clock
from edgesim.engine.clock import Clock

_RANKS = {"stop": clock.STOP, "evaluate": clock.EVALUATE, "client": clock.CLIENT, "server": clock.SERVER}
"""The run's own; all others are a schedule's."""


class Timers:
    """Attributes: due_ns, by name, in the order in which they were set. `rang` is told name and instant."""

    def __init__(self, clock: Clock, rang: Callable[[str, int], None]) -> None:
        self.due_ns: dict[str, int] = {}
        self._clock, self._rang = clock, rang
        self._events: dict[str, simpy.Event] = {}

    def set(self, name: str, due_ns: int) -> None:
        """Set a timer, or set it anew."""
        if self.due_ns.get(name) != due_ns:
            self.clear(name)
            self.due_ns[name] = due_ns
            self._events[name] = self._clock.at(due_ns, _RANKS.get(name, clock.SCHEDULE), [self._ring], name)

    def clear(self, name: str) -> None:
        """Forget a timer, if it is set."""
        self.due_ns.pop(name, None)
        self._events.pop(name, None)

    def _ring(self, event: simpy.Event) -> None:
        name = str(event.value)
        if self._events.get(name) is event:  # else set anew since, or cleared
            due_ns = self.due_ns[name]
            self.clear(name)
            self._rang(name, due_ns)
