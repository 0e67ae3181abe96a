"""A run as a trace: who did what when.

A process for each device class, a track for each client: its jobs' stretches, waiting between these, off line and
without charge; no two of all these overlap. A process for the server: its rounds, from one aggregation to the next, the
aggregations, and what metrics.parquet says of accuracy, energy, jobs in flight and batteries. Arrows, where the tables
leave no doubt:

- update, from an upload to the aggregation that took it. Most schedules take all that has arrived, so that this is the
  first one after its arrival: version + staleness + 1. Those of tiers, edges and exchanges do not.
- model, from an aggregation to the downloads of what it made; edges send models of their own.
- closes, from the stretch whose end an aggregation was made upon, where no update's arrow says so.

No arrow begins or ends at what took no time, but for aggregations.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from edgesim.errors import ScenarioError
from edgesim.results.analysis.jobs import FAILED
from edgesim.results.store import Run
from edgesim.results.trace import format, rows
from edgesim.results.trace.format import Track
from edgesim.results.trace.rows import Absences, Job, Round, Rounds, Stretch

NEVER = 2**63 - 1
_TAKES_ALL = ("sync", "deadline", "async", "buffered", "periodic", "safa", "timelyfl")
_COLOURS = {"download": "rail_response", "train": "rail_load", "upload": "thread_state_iowait"}
_LEVELS = {
    "accuracy": ("accuracy", "mean"),
    "energy_j": ("energy", "J"),
    "jobs_in_flight": ("jobs", "in flight"),
    "battery_level": ("battery", "mean charge"),
    "batteries_empty": ("batteries", "empty"),
}


class Window(NamedTuple):
    """The part of a run that is shown."""

    start_ns: int = 0
    end_ns: int = NEVER

    def cut(self, start_ns: int, end_ns: int) -> tuple[int, int] | None:
        """What lies in it of a piece; None if nothing does."""
        if start_ns >= self.end_ns or end_ns < self.start_ns or start_ns < end_ns == self.start_ns:
            return None
        return max(start_ns, self.start_ns), min(end_ns, self.end_ns)

    def holds(self, at_ns: int) -> bool:
        """Whether an instant lies in it."""
        return self.start_ns <= at_ns < self.end_ns


def lines(run: Run, window: Window) -> Iterator[str]:
    """The events of a run, or of a part of it, for `format.write`; read as they are asked for.

    Raises:
        ScenarioError: there are no events, none in the window, or a table is missing or damaged.
    """
    classes, end_ns = rows.survey(run)
    if not classes:
        raise ScenarioError(f"{run.path}: no events; nothing to export")
    if not window.start_ns < min(window.end_ns, end_ns):
        until = "" if window.end_ns == NEVER else f" to {window.end_ns / 1e9:g} s"
        raise ScenarioError(
            f"window from {window.start_ns / 1e9:g} s{until}: the run's events lie in 0 to {end_ns / 1e9:g} s; "
            "write a beginning within them, and an end after that"
        )
    return _Drawing(run, window, classes, end_ns).lines()


class _Drawing:
    def __init__(self, run: Run, window: Window, classes: dict[int, str], end_ns: int) -> None:
        self._run, self._window = run, window
        self._rounds, self._absences = Rounds(run), Absences(run)
        metrics = run.metrics()
        self._metrics = {name: metrics[name] for name in ("time_s", *_LEVELS)}
        self._end_ns = max(end_ns, round(float(metrics["time_s"][-1]) * 1e9))
        if run.finished:  # then those are known, too, that had no job
            known = run.clients()
            away = set(self._absences.clients.tolist())
            named = zip(known["client"].tolist(), known["device_class"].tolist(), strict=True)
            classes = {client: name for client, name in named if client in away or client in classes}
        self._classes = classes
        kinds = sorted(set(classes.values()))
        # thread numbers begin above all process numbers; those of clients can be read off
        first = 10 ** max(3, len(str(len(kinds) + 4)))
        self._round, self._aggregation = Track(1, first - 2), Track(1, first - 1)
        process = {name: 2 + place for place, name in enumerate(kinds)}
        self._tracks = {client: Track(process[name], first + client) for client, name in sorted(classes.items())}
        schedule = run.scenario["schedule"]
        kind = schedule["kind"]
        self._takes_all = kind in _TAKES_ALL or (kind == "gossip" and schedule["mode"] == "sync")
        self._sends_versions = kind in (*_TAKES_ALL, "tiered")

    def lines(self) -> Iterator[str]:
        yield from self._names()
        yield from self._levels()
        yield from self._server()
        rested_ns = dict.fromkeys(self._tracks, 0)
        for job in rows.jobs(self._run):
            yield from self._off(job.client, rested_ns[job.client], job.stretches[0].start_ns)
            if self._window.cut(job.stretches[0].start_ns, self._ended_ns(job)):
                yield from self._job(job)
            rested_ns[job.client] = self._ended_ns(job)
        for client, since_ns in rested_ns.items():
            yield from self._off(client, since_ns, NEVER)

    def _names(self) -> Iterator[str]:
        yield from format.process(self._round, "server", 0)
        yield from format.thread(self._round, "rounds", 0)
        yield from format.thread(self._aggregation, "aggregations", 1)
        named = set[int]()
        for client, track in self._tracks.items():
            if track.process not in named:
                named.add(track.process)
                yield from format.process(track, self._classes[client], track.process)
            yield from format.thread(track, f"client {client}", client)

    def _levels(self) -> Iterator[str]:
        at_ns = [round(time_s * 1e9) for time_s in self._metrics["time_s"].tolist()]
        for column, (name, unit) in _LEVELS.items():
            for value, (start_ns, end_ns) in zip(
                self._metrics[column].tolist(), pairwise([*at_ns, NEVER]), strict=True
            ):
                shown = self._window.cut(start_ns, end_ns)
                if shown and not math.isnan(value):
                    yield format.level(self._round, name, unit, shown[0], value)

    # ── the server ──────────────────────────────────────────────────────────────────────────────────
    def _server(self) -> Iterator[str]:
        for number in range(len(self._rounds)):
            one = self._rounds[number]
            many = one.last > one.first
            versions = f"{one.first} to {one.last}" if many else f"{one.first}"
            told = {"version": versions, "updates": one.updates, "cause": one.cause}
            if one.job is not None:
                told["job"] = one.job
            name = f"{'s' * many} {versions}"
            yield from self._piece(self._round, f"round{name}", one.start_ns, one.end_ns, "round", "generic_work", told)
            yield from self._piece(
                self._aggregation, f"aggregation{name}", one.begun_ns, one.done_ns, "aggregation", "olive", told
            )

    # ── clients ─────────────────────────────────────────────────────────────────────────────────────
    def _job(self, job: Job) -> Iterator[str]:
        track, fate = self._tracks[job.client], job.fate
        in_vain = fate not in ("done", "in-flight")
        for stretch in job.stretches:
            name, told, outcome = stretch.phase, stretch.told, stretch.told["outcome"]
            if outcome not in ("done", "in-flight"):
                name = f"{name} ({outcome})"
            elif in_vain:
                name, told = f"{name} (in vain)", {**told, "job_ended": fate}
            colour = "terrible" if in_vain else "bad" if outcome in FAILED else _COLOURS[stretch.phase]
            yield from self._piece(track, name, stretch.start_ns, stretch.end_ns, stretch.phase, colour, told)
        for before, after in pairwise(job.stretches):
            yield from self._waiting(job, before.end_ns, after.start_ns)
        yield from self._waiting(job, job.stretches[-1].end_ns, self._ended_ns(job))
        yield from self._arrows(job)

    def _ended_ns(self, job: Job) -> int:
        end_ns = job.stretches[-1].end_ns
        return max(end_ns, self._end_ns) if job.fate == "in-flight" else end_ns

    def _waiting(self, job: Job, start_ns: int, end_ns: int) -> Iterator[str]:
        """A job between two of its stretches: while its device is away, that is what is drawn."""
        if start_ns == end_ns:
            return
        told, track, since_ns = {"job": job.number}, self._tracks[job.client], start_ns
        for off_ns, on_ns, _ in [*self._absences.between(job.client, start_ns, end_ns), (end_ns, end_ns, "")]:
            if since_ns < off_ns:
                yield from self._piece(track, "waiting", since_ns, off_ns, "waiting", "grey", told)
            since_ns = on_ns
        yield from self._off(job.client, start_ns, end_ns)

    def _off(self, client: int, start_ns: int, end_ns: int) -> Iterator[str]:
        for off_ns, on_ns, reason in self._absences.between(client, start_ns, end_ns):
            word = reason.replace("-", " ")
            yield from self._piece(self._tracks[client], word, off_ns, on_ns, word, "black", {})

    def _piece(
        self, track: Track, name: str, start_ns: int, end_ns: int, kind: str, colour: str, told: Mapping[str, Any]
    ) -> Iterator[str]:
        """What lies in the window of a piece; of one that is cut is told when it really was."""
        shown = self._window.cut(start_ns, end_ns)
        if shown is None:
            return
        if shown != (start_ns, end_ns):
            told = {**told, "start_ns": start_ns, "end_ns": end_ns}
        yield format.piece(track, name, *shown, kind=kind, colour=colour, told=told)

    # ── arrows ──────────────────────────────────────────────────────────────────────────────────────
    def _arrows(self, job: Job) -> Iterator[str]:
        stretches = [stretch for stretch in job.stretches if stretch.start_ns < stretch.end_ns]
        if not stretches:
            return
        first, last = stretches[0], stretches[-1]
        made = self._rounds.making(job.version) if self._sends_versions and first.phase == "download" else None
        if made and made.is_clear:
            start = self._aggregation, max(made.begun_ns, made.done_ns - 1)
            yield from self._arrow("model", 3 * job.number, start, (self._tracks[job.client], first.start_ns))
        taken = None
        if self._takes_all and job.fate == "done":
            taken = self._rounds.making(job.version + (job.staleness or 0) + 1)
            yield from self._into("update", 3 * job.number + 1, job, last, taken)
        for version in self._rounds.closed_by(job.number):
            closed = self._rounds.making(version)
            for stretch in stretches:
                if closed and closed != taken and stretch.end_ns == closed.end_ns:
                    yield from self._into("closes", 3 * version + 2, job, stretch, closed)

    def _into(self, kind: str, number: int, job: Job, stretch: Stretch, into: Round | None) -> Iterator[str]:
        if into and into.is_clear:
            start = self._tracks[job.client], stretch.end_ns - 1
            yield from self._arrow(kind, number, start, (self._aggregation, into.begun_ns))

    def _arrow(self, kind: str, number: int, start: tuple[Track, int], end: tuple[Track, int]) -> Iterator[str]:
        """One that lies in the window as a whole."""
        if self._window.holds(start[1]) and self._window.holds(end[1]):
            yield from format.arrow(kind, number, start, end)
