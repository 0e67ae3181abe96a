"""What a trace is made of, read from a run's tables: jobs, rounds, stretches off line."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from edgesim.results.analysis.jobs import FAILED
from edgesim.results.store import Run

_BATCH = 16_384  # rows that are in memory as Python's own values


class Stretch(NamedTuple):
    """A row of events.parquet. Attributes: told, what it says but for where and when it is; of columns that are new
    here, too."""

    phase: str
    start_ns: int
    end_ns: int
    told: dict[str, Any]


class Job(NamedTuple):
    """All rows of a job."""

    number: int
    client: int
    stretches: list[Stretch]

    @property
    def version(self) -> int:
        """Of the model that it was given."""
        found: int = self.stretches[0].told["version"]
        return found

    @property
    def staleness(self) -> int | None:
        """Of its update; None if none has arrived."""
        found: int | None = self.stretches[-1].told.get("staleness")
        return found

    @property
    def fate(self) -> str:
        """done: its update has arrived; in-flight; or why its work was in vain."""
        last: str = self.stretches[-1].told["outcome"]
        if last in ("done", "interrupted", *FAILED):
            return "in-flight" if self.staleness is None else "done"
        return last


def jobs(run: Run) -> Iterator[Job]:
    """All jobs, in the order of events.parquet; of any number in little memory."""
    for (number, client), rows in groupby(_rows(run), itemgetter(0, 1)):
        yield Job(number, client, [stretch for _, _, stretch in rows])


def _rows(run: Run) -> Iterator[tuple[int, int, Stretch]]:
    """Job, client and the rest of each row."""
    for batch in run.event_batches(size=_BATCH):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        where = [columns.pop(name) for name in ("client", "phase", "start_ns", "end_ns")]
        del columns["device_class"]
        for client, phase, start_ns, end_ns, *values in zip(*where, *columns.values(), strict=True):
            pairs = zip(columns, values, strict=True)
            told = {name: value for name, value in pairs if value is not None and value == value}  # NaN is not
            yield told["job"], client, Stretch(phase, start_ns, end_ns, told)


def survey(run: Run) -> tuple[dict[int, str], int]:
    """The device class of each client that has had a job, and when the last of these ended."""
    found: dict[int, str] = {}
    last_ns = 0
    for batch in run.event_batches(["client", "device_class", "end_ns"]):
        client, name, end_ns = (batch.column(i) for i in range(3))
        _, first = np.unique(client.to_numpy(), return_index=True)
        found |= zip(client.take(first).to_pylist(), name.take(first).to_pylist(), strict=True)
        last_ns = max(last_ns, int(end_ns.to_numpy().max(initial=0)))
    return found, last_ns


class Round(NamedTuple):
    """From one aggregation to the next; aggregations at one instant end one round together.

    Attributes: begun_ns, done_ns, when the server computes them; first, last, versions of its model that they make;
    updates, in all of them; cause and job, of the first; is_clear, whether nothing else is done at begun_ns.
    """

    start_ns: int
    end_ns: int
    begun_ns: int
    done_ns: int
    first: int
    last: int
    updates: int
    cause: str
    job: int | None
    is_clear: bool


class Rounds:
    """All rounds of a run."""

    def __init__(self, run: Run) -> None:
        table = run.aggregations()
        time_ns, done_ns = table["time_ns"], table["done_ns"]
        job = np.nan_to_num(table["job"], nan=-1).astype(np.int64)
        end_ns, first = np.unique(time_ns, return_index=True)
        closing = np.flatnonzero(job >= 0)
        closing = closing[np.argsort(job[closing], kind="stable")]
        # plain lists are the quickest where they are looked into one by one
        self._cause, self._job = table["cause"].tolist(), job.tolist()
        self._updates = [0, *np.cumsum(table["updates"]).tolist()]
        self._begun_ns = np.maximum(time_ns, np.append(0, done_ns)[:-1]).tolist()
        self._done_ns = done_ns.tolist()
        self._edges_ns = [0, *end_ns.tolist()]
        self._first = [*first.tolist(), len(job)]
        self._closers, self._closed = job[closing].tolist(), (closing + 1).tolist()

    def __len__(self) -> int:
        return len(self._edges_ns) - 1

    def __getitem__(self, number: int) -> Round:
        first, end = self._first[number : number + 2]
        begun_ns, done_ns, job = self._begun_ns[first], self._done_ns[end - 1], self._job[first]
        return Round(
            start_ns=self._edges_ns[number],
            end_ns=self._edges_ns[number + 1],
            begun_ns=begun_ns,
            done_ns=done_ns,
            first=first + 1,
            last=end,
            updates=self._updates[end] - self._updates[first],
            cause=self._cause[first],
            job=job if job >= 0 else None,
            is_clear=begun_ns < done_ns or end == len(self._job) or begun_ns < self._begun_ns[end],
        )

    def making(self, version: int) -> Round | None:
        """That in which a version of the server's model is made; None if none is."""
        if not 1 <= version <= len(self._job):
            return None
        return self[bisect_right(self._first, version - 1) - 1]

    def closed_by(self, job: int) -> list[int]:
        """The versions whose rounds a job's end or loss closed."""
        return self._closed[bisect_left(self._closers, job) : bisect_right(self._closers, job)]


class Absences:
    """When clients were off line, or without charge. Attributes: clients, that ever were."""

    def __init__(self, run: Run) -> None:
        table = run.availability() or dict.fromkeys(("client", "start_ns", "end_ns", "reason"), np.empty(0, np.int64))
        order = np.lexsort((table["start_ns"], table["client"]))
        client, *columns = (table[name][order] for name in ("client", "start_ns", "end_ns", "reason"))
        self.clients, first = np.unique(client, return_index=True)
        parts = zip(self.clients.tolist(), *(np.split(column, first[1:]) for column in columns), strict=False)
        self._of = {number: [column.tolist() for column in of] for number, *of in parts}

    def between(self, client: int, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, str]]:
        """What lies in [start, end) of the stretches in which a client was away, and why it was."""
        starts_ns, ends_ns, reasons = self._of.get(client, ((), (), ()))
        for i in range(bisect_right(ends_ns, start_ns), len(starts_ns)):
            if starts_ns[i] >= end_ns:
                return
            yield max(starts_ns[i], start_ns), min(ends_ns[i], end_ns), reasons[i]
