"""Simulation: one run, from the first dispatch to the last joule.

All state is explicit data (`state`, `restored`): jobs with phase and remaining work, timers, counters that key
the random streams, the ledger, the schedule's buffer. Between two instants, when nothing is pending at `now`,
it can be written down and taken up again; timers are set again in their old order, so ties fall as before.
"""

from collections.abc import Callable, Generator
from functools import partial
from operator import itemgetter
from typing import Any

import simpy
from simpy.events import EventPriority

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine.job import PHASE_NAMES, Job, Phase, Spent
from edgesim.engine.jobs import Jobs, Rules
from edgesim.engine.learning import Learning, Received
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.scalars import scalars
from edgesim.engine.schedules import Schedule
from edgesim.engine.selection import IdleClients, Uniform
from edgesim.errors import RunError
from edgesim.results.recorder import Recorder

_COUNTERS = ("version", "updates", "dispatches", "draws", "fruitless", "_order", "stopped")
_AFTER_ALL_ELSE = EventPriority(2)  # SimPy knows 0, urgent, and 1, normal


class Simulation:
    """A run in simulated time (integer nanoseconds).

    Attributes: version, aggregations so far; updates, client updates in them; stopped, why the run ended, or "".
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        learning: Learning,
        schedule: Schedule,
        selector: Uniform,
        rules: Rules,
        recorder: Recorder,
        evaluate: Evaluate,
        stop: Stop,
    ) -> None:
        self.fleet, self.learning, self.schedule, self.selector = fleet, learning, schedule, selector
        self.rules, self.recorder, self.evaluate_rule, self.stop = rules, recorder, evaluate, stop
        self.version = self.updates = self.dispatches = self.draws = self.fruitless = self._order = 0
        self.stopped = ""
        self.last: dict[str, float] = {}
        self.jobs: dict[int, Job] = {}
        self.idle = IdleClients(len(fleet))
        self.timers: dict[str, tuple[int, int]] = {}  # name → (due_ns, place among the timers of that instant)
        self._received: dict[int, Spent] = {}  # what jobs took whose updates wait to be aggregated
        self._proceeding = False
        self._budget = stop.energy_j is not None or stop.bytes is not None
        self._device_class, self._bandwidth = scalars(fleet.device_class), scalars(fleet.bandwidth)
        self._compute_flops, self._step_overhead_s = scalars(fleet.compute_flops), scalars(fleet.step_overhead_s)
        self._sparse_efficiency = scalars(fleet.sparse_efficiency)
        self._start_clock(0, Ledger(len(fleet)))

    def _start_clock(self, now_ns: int, ledger: Ledger) -> None:
        self.env = simpy.Environment(now_ns)
        self.ledger = ledger
        self.work = Jobs(
            env=self.env, fleet=self.fleet, rules=self.rules, ledger=ledger, record=self._record, home=self
        )  # fmt: skip

    # ── the run ─────────────────────────────────────────────────────────────────────────────────────
    @property
    def now_ns(self) -> int:
        return int(self.env.now)

    @property
    def in_flight(self) -> int:
        return len(self.jobs)

    def begin(self) -> None:
        """Set the run's timers, evaluate the model as it is, and let the schedule start."""
        if self.stop.time_ns is not None:
            self._set_timer("stop", self.stop.time_ns)
        if self.evaluate_rule.every_ns is not None:
            self._set_timer("evaluate", self.evaluate_rule.every_ns)
        self._evaluate()
        self._proceed_after_this_instant()

    def run(self, pause: Callable[["Simulation"], bool] = lambda _: False, *, events: int = 16) -> bool:
        """Work until the run stops; True then.

        After every so many events `pause` is asked, between two instants: True leaves early.
        """
        step, left = self.env.step, events
        while not self.stopped:
            left -= 1
            if left < 0 and self.env.peek() > self.env.now:
                left = events
                if pause(self):
                    return False
            step()
        return True

    def share_done(self) -> float:
        """How much of the nearest limit is used up, 0 to 1; accuracy does not count, since it may never come."""
        total, stop = self.ledger.total, self.stop
        used = (
            (self.now_ns, stop.time_ns),
            (self.updates, stop.updates),
            (self.version, stop.aggregations),
            (total.energy_j, stop.energy_j),
            (total.bytes_down + total.bytes_up, stop.bytes),
        )
        return min(1.0, max((value / limit for value, limit in used if limit is not None), default=0.0))

    def finish(self) -> dict[str, str]:
        """Close the books: record what is in flight, evaluate a last time, check the laws of conservation."""
        moving = 0
        for job in self.jobs.values():
            spent = self.work.spent_since(job, self.now_ns)
            moving += job.moved(job.done_ns + spent.ns) if job.begun and job.phase != Phase.TRAIN else 0
            self.work.enter(job, spent)
            if spent.ns:
                self._record(job, self.now_ns, spent, "in-flight", None)
                job.since_ns = self.now_ns
        # updates that arrived, but too late to be aggregated, count as in flight
        in_flight = [*(job.spent for job in self.jobs.values()), *self._received.values()]
        if self.last.get("time_s") != self.now_ns / 1e9 or self.last.get("version") != self.version:
            self._evaluate()
        return self.ledger.check(
            on_ns=self.fleet.availability.on_ns_all(self.now_ns), in_flight=in_flight, moving=moving
        )

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain data; to be taken between two instants only."""
        return {
            "now_ns": self.now_ns,
            **{name: getattr(self, name) for name in _COUNTERS},
            "last": self.last,
            "jobs": [job.state() for job in self.jobs.values()],
            "timers": dict(self.timers),
            "idle": self.idle.state(),
            "received": [tuple(update) for update in self.schedule.received],
            "spent": {job: spent.state() for job, spent in self._received.items()},
            "ledger": self.ledger.state(),
            "learning": self.learning.state(),
            "recorder": self.recorder.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state` instead of `begin`; the recorder is restored by who made it."""
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.last = state["last"]
        self.schedule.received = [Received(*update) for update in state["received"]]
        self._received = {job: Spent(*spent) for job, spent in state["spent"].items()}
        self.learning.restore(state["learning"])
        self.idle.restore(state["idle"])
        self._start_clock(state["now_ns"], Ledger.restored(state["ledger"]))
        waiting: list[tuple[int, Callable[[], Generator[simpy.Event, None, None]]]] = []
        for fields in state["jobs"]:
            job = Job.restored(fields)
            self.jobs[job.id] = job
            waiting.append((job.order, partial(self.work.run, job)))
        for name, (due_ns, order) in state["timers"].items():
            waiting.append((order, partial(self._timer, name, due_ns)))
        for _, process in sorted(waiting, key=itemgetter(0)):
            self.env.process(process())

    # ── what a schedule may do ──────────────────────────────────────────────────────────────────────
    def dispatch(self, count: int) -> int:
        if self.stopped:
            return 0
        now_ns, is_on = self.now_ns, self.fleet.availability.is_on
        chosen = self.selector.select(count, self.draws, self.idle, lambda client: is_on(client, now_ns))
        self.draws += 1
        for client in chosen:
            self._start_job(client)
        return len(chosen)

    def aggregate(self, received: list[Received]) -> None:
        self.learning.aggregate(received)
        self.version += 1
        self.updates += len(received)
        for update in received:
            self.ledger.count("aggregated", update.client)
            self.ledger.useful.add(self._received.pop(update.job))
        self._stop_if("aggregations", self.stop.aggregations, self.version)
        self._stop_if("updates", self.stop.updates, self.updates)
        every = self.evaluate_rule.every_aggregations
        if every is not None and self.version % every == 0:
            self._evaluate()

    def wait_for_client(self) -> None:
        now, availability = self.now_ns, self.fleet.availability
        returns = [availability.next_change_ns(c, now) for c in self.idle if not availability.is_on(c, now)]
        due = min((at for at in returns if at is not None), default=None)
        if due is not None:
            if due != self.timers.get("client", (None, 0))[0]:
                self._set_timer("client", due)
        elif not self.jobs and not self.stopped:
            raise RunError(
                f"at {now / 1e9:g} s: no client is available, none will ever come on line again, and no job is in "
                "flight, so the run cannot go on; give the fleet another availability"
            )

    # ── what jobs report ────────────────────────────────────────────────────────────────────────────
    def wait_order(self) -> int:
        self._order += 1
        return self._order

    def size_upload(self, job: Job) -> int:
        return self.learning.upload_bytes(job.id)

    def arrived(self, job: Job, spent: Spent) -> None:
        staleness = self.version - job.version
        discount = self.schedule.discount(staleness)
        self._leave(job)
        self._record(job, self.now_ns, spent, "done" if discount is not None else "stale", staleness)
        if discount is None:
            self.ledger.count("discarded", job.client)
            self.ledger.wasted.add(job.spent)
            self.learning.drop(job.id)
        else:
            self.fruitless = 0
            self._received[job.id] = job.spent
            self.learning.arrive(job.id, job.client)
            self.schedule.receive(self, Received(job.id, job.client, staleness, discount))
        self._proceed_after_this_instant()

    def gave_up(self, job: Job, spent: Spent, outcome: str) -> None:
        self._leave(job)
        self._record(job, self.now_ns, spent, outcome, None)
        self.ledger.count("lost", job.client)
        self.ledger.wasted.add(job.spent)
        self.learning.drop(job.id)
        self.fruitless += 1
        self._check_progress(outcome)
        self._proceed_after_this_instant()

    def _check_progress(self, outcome: str) -> None:
        """A run that only its own progress can end must make some."""
        endless = max(1000, 10 * len(self.fleet))
        if self.fruitless >= endless and self.stop.time_ns is None:
            raise RunError(
                f"at {self.now_ns / 1e9:g} s: the last {endless} jobs were all lost (the last one: {outcome}), and no "
                "stop.time ends this run; set stop.time, another fleet, or let jobs resume (failures)"
            )

    # ── within ──────────────────────────────────────────────────────────────────────────────────────
    def _start_job(self, client: int) -> None:
        number = self.dispatches
        self.dispatches += 1
        assigned = self.learning.dispatch(number, client, self.version)
        train_ns = cost.compute_ns(
            assigned.workload,
            compute_flops=self._compute_flops[client],
            bandwidth=self._bandwidth[client],
            step_overhead_s=self._step_overhead_s[client],
            sparse_efficiency=self._sparse_efficiency[client],
            sparse_speedup=self.rules.sparse_speedup,
        )
        job = Job(
            id=number,
            client=client,
            version=self.version,
            download_bytes=assigned.download_bytes,
            upload_bytes=-1 if assigned.upload_bytes is None else assigned.upload_bytes,
            train_ns=train_ns,
            flops=assigned.workload.flops,
            memory_bytes=assigned.workload.memory_bytes,
            since_ns=self.now_ns,
        )
        self.jobs[number] = job
        self.idle.leave(client)
        self.ledger.count("dispatched", client)
        self.env.process(self.work.run(job))

    def _leave(self, job: Job) -> None:
        del self.jobs[job.id]
        self.idle.join(job.client)

    def _record(self, job: Job, end_ns: int, spent: Spent, outcome: str, staleness: int | None) -> None:
        self.recorder.event(
            (
                job.id,
                job.client,
                self._device_class[job.client],
                PHASE_NAMES[job.phase],
                job.since_ns,
                end_ns,
                job.version,
                spent.bytes_down + spent.bytes_up,
                spent.flops,
                spent.energy_j,
                outcome,
                staleness,
            )
        )
        if self._budget:
            total = self.ledger.total
            self._stop_if("energy", self.stop.energy_j, total.energy_j)
            self._stop_if("bytes", self.stop.bytes, total.bytes_down + total.bytes_up)

    def _stop_if(self, what: str, limit: float | None, value: float) -> None:
        if limit is not None and value >= limit and not self.stopped:
            self.stopped = what

    def _evaluate(self) -> None:
        total = Spent(*self.ledger.total.state())
        for job in self.jobs.values():
            total.add(self.work.spent_since(job, self.now_ns))
        wasted, jobs = self.ledger.wasted, self.ledger.jobs()
        self.last = {
            "time_s": self.now_ns / 1e9,
            "version": self.version,
            "updates": self.updates,
            **self.learning.evaluate(),
            "bytes_down": total.bytes_down,
            "bytes_up": total.bytes_up,
            "energy_j": total.energy_j,
            "flops": total.flops,
            "wasted_s": wasted.ns / 1e9,
            "wasted_bytes": wasted.bytes_down + wasted.bytes_up,
            "wasted_j": wasted.energy_j,
            "wasted_flops": wasted.flops,
            **{f"jobs_{fate}": count for fate, count in jobs.items()},
            "jobs_in_flight": len(self.jobs) + len(self._received),
        }
        self.recorder.metric(self.last)
        self._stop_if("accuracy", self.stop.accuracy, self.last["accuracy"])

    # ── timers ──────────────────────────────────────────────────────────────────────────────────────
    def _set_timer(self, name: str, due_ns: int) -> None:
        self.env.process(self._timer(name, due_ns))

    def _timer(self, name: str, due_ns: int) -> Generator[simpy.Event, None, None]:
        timer = self.timers[name] = (due_ns, self.wait_order())
        yield self.env.timeout(due_ns - self.now_ns)
        if self.timers.get(name) != timer:
            return  # set anew since
        del self.timers[name]
        if name == "stop":
            self.stopped = "time"
        elif name == "evaluate":
            self._evaluate()
            self._set_timer(name, due_ns + (self.evaluate_rule.every_ns or 0))
        else:
            self._proceed_after_this_instant()

    def _proceed_after_this_instant(self) -> None:
        """Let the schedule act once all that happens at this instant has happened."""
        if self._proceeding:
            return
        self._proceeding = True
        event = self.env.event()
        event._ok, event._value = True, None  # triggered by hand: `succeed` knows no priority
        event.callbacks = [self._proceed]
        self.env.schedule(event, priority=_AFTER_ALL_ELSE)

    def _proceed(self, _: simpy.Event) -> None:
        self._proceeding = False
        if not self.stopped:
            self.schedule.proceed(self)
