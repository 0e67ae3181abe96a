"""Standing: how things stand at the server. A schedule may look at it, and a checkpoint holds it."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgesim.devices.fleet import Fleet
from edgesim.engine.backhaul import Backhaul
from edgesim.engine.clock import Clock
from edgesim.engine.flight import Flight
from edgesim.engine.forecast import Forecast, Forecaster
from edgesim.engine.history import History
from edgesim.engine.job import Job, Spent
from edgesim.engine.learning import Learning, Terms
from edgesim.engine.limits import Stopping
from edgesim.engine.roster import Roster
from edgesim.engine.rules import Rules
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.server_work import ServerWork

_PLAIN = ("version", "updates", "dispatches", "fruitless", "deserted")
_PARTS = ("schedule", "history", "work", "flight", "backhaul")


class Standing:
    """Attributes: version, aggregations so far; updates, client updates in them; dispatches, jobs; fruitless, jobs
    lost since an update arrived; deserted, since when and why nobody is left who could work to any purpose, "" while
    somebody is; received, what jobs took whose updates wait to be aggregated; roster, of clients; work, the server's
    own."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        learning: Learning,
        schedule: Schedule,
        rules: Rules,
        clock: Clock,
        stopping: Stopping,
        flight: Flight,
        history: History,
        roster: Roster,
        work: ServerWork,
    ) -> None:
        self.version = self.updates = self.dispatches = self.fruitless = 0
        self.deserted = ""
        self.received: dict[int, Spent] = {}
        self.schedule, self.flight, self.history, self.work = schedule, flight, history, work
        self.roster, self.idle, self.room = roster, roster.idle, roster.room
        self.backhaul = Backhaul()
        self._fleet, self._learning, self._clock, self._stopping = fleet, learning, clock, stopping
        self._forecaster = Forecaster(fleet, rules, flight.radio)

    # ── what a schedule may look at ─────────────────────────────────────────────────────────────────
    @property
    def now_ns(self) -> int:
        return self._clock.now_ns

    @property
    def jobs(self) -> Mapping[int, Job]:
        return self.flight.jobs

    @property
    def in_flight(self) -> int:
        return self.flight.in_flight

    @property
    def newest(self) -> int:
        return next(reversed(self.flight.jobs), -1)

    @property
    def clients(self) -> int:
        return len(self._fleet)

    @property
    def layers(self) -> int:
        return self._learning.layers

    @property
    def model_bytes(self) -> int:
        return self._learning.model_bytes

    @property
    def is_busy(self) -> bool:
        return self.work.is_busy(self.now_ns)

    @property
    def is_over(self) -> bool:
        return bool(self._stopping.reached)

    def forecast(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> list[Forecast]:
        cost = self._learning.cost
        assigned = [cost(client, *terms[place : place + 1]) for place, client in enumerate(clients)]
        return self._forecaster.of(clients, assigned, self._clock.now_ns)

    # ── the books ───────────────────────────────────────────────────────────────────────────────────
    @property
    def unfinished(self) -> int:
        """Jobs in flight, and those whose updates wait to be aggregated."""
        return self.in_flight + len(self.received)

    def spent(self) -> Spent:
        """What all jobs have taken up to now."""
        return self.flight.spent()

    def levels(self) -> dict[str, float]:
        """Only of what there is: battery_level, batteries_empty and carbon_g (accounts.py)."""
        return self.flight.levels()

    def close(self) -> list[Spent]:
        """The run ends: book what is in flight; what each unfinished job has spent.

        Updates that arrived, but too late to be aggregated, count as in flight.
        """
        return [*self.flight.close(), *self.received.values()]

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: getattr(self, name).state() for name in _PARTS},
            **self.roster.state(),
            "received": {job: spent.state() for job, spent in self.received.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        for name in _PARTS:
            getattr(self, name).restore(state[name])
        self.roster.restore(state)
        self.received = {job: Spent(*spent) for job, spent in state["received"].items()}
