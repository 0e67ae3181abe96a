"""The coordinator: the server at work. It does what its schedule asks, and hears of every job's end."""

from collections.abc import Callable, Mapping
from typing import Any

from edgesim.devices.availability import NEVER
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet
from edgesim.engine.clock import Clock
from edgesim.engine.flight import Flight
from edgesim.engine.history import History
from edgesim.engine.job import Job, Spent
from edgesim.engine.learning import Learning, Received
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Stopping
from edgesim.engine.recording import Recorder
from edgesim.engine.rules import Rules
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.selection.selector import Selector
from edgesim.engine.server_work import ServerWork
from edgesim.engine.timers import Timers
from edgesim.errors import RunError

_COUNTERS = ("version", "updates", "dispatches", "draws", "fruitless")
_PARTS = ("schedule", "selector", "idle", "history", "work", "flight")


class Coordinator:
    """Attributes: version, aggregations so far; updates, client updates in them; dispatches, jobs; draws, choices
    of clients; fruitless, jobs lost since an update arrived; received, what jobs took whose updates wait to be
    aggregated; to_proceed, whether the schedule acts at the end of this instant."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        learning: Learning,
        schedule: Schedule,
        selector: Selector,
        rules: Rules,
        recorder: Recorder,
        ledger: Ledger,
        clock: Clock,
        timers: Timers,
        stopping: Stopping,
        machine: Device | None,
        aggregated: Callable[[], None],
    ) -> None:
        self.schedule, self.selector = schedule, selector
        self.version = self.updates = self.dispatches = self.draws = self.fruitless = 0
        self.received: dict[int, Spent] = {}
        self.to_proceed = False
        self.idle, self.history = IdleClients(len(fleet)), History(ledger)
        self.work = ServerWork(machine, rules.sparse_speedup)
        self.flight = Flight(
            fleet=fleet, rules=rules, ledger=ledger, recorder=recorder, clock=clock, home=self,
            by_phase=stopping.stop.by_phase,
        )  # fmt: skip
        self._fleet, self._learning, self._ledger, self._clock = fleet, learning, ledger, clock
        self._timers, self._stopping, self._aggregated = timers, stopping, aggregated

    def proceed(self) -> None:
        """Let the schedule act, unless the server still computes; it will be asked again after that."""
        self.to_proceed = False
        if not self.work.is_busy(self.now_ns):
            self.schedule.proceed(self)

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{name: getattr(self, name) for name in _COUNTERS},
            **{name: getattr(self, name).state() for name in _PARTS},
            "received": {job: spent.state() for job, spent in self.received.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        for name in _COUNTERS:
            setattr(self, name, state[name])
        for name in _PARTS:
            getattr(self, name).restore(state[name])
        self.received = {job: Spent(*spent) for job, spent in state["received"].items()}

    # ── what a schedule may do ──────────────────────────────────────────────────────────────────────
    @property
    def now_ns(self) -> int:
        return self._clock.now_ns

    @property
    def jobs(self) -> Mapping[int, Job]:
        return self.flight.jobs

    @property
    def in_flight(self) -> int:
        return len(self.flight.jobs)

    def dispatch(self, count: int) -> int:
        now_ns, is_on = self.now_ns, self._fleet.availability.is_on
        if self._stopping.reached or self.work.is_busy(now_ns):
            return 0
        clients = self.selector.select(count, self.draws, self.idle, lambda c: is_on(c, now_ns), self.history)
        self.draws += 1
        if clients:
            self._start_jobs(clients)
        return len(clients)

    def _start_jobs(self, clients: list[int]) -> None:
        first, version = self.dispatches, self.version
        self.dispatches += len(clients)
        for client in clients:
            self.idle.leave(client)
        self._ledger.count_all("dispatched", clients)
        self.history.dispatch(clients, version)
        self.flight.start(first, clients, version, self._learning.dispatch_all(first, clients, version))

    def aggregate(self, received: list[Received]) -> None:
        work = self._learning.aggregate(received)
        if work is not None:
            self.work.ask(work, self.now_ns)
            if self.work.is_busy(self.now_ns):
                self._timers.set("server", self.work.until_ns)
        self.version += 1
        self.updates += len(received)
        self._ledger.count_all("aggregated", [update.client for update in received])
        for update in received:
            self._ledger.useful.add(self.received.pop(update.job))
        self._stopping.compare(aggregations=self.version, updates=self.updates)
        self._aggregated()

    def cancel(self, job: int) -> None:
        cancelled = self.flight.jobs[job]
        self.flight.cut(cancelled)
        self._give_up(cancelled, "discarded")

    def wait_for_client(self) -> None:
        now_ns, availability = self.now_ns, self._fleet.availability
        if self.work.is_busy(now_ns):
            return  # the schedule proceeds as soon as the server is done
        idle = self.idle.array()
        away = idle[~availability.is_on_many(idle, now_ns)]
        due_ns = int(availability.next_change_many(away, now_ns).min(initial=NEVER))
        if due_ns != NEVER:
            self._timers.set("client", due_ns)
        elif not self.jobs and not self._stopping.reached:
            raise RunError(
                f"at {now_ns / 1e9:g} s: no client is available, none will ever come on line again, and no job is in "
                "flight, so the run cannot go on; give the fleet another availability"
            )

    def set_timer(self, name: str, due_ns: int) -> None:
        self._timers.set(_OF_SCHEDULE + name, due_ns)

    def clear_timer(self, name: str) -> None:
        self._timers.clear(_OF_SCHEDULE + name)

    # ── what it is told ─────────────────────────────────────────────────────────────────────────────
    def rang(self, name: str) -> None:
        """A timer that is not the run's own."""
        if name.startswith(_OF_SCHEDULE):
            self.schedule.on_timer(self, name.removeprefix(_OF_SCHEDULE))
        self.to_proceed = True

    def size_upload(self, job: Job) -> int:
        return self._learning.upload_bytes(job.id)

    def phase_ended(self) -> None:
        so_far = self.flight.so_far
        self._stopping.compare(energy_j=so_far.energy_j, bytes=so_far.bytes_down + so_far.bytes_up)

    def arrived(self, job: Job) -> None:
        staleness = self.version - job.version
        discount = self.schedule.discount(staleness)
        if discount is None:
            job.stretches[-1] = job.stretches[-1]._replace(outcome="stale")
            self._give_up(job, "discarded", staleness)
            return
        self.idle.join(job.client)
        self.received[job.id] = self.flight.end(job, staleness)
        self.history.arrive(job, self.now_ns)
        self.fruitless = 0
        self._learning.arrive(job.id, job.client)
        self.schedule.receive(self, Received(job.id, job.client, staleness, discount))
        self.to_proceed = True

    def lost(self, job: Job) -> None:
        self._give_up(job, "lost")
        self.fruitless += 1
        self._check_progress(job.stretches[-1].outcome)

    def _give_up(self, job: Job, fate: str, staleness: int | None = None) -> None:
        self.idle.join(job.client)
        self._ledger.wasted.add(self.flight.end(job, staleness))
        self._ledger.count(fate, job.client)
        self._learning.drop(job.id)
        self.to_proceed = True

    def _check_progress(self, outcome: str) -> None:
        """A run that only its own progress can end must make some."""
        endless = max(1000, 10 * len(self._fleet))
        if self.fruitless >= endless and self._stopping.stop.time_ns is None:
            raise RunError(
                f"at {self.now_ns / 1e9:g} s: the last {endless} jobs were all lost (the last one: {outcome}), and no "
                "stop.time ends this run; set stop.time, another fleet, or let jobs resume (failures)"
            )


_OF_SCHEDULE = "schedule "  # how the names of its timers begin
