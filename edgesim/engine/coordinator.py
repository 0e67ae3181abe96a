"""The coordinator: the server at work. It does what its schedule asks, and hears of every job's end."""

from collections.abc import Callable, Sequence
from itertools import repeat

import numpy as np

from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Network
from edgesim.engine.clock import Clock
from edgesim.engine.emissions import Emissions
from edgesim.engine.flight import Flight
from edgesim.engine.history import History
from edgesim.engine.job import Job, SmoothJobs
from edgesim.engine.learning import Learning, Merging, Received, Terms
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Stopping
from edgesim.engine.power import Power
from edgesim.engine.reasons import STALE
from edgesim.engine.recording import Recorder
from edgesim.engine.roster import Roster
from edgesim.engine.rules import Rules
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.selection.selector import Selector
from edgesim.engine.server_work import ServerWork
from edgesim.engine.standing import Standing
from edgesim.engine.timers import Timers
from edgesim.errors import RunError


class Coordinator(Standing):
    """Attributes: to_proceed, whether the schedule acts at the end of this instant."""

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
        network: Network | None = None,
        power: Power | None = None,
        emissions: Emissions | None = None,
    ) -> None:
        flight = Flight(
            fleet=fleet, rules=rules, ledger=ledger, recorder=recorder, clock=clock, home=self,
            by_phase=stopping.stop.by_phase, network=network, power=power, emissions=emissions,
        )  # fmt: skip
        history = History(ledger, learning.loss if selector.wants_loss else None)
        roster = Roster(
            fleet=fleet, learning=learning, selector=selector, rules=rules, history=history,
            presence=flight.presence, power=power,
        )  # fmt: skip
        super().__init__(
            fleet=fleet, learning=learning, schedule=schedule, rules=rules, clock=clock, stopping=stopping,
            flight=flight, history=history, roster=roster, work=ServerWork(machine, rules.sparse_speedup),
        )  # fmt: skip
        self.to_proceed = False
        self._cause: tuple[str, int | None] = ("timer", None)
        self._lost_at_once = (-1, 0)  # an instant, and the jobs lost at it
        self._ledger, self._recorder, self._timers, self._aggregated = ledger, recorder, timers, aggregated

    def proceed(self) -> None:
        """Let the schedule act, unless the server still computes; it will be asked again after that."""
        self.to_proceed = False
        if not self.work.is_busy(self._clock.now_ns):
            self.schedule.proceed(self)

    # ── what a schedule may do ──────────────────────────────────────────────────────────────────────
    def dispatch(self, count: int) -> int:
        return len(self.start(self.select(count)))

    def select(self, count: int, among: Callable[[int], bool] | None = None) -> list[int]:
        now_ns = self._clock.now_ns
        if self._stopping.reached or self.work.is_busy(now_ns):
            return []
        return self.roster.select(count, now_ns, among)

    def start(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> range:
        first = self.dispatches
        if not clients:
            return range(first, first)
        version = self.schedule.version_of(self, clients[0])
        self.dispatches += len(clients)
        self.deserted = self.deserted if self._stopping.reached else ""
        for client in clients:
            self.idle.leave(client)
        self._ledger.count_all("dispatched", clients)
        self.history.dispatch(clients, version, self._clock.now_ns)
        assignments = self._learning.dispatch_all(first, clients, version, terms)
        self._ledger.need(clients, [assigned.workload.memory_bytes for assigned in assignments])
        self.flight.start(first, clients, version, assignments)
        return range(first, self.dispatches)

    def aggregate(self, received: list[Received], merging: Merging | None = None) -> None:
        self.history.aggregate(received, self.version + 1)
        work = self._learning.aggregate(received, merging)
        if work is not None:
            self.work.ask(work, self.now_ns)
            if self.work.is_busy(self.now_ns):
                self._timers.set("server", self.work.until_ns)
        self.updates += len(received)
        is_local = merging is not None and merging.is_local
        if not is_local:
            self.version += 1
            count = len(received) + sum(join.updates for join in merging.joins) if merging else len(received)
            done_ns = max(self.now_ns, self.work.until_ns)
            self._recorder.aggregation(self.version, self.now_ns, done_ns, count, *self._cause)
        self._ledger.count_all("aggregated", [update.client for update in received])
        for update in received:
            self._ledger.useful.add(self.received.pop(update.job))
        self._stopping.compare(aggregations=self.version, updates=self.updates)
        if not is_local:
            self._aggregated()

    def cancel(self, job: int, reason: str) -> None:
        cancelled = self.flight.jobs[job]
        self.flight.cut(cancelled, reason)
        self._give_up(cancelled, "discarded")
        self.fruitless += 1
        self._check_progress(f"cancelled, {reason}")

    def wait_for_client(self, *, patient: bool = False) -> None:
        now_ns = self.now_ns
        if self.work.is_busy(now_ns):
            return  # the schedule proceeds as soon as the server is done
        due_ns = self.roster.returns_ns(now_ns)
        if due_ns is not None:
            self._timers.set("client", due_ns)
        elif not (self.in_flight or patient or self._stopping.reached or self.deserted):
            self.deserted = f"from {now_ns / 1e9:g} s on nobody works: {self._deserted()}"
            if not self.spent().ns:
                raise RunError(self.deserted)
            self._stopping.give_up()

    def _deserted(self) -> str:
        """Why nothing will ever happen again."""
        return self.roster.deserted()

    def set_timer(self, name: str, due_ns: int) -> None:
        self._timers.set(_OF_SCHEDULE + name, due_ns)

    def clear_timer(self, name: str) -> None:
        self._timers.clear(_OF_SCHEDULE + name)

    # ── what it is told ─────────────────────────────────────────────────────────────────────────────
    def rang(self, name: str) -> None:
        """A timer that is not the run's own."""
        self._cause = (name if name in ("client", "server") else "timer", None)
        if name.startswith(_OF_SCHEDULE):
            self.schedule.on_timer(self, name.removeprefix(_OF_SCHEDULE))
        self.to_proceed = True

    def size_upload(self, job: Job) -> int:
        return self._learning.upload_bytes(job.id)

    def phase_ended(self) -> None:
        so_far = self.flight.accounts.so_far
        self._stopping.compare(energy_j=so_far.energy_j, bytes=so_far.bytes_down + so_far.bytes_up)

    def arrived(self, job: Job) -> None:
        self._cause = ("arrival", job.id)
        staleness = self.schedule.version_of(self, job.client) - job.version
        discount = self.schedule.discount(staleness)
        if discount is None:
            job.stretches[-1] = job.stretches[-1]._replace(outcome="stale", reason=STALE)
            self._give_up(job, "discarded", staleness)
            return
        self.idle.join(job.client)
        self.received[job.id] = self.flight.end(job, staleness)
        self.history.arrive(job, self._clock.now_ns)
        self.fruitless = 0
        self._learning.arrive(job.id, job.client)
        self.schedule.receive(self, Received(job.id, job.client, staleness, discount))
        self.to_proceed = True

    @property
    def waits_for_all(self) -> bool:
        return self.schedule.waits_for_all

    def arrived_together(self, jobs: SmoothJobs) -> None:
        numbers, clients = jobs.number.tolist(), jobs.client.tolist()
        self._cause = ("arrival", numbers[-1])
        staleness = self.schedule.version_of(self, clients[0]) - int(jobs.version[0])
        self.history.arrive_together(jobs)
        for job, client in zip(numbers, clients, strict=True):
            self.idle.join(client)
            self._learning.arrive(job, client)
        spent = self.flight.accounts.book_wave(jobs._replace(staleness=np.full_like(jobs.staleness, staleness)))
        self.received.update(zip(numbers, spent, strict=True))
        self.fruitless = 0
        for update in map(Received, numbers, clients, repeat(staleness), repeat(1.0)):
            self.schedule.receive(self, update)
        self.to_proceed = True

    def lost(self, job: Job) -> None:
        self._cause = ("loss", job.id)
        self._give_up(job, "lost")
        self.fruitless += 1
        self._check_progress(f"lost, {job.stretches[-1].reason}")

    def _give_up(self, job: Job, fate: str, staleness: int | None = None) -> None:
        self.idle.join(job.client)
        self._ledger.wasted.add(self.flight.end(job, staleness))
        self._ledger.count(fate, job.client)
        self._learning.drop(job.id)
        self.to_proceed = True

    def _check_progress(self, end: str) -> None:
        """A run that only its own progress can end must make some."""
        endless = max(1000, 10 * len(self._fleet))
        at_ns, lost = self._lost_at_once
        self._lost_at_once = (self.now_ns, lost + 1 if at_ns == self.now_ns else 1)
        if self._lost_at_once[1] > endless:
            raise RunError(
                f"at {self.now_ns / 1e9:g} s: more than {endless} jobs were lost at one instant (the last one: "
                f"{end}), so time would never go on; give the devices what a job needs: more memory, say"
            )
        if self.fruitless >= endless and self._stopping.stop.time_ns is None and not self._stopping.reached:
            self.deserted = (
                f"up to {self.now_ns / 1e9:g} s the last {endless} jobs were all lost (the last one: {end}), "
                "and no stop.time ends this run; set stop.time, another fleet, or let jobs resume (failures)"
            )
            if not self.updates:
                raise RunError(self.deserted)
            self._stopping.give_up()


_OF_SCHEDULE = "schedule "  # how the names of its timers begin
