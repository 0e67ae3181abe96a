"""The recorder: what a run writes, while it goes on and when it ends.

    checkpoint/events-00000.parquet …   full chunks of rows, written as they fill (flat memory)
    events.parquet aggregations.parquet metrics.parquet clients.parquet   by `finish`; of some runs also
    unseen.parquet availability.parquet
    analysis.json                       what these tables say
    summary.json                        written last: a directory without it is an unfinished run

Every file is a function of the rows alone (no clock, no host name), and each appears whole or not at all.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgesim.devices.arrays import IndexArray
from edgesim.engine.job import SmoothJobs
from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.analysis import report
from edgesim.results.analysis.source import Files, Held
from edgesim.results.chunks import CHUNK_ROWS, Chunks, write
from edgesim.results.columns import (
    AGGREGATIONS,
    AVAILABILITY,
    CAUSES,
    CLIENTS,
    EVENTS,
    METRICS,
    OF_SOME_TASKS,
    OUTCOMES,
    PHASES,
    UNSEEN,
    WORDS,
    Column,
    table,
)

SUMMARY = "summary.json"
_TRAIN, _DONE = PHASES.index("train"), OUTCOMES.index("done")

EventRow = tuple[
    int, int, int | str, int | str, int, int, int, int, float, float, int | str, str | None, int | None, int | None
]  # fmt: skip
"""(job, client, device_class, phase, start_ns, end_ns, version, bytes, flops, energy_j, outcome, reason or None,
staleness or None, batch_size or None); see columns.EVENTS. Words (of `classes` and columns.WORDS) may stand as their
index."""


class Recorder:
    """Collects one run's rows and writes its result directory.

    Attributes: directory, of the run; classes, the names of the device classes in the order of their index.
    A new recorder starts a run from nothing, so chunks left there by an earlier attempt are removed;
    a directory that holds a finished run is refused (RunError). `restore` goes on from a checkpoint.
    """

    def __init__(self, directory: Path, classes: Sequence[str], *, chunk_rows: int = CHUNK_ROWS) -> None:
        self._begin(directory, classes, chunk_rows)
        if (directory / SUMMARY).exists():
            raise RunError(f"{directory}: holds a finished run (it has a {SUMMARY}); choose another folder")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._drop_parts()

    def _begin(self, directory: Path, classes: Sequence[str], chunk_rows: int) -> None:
        self.directory = directory
        self.classes = tuple(classes)
        self._names = {"device_class": self.classes, "cause": CAUSES, **WORDS}
        self._events = Chunks(self._folder, "events", EVENTS, self._names, chunk_rows)
        self._aggregations = Chunks(self._folder, "aggregations", AGGREGATIONS, self._names, chunk_rows)
        self._metrics: list[tuple[Any, ...]] = []

    def event(self, row: EventRow) -> None:
        """Record one stretch of a job's phase. Values are checked when the chunk is written."""
        self._events.add([row])

    def job(
        self,
        number: int,
        client: int,
        device_class: int,
        version: int,
        stretches: Sequence[tuple[int, int, int, int, float, float, str, str]],
        staleness: int | None,
        batch_size: int = 0,
    ) -> None:
        """Record a job by its stretches (phase, start_ns, end_ns, bytes, flops, energy_j, outcome, reason or "");
        `staleness` stands at the last of them, `batch_size` at its training, if it is not 0."""
        rows: list[EventRow] = [
            (
                number, client, device_class, phase, start_ns, end_ns, version, size, flops, energy_j, outcome,
                reason or None, None, batch_size if batch_size and phase == _TRAIN else None,
            )
            for phase, start_ns, end_ns, size, flops, energy_j, outcome, reason in stretches
        ]  # fmt: skip
        rows[-1] = (*rows[-1][:-2], staleness, rows[-1][-1])
        self._events.add(rows)

    def smooth(self, jobs: SmoothJobs, device_class: IndexArray) -> None:
        """Record many jobs that went smoothly, one after the other: three rows each."""
        none = np.full_like(jobs.number, -1)
        in_turn = np.zeros_like(jobs.flops)
        staleness, batch_size = jobs.staleness, np.where(jobs.batch_size > 0, jobs.batch_size, -1)
        self._events.add_columns(
            {
                **{name: np.repeat(getattr(jobs, name), len(PHASES)) for name in ("client", "version")},
                "job": np.repeat(jobs.number, len(PHASES)),
                "device_class": np.repeat(device_class, len(PHASES)),
                "phase": np.tile(np.arange(len(PHASES)), len(jobs.number)),
                "start_ns": _by_job(jobs.edges_ns[:-1]),
                "end_ns": _by_job(jobs.edges_ns[1:]),
                "bytes": _by_job(jobs.sizes),
                "flops": _by_job(np.array([in_turn, jobs.flops, in_turn])),
                "energy_j": _by_job(jobs.energy_j),
                "outcome": np.full(len(PHASES) * len(jobs.number), _DONE),
                "reason": pa.nulls(len(PHASES) * len(jobs.number)),
                "staleness": _where_any(_by_job(np.array([none, none, staleness]))),
                "batch_size": _where_any(_by_job(np.array([none, batch_size, none]))),
            }
        )

    def aggregation(self, version: int, time_ns: int, done_ns: int, updates: int, cause: str, job: int | None) -> None:
        """Record an aggregation; see columns.AGGREGATIONS."""
        self._aggregations.add([(version, time_ns, done_ns, updates, cause, job)])

    def metric(self, row: Mapping[str, float | int], *, anew: bool = False) -> None:
        """Record one evaluation, or `anew` the last: exactly the columns of columns.METRICS, in any order (RunError if
        not); those of columns.OF_SOME_TASKS may be left out."""
        row = dict.fromkeys(OF_SOME_TASKS, math.nan) | dict(row)
        if row.keys() != set(METRICS.names):
            table({name: [value] for name, value in row.items()}, METRICS, {}, "metrics")
        if anew:
            self._metrics.pop()
        self._metrics.append(tuple(row[name] for name in METRICS.names))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain data: the chunks already on disk are counted, not copied."""
        return {
            "classes": list(self.classes),
            "chunk_rows": self._events.size,
            "parts": {chunks.name: chunks.parts for chunks in self._chunked},
            **{chunks.name: chunks.pending_rows() for chunks in self._chunked},
            "metrics": list(self._metrics),
        }

    @classmethod
    def restore(cls, directory: Path, state: Mapping[str, Any]) -> "Recorder":
        """The recorder as it was when `state` was taken; chunks written since then are removed.

        Raises RunError when a chunk that the state counts on is gone.
        """
        recorder = cls.__new__(cls)
        recorder._begin(directory, state["classes"], state["chunk_rows"])
        for chunks in recorder._chunked:
            chunks.restore(state["parts"][chunks.name], state[chunks.name])
        recorder._metrics = [tuple(row) for row in state["metrics"]]
        atomic.remove_leftovers(recorder._folder)
        atomic.remove_leftovers(directory)
        return recorder

    def finish(
        self,
        *,
        clients: Mapping[str, Column],
        summary: Mapping[str, Any],
        availability: Mapping[str, Column] | None = None,
        unseen: Mapping[str, Column] | None = None,
    ) -> None:
        """Write the final files, summary.json last; then remove the chunks.

        `clients`, `availability` and `unseen` are columns (see columns.py); `summary` is plain data.
        """
        documents = {report.FILE: self._written(availability, clients, unseen), SUMMARY: summary}
        atomic.replace_all(
            {
                self.directory / name: partial(_write_text, atomic.json_text(document))
                for name, document in documents.items()
            }
        )
        self._drop_parts()
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def flush_partial(self, availability: Mapping[str, Column] | None = None) -> None:
        """Write what there is (after Ctrl-C): events and metrics can be read; without a summary the run
        stays unfinished and can be resumed. The recorder itself is not changed."""
        atomic.replace_all(self._writers(self._tables(availability)))

    # ── files ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _folder(self) -> Path:
        return self.directory / "checkpoint"

    @property
    def _chunked(self) -> tuple[Chunks, Chunks]:
        return self._events, self._aggregations

    def _drop_parts(self) -> None:
        for chunks in self._chunked:
            chunks.drop()
        atomic.remove_leftovers(self._folder)

    def _written(
        self,
        availability: Mapping[str, Column] | None,
        clients: Mapping[str, Column],
        unseen: Mapping[str, Column] | None,
    ) -> dict[str, Any]:
        """Write the tables; what they say."""
        tables = self._tables(availability, clients, unseen)
        atomic.replace_all(self._writers(tables))
        if any(chunks.parts for chunks in self._chunked):
            return report.analyse(Files(self.directory))
        return report.analyse(Held(tables | {chunks.name: chunks.pending() for chunks in self._chunked}))

    def _tables(
        self,
        availability: Mapping[str, Column] | None,
        clients: Mapping[str, Column] | None = None,
        unseen: Mapping[str, Column] | None = None,
    ) -> dict[str, Any]:
        """The tables that are in memory as a whole."""
        metrics = zip(*self._metrics, strict=True) if self._metrics else [()] * len(METRICS)
        tables: dict[str, tuple[Mapping[str, Column] | None, Any]] = {
            "metrics": (dict(zip(METRICS.names, metrics, strict=True)), METRICS),
            "availability": (availability, AVAILABILITY),
            "clients": (clients, CLIENTS),
            "unseen": (unseen, UNSEEN),
        }
        return {
            name: self._table(columns, schema, name)
            for name, (columns, schema) in tables.items()
            if columns is not None
        }

    def _writers(self, tables: Mapping[str, Any]) -> dict[Path, Callable[[Path], None]]:
        """What writes each file."""
        writers: dict[str, Callable[[Path], None]] = {chunks.name: chunks.write for chunks in self._chunked}
        writers |= {name: partial(write, table) for name, table in tables.items()}
        return {self.directory / f"{name}.parquet": writer for name, writer in writers.items()}

    def _table(self, columns: Mapping[str, Column], schema: Any, what: str) -> Any:
        return table(columns, schema, self._names, f"{self.directory}: {what}")


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _by_job(columns: NDArray[Any]) -> NDArray[Any]:
    """[phase, job] → [job · phase], the phases of a job side by side."""
    return columns.T.ravel()


def _where_any(values: NDArray[np.int64]) -> Any:
    """A column in which -1 stands for nothing."""
    return pa.array(values, mask=values < 0)
