"""Simulation: one run, from the first dispatch to the last joule.

All state is explicit data (`state`, `restore`): jobs with their plans, timers, counters that key the random
streams, the ledger, the schedule's memory. Between two instants, when nothing is pending at `now`, it can be
written down and taken up again; what happens at one instant has an order of its own (clock.py).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Network
from edgesim.engine.clock import Clock
from edgesim.engine.coordinator import Coordinator
from edgesim.engine.emissions import Emissions
from edgesim.engine.learning import Learning
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Evaluate, Stop, Stopping
from edgesim.engine.metrics import costs
from edgesim.engine.peers import Peers
from edgesim.engine.power import Power
from edgesim.engine.recording import Recorder
from edgesim.engine.rules import Rules
from edgesim.engine.schedules.gossip import Gossip
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.selection.selector import Selector
from edgesim.engine.timers import Timers


class Simulation:
    """A run in simulated time (integer nanoseconds).

    Attributes: last, the last row of metrics.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        learning: Learning,
        schedule: Schedule,
        selector: Selector,
        rules: Rules,
        recorder: Recorder,
        evaluate: Evaluate,
        stop: Stop,
        server: Device | None = None,
        network: Network | None = None,
        power: Power | None = None,
        emissions: Emissions | None = None,
    ) -> None:
        """`server`: the machine that aggregates; None: it takes no time. `network`: the one that transfers share;
        None: they share none. `power`: batteries; `emissions`: what energy emits; None: neither counts."""
        self.fleet, self.learning, self.recorder = fleet, learning, recorder
        self.last: dict[str, float] = {}
        self.clock, self.ledger = Clock(), Ledger(len(fleet))
        self._evaluate_rule, self._stopping = evaluate, Stopping(stop)
        self._timers = Timers(self.clock, self._rang)
        kind = Peers if isinstance(schedule, Gossip) else Coordinator
        self.server = kind(
            fleet=fleet, learning=learning, schedule=schedule, selector=selector, rules=rules, recorder=recorder,
            ledger=self.ledger, clock=self.clock, timers=self._timers, stopping=self._stopping, machine=server,
            aggregated=self._aggregated, network=network, power=power, emissions=emissions,
        )  # fmt: skip
        self._transfers = self.server.flight.transfers

    @property
    def now_ns(self) -> int:
        return self.clock.now_ns

    @property
    def version(self) -> int:
        """Aggregations so far."""
        return self.server.version

    @property
    def updates(self) -> int:
        """Client updates in them."""
        return self.server.updates

    @property
    def stopped(self) -> str:
        """Why the run ended; "" while it goes on."""
        return self._stopping.reached

    # ── the run ─────────────────────────────────────────────────────────────────────────────────────
    def begin(self) -> None:
        """Set the run's timers, evaluate the model as it is, and let the schedule start."""
        if self._stopping.stop.time_ns is not None:
            self._timers.set("stop", self._stopping.stop.time_ns)
        if self._evaluate_rule.every_ns is not None:
            self._timers.set("evaluate", self._evaluate_rule.every_ns)
        self._evaluate()
        self.server.to_proceed = True

    def run(self, pause: Callable[["Simulation"], bool] = lambda _: False, *, events: int = 16) -> bool:
        """Work until the run stops; True then.

        After every so many events, and every wave, `pause` is asked, between two instants: True leaves early.
        """
        left, stopping = events, self._stopping
        while not stopping.reached:
            if left <= 0 and not self.server.to_proceed and self.clock.is_instant_over():
                left = events
                if pause(self):
                    return False
            left = left - 1 if self.step() == 1 else 0
        return True

    def step(self) -> int:
        """Let the next thing happen; the schedule acts once all that happens at an instant has happened.

        How many things that were: a wave of arrivals is as many as they are.
        """
        transfers = self._transfers
        if self.server.to_proceed and self.clock.is_instant_over():
            self.server.proceed()
            return 1
        if transfers is not None and transfers.unsettled and self.clock.is_instant_over():
            transfers.arm()
            return 1
        return self.clock.step()

    def share_done(self) -> float:
        """How much of the nearest limit is used up, 0 to 1; accuracy does not count, since it may never come."""
        so_far = self.server.flight.accounts.so_far
        return self._stopping.share(
            time_ns=self.now_ns, updates=self.updates, aggregations=self.version,
            energy_j=so_far.energy_j, bytes=so_far.bytes_down + so_far.bytes_up,
        )  # fmt: skip

    def finish(self) -> dict[str, str]:
        """Close the books: record what is in flight, evaluate a last time, check the laws of conservation."""
        row = self._figures()
        if not _alike(row, self.last):
            same = ("time_s", "version")  # what has happened since at the same instant is news, but no other evaluation
            self._enter(row, anew=all(row[name] == self.last.get(name) for name in same))
        in_flight = self.server.close()
        return self.ledger.check(on_ns=self.server.flight.able_ns()[0], in_flight=in_flight)

    # ── checkpoints ─────────────────────────────────────────────────────────────────────────────────
    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain data; to be taken between two instants only."""
        self.server.flight.accounts.settle()
        return {
            "now_ns": self.now_ns,
            "last": self.last,
            "stopped": self.stopped,
            "timers": dict(self._timers.due_ns),
            "ledger": self.ledger.state(),
            "server": self.server.state(),
            "learning": self.learning.state(),
            "recorder": self.recorder.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state` instead of `begin`; the recorder is restored by who made it."""
        self.clock.restart(state["now_ns"])
        self.last, self._stopping.reached = state["last"], state["stopped"]
        self.ledger.restore(state["ledger"])
        self.learning.restore(state["learning"])
        self.server.restore(state["server"])
        for name, due_ns in state["timers"].items():
            self._timers.set(name, due_ns)

    # ── within ──────────────────────────────────────────────────────────────────────────────────────
    def _rang(self, name: str, due_ns: int) -> None:
        if name == "stop":
            self._stopping.reached = "time"
        elif name == "evaluate":
            self._evaluate()
            self._timers.set(name, due_ns + (self._evaluate_rule.every_ns or 0))
        else:
            self.server.rang(name)

    def _aggregated(self) -> None:
        every = self._evaluate_rule.every_aggregations
        if every is not None and self.version % every == 0:
            self._evaluate()

    def _evaluate(self) -> None:
        self._enter(self._figures())

    def _figures(self) -> dict[str, float]:
        """A row of metrics.parquet."""
        server = self.server
        return {
            "time_s": self.now_ns / 1e9,
            "version": self.version,
            "updates": self.updates,
            **self.learning.evaluate(),
            **costs(server.spent(), self.ledger, server.work),
            **server.backhaul.totals(self.now_ns),
            **server.levels(),
            "jobs_in_flight": server.unfinished,
        }

    def _enter(self, row: dict[str, float], *, anew: bool = False) -> None:
        self.last = row
        self.recorder.metric(row, anew=anew)
        self._stopping.compare(accuracy=row["accuracy"])


def _alike(row: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether both hold the same figures; what is no number is like itself."""
    return row.keys() == other.keys() and all(
        value == other[name] or (math.isnan(value) and math.isnan(other[name])) for name, value in row.items()
    )
