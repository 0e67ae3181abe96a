"""Clock: simulated time (SimPy), and the order of what happens at one instant.

First the run's own timers, then transfers that end on a shared network, then jobs by their number, then the
schedule's timers (and last the schedule acts). So ties do not depend on when something was planned, nor on whether
the run was ever interrupted.
"""

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import EventPriority

from edgesim.engine.wave import Due, Wave

STOP, EVALUATE, CLIENT, SERVER, NETWORK, FIRST_JOB = 0, 1, 2, 3, 4, 5
SCHEDULE = 2**62
"""Ranks; job n has FIRST_JOB + n."""

Callback = Callable[[simpy.Event], None]


class _Due(simpy.Event):
    """Triggered from the start: `succeed` knows neither a rank nor a delay, and a process costs three events."""

    def __init__(self, env: simpy.Environment, callbacks: list[Callback], value: Any) -> None:
        self.env, self.callbacks, self._value, self._ok = env, callbacks, value, True


class _Environment(simpy.Environment):
    """Says what comes next."""

    @property
    def next_due(self) -> Due:
        """When it is, and its rank."""
        return self._queue[0][:2] if self._queue else (simpy.core.Infinity, 0)


class Clock:
    """Attributes: env, the SimPy environment of all events but those of the wave; now_ns, the time; wave, events that
    happen together, the last ones that there were."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, now_ns: int) -> None:
        """Forget all that was to happen, and go on from that instant."""
        self.env, self.now_ns = _Environment(now_ns), now_ns
        self.wave: Wave | None = None

    def step(self) -> int:
        """Let the next thing happen, or a wave as far as nothing comes in between; how many that were.

        Raises simpy.core.EmptySchedule if there is none.
        """
        wave = self.wave
        if wave is not None and wave.comes_before(due := self.env.next_due):
            self.now_ns, count = wave.last_before(due)
            wave.happen(count)
            return count
        due_ns = self.env.peek()
        if due_ns is not simpy.core.Infinity:
            self.now_ns = int(due_ns)
        self.env.step()
        return 1

    def at(self, due_ns: int, rank: int, callbacks: list[Callback], value: Any = None) -> simpy.Event:
        """Call back at that instant, in the order of ranks; `value` is the event's."""
        event = _Due(self.env, callbacks, value)
        self.env.schedule(event, EventPriority(rank), due_ns - self.env.now)
        return event

    def is_instant_over(self) -> bool:
        """Whether nothing more happens at this instant."""
        return self.env.peek() > self.now_ns and (self.wave is None or self.wave.due_ns > self.now_ns)
