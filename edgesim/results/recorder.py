"""The recorder: what a run writes, while it goes on and when it ends.

    checkpoint/events-00000.parquet …   full chunks of events, written as they fill (flat memory)
    events.parquet metrics.parquet clients.parquet [availability.parquet]   written by `finish`
    summary.json                        written last: a directory without it is an unfinished run

Every file is a function of the rows alone (no clock, no host name), and each appears whole or not at all.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.columns import (
    AVAILABILITY,
    CLIENTS,
    EVENTS,
    METRICS,
    OF_SOME_TASKS,
    OUTCOMES,
    PHASES,
    Column,
    table,
)

CHUNK_ROWS = 65_536
SUMMARY = "summary.json"

EventRow = tuple[int, int, int | str, int | str, int, int, int, int, float, float, int | str, int | None]
"""(job, client, device_class, phase, start_ns, end_ns, version, bytes, flops, energy_j, outcome, staleness or
None); see columns.EVENTS. Words (of `classes`, columns.PHASES and OUTCOMES) may stand as their index."""


class Recorder:
    """Collects one run's rows and writes its result directory.

    Attributes: directory, of the run; classes, the names of the device classes in the order of their index.
    A new recorder starts a run from nothing, so event chunks left there by an earlier attempt are removed;
    a directory that holds a finished run is refused (RunError). `restore` goes on from a checkpoint.
    """

    def __init__(self, directory: Path, classes: Sequence[str], *, chunk_rows: int = CHUNK_ROWS) -> None:
        self.directory = directory
        self.classes = tuple(classes)
        self._chunk_rows = chunk_rows
        self._rows: list[EventRow] = []
        self._metrics: list[tuple[Any, ...]] = []
        self._parts = 0
        if (directory / SUMMARY).exists():
            raise RunError(f"{directory}: holds a finished run (it has a {SUMMARY}); choose another folder")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._drop_parts(after=0)

    def event(self, row: EventRow) -> None:
        """Record one stretch of a job's phase. Values are checked when the chunk is written."""
        self._rows.append(row)
        if len(self._rows) >= self._chunk_rows:
            self._write_part()

    def job(
        self,
        number: int,
        client: int,
        device_class: int,
        version: int,
        stretches: Sequence[tuple[int, int, int, int, float, float, str]],
        staleness: int | None,
    ) -> None:
        """Record a job by its stretches (phase, start_ns, end_ns, bytes, flops, energy_j, outcome); `staleness`
        stands at the last of them."""
        rows = self._rows
        for phase, start_ns, end_ns, size, flops, energy_j, outcome in stretches:
            rows.append(
                (number, client, device_class, phase, start_ns, end_ns, version, size, flops, energy_j, outcome, None)
            )
        if staleness is not None:
            rows[-1] = (*rows[-1][:-1], staleness)
        while len(rows) >= self._chunk_rows:
            self._write_part()

    def metric(self, row: Mapping[str, float | int]) -> None:
        """Record one evaluation: exactly the columns of columns.METRICS, in any order (RunError if not); those of
        columns.OF_SOME_TASKS may be left out."""
        row = dict.fromkeys(OF_SOME_TASKS, math.nan) | dict(row)
        if row.keys() != set(METRICS.names):
            table({name: [value] for name, value in row.items()}, METRICS, {}, "metrics")
        self._metrics.append(tuple(row[name] for name in METRICS.names))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain data: the chunks already on disk are counted, not copied."""
        return {
            "classes": list(self.classes),
            "chunk_rows": self._chunk_rows,
            "parts": self._parts,
            "events": list(self._rows),
            "metrics": list(self._metrics),
        }

    @classmethod
    def restore(cls, directory: Path, state: Mapping[str, Any]) -> "Recorder":
        """The recorder as it was when `state` was taken; chunks written since then are removed.

        Raises RunError when a chunk that the state counts on is gone.
        """
        recorder = cls.__new__(cls)
        recorder.directory = directory
        recorder.classes = tuple(state["classes"])
        recorder._chunk_rows = state["chunk_rows"]
        recorder._parts = state["parts"]
        recorder._rows = [_event_row(row) for row in state["events"]]
        recorder._metrics = [tuple(row) for row in state["metrics"]]
        gone = [recorder._part(i).name for i in range(recorder._parts) if not recorder._part(i).exists()]
        if gone:
            raise RunError(f"{recorder._folder}: {', '.join(gone)} missing; the run must be started again")
        recorder._drop_parts(after=recorder._parts)
        atomic.remove_leftovers(directory)
        return recorder

    def finish(
        self,
        *,
        clients: Mapping[str, Column],
        summary: Mapping[str, Any],
        availability: Mapping[str, Column] | None = None,
        keep_parts: bool = False,
    ) -> None:
        """Write the final files, summary.json last; then remove the event chunks, unless they are kept.

        `clients` and `availability` are columns (see columns.py); `summary` is plain data.
        """
        self._write_tables(availability)
        _write(self.directory / "clients.parquet", self._table(clients, CLIENTS, "clients"))
        atomic.write_json(self.directory / SUMMARY, summary)
        if not keep_parts:
            self._drop_parts(after=0)
            if not any(self._folder.iterdir()):
                self._folder.rmdir()

    def flush_partial(self, availability: Mapping[str, Column] | None = None) -> None:
        """Write what there is (after Ctrl-C): events and metrics can be read; without a summary the run
        stays unfinished and can be resumed. The recorder itself is not changed."""
        self._write_tables(availability)

    # ── files ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _folder(self) -> Path:
        return self.directory / "checkpoint"

    def _part(self, index: int) -> Path:
        return self._folder / f"events-{index:05d}.parquet"

    def _drop_parts(self, after: int) -> None:
        keep = {self._part(index) for index in range(after)}
        for part in self._folder.glob("events-*.parquet"):
            if part not in keep:
                part.unlink()
        atomic.remove_leftovers(self._folder)

    def _write_part(self) -> None:
        _write(self._part(self._parts), self._chunk(self._rows[: self._chunk_rows]))
        self._parts += 1
        del self._rows[: self._chunk_rows]

    def _chunk(self, rows: Sequence[EventRow]) -> Any:
        """Rows as a table."""
        try:
            columns = list(zip(*rows, strict=True)) or [()] * len(EVENTS)
            named = dict(zip(EVENTS.names, columns, strict=True))
        except ValueError as error:
            raise RunError(f"events: a row has not the {len(EVENTS)} columns {EVENTS.names}") from error
        return self._table(named, EVENTS, "events")

    def _write_tables(self, availability: Mapping[str, Column] | None) -> None:
        with (
            atomic.replacing(self.directory / "events.parquet") as path,
            pq.ParquetWriter(path, EVENTS, compression="zstd") as writer,
        ):
            for index in range(self._parts):  # one row group a chunk, so that bytes do not depend on stops
                writer.write_table(_read(self._part(index)), row_group_size=self._chunk_rows)
            writer.write_table(self._chunk(self._rows), row_group_size=self._chunk_rows)
        metrics = zip(*self._metrics, strict=True) if self._metrics else [()] * len(METRICS)
        named = dict(zip(METRICS.names, metrics, strict=True))
        _write(self.directory / "metrics.parquet", self._table(named, METRICS, "metrics"))
        if availability is not None:
            off = self._table(availability, AVAILABILITY, "availability")
            _write(self.directory / "availability.parquet", off)

    def _table(self, columns: Mapping[str, Column], schema: Any, what: str) -> Any:
        names = {"device_class": self.classes, "phase": PHASES, "outcome": OUTCOMES}
        return table(columns, schema, names, f"{self.directory}: {what}")


def _event_row(row: Sequence[Any]) -> EventRow:
    """A row that may have been through a format without tuples, such as JSON."""
    job, client, device_class, phase, start, end, version, size, flops, energy, outcome, staleness = row
    return job, client, device_class, phase, start, end, version, size, flops, energy, outcome, staleness


_read: Callable[[Path], Any] = pq.read_table


def _write(path: Path, content: Any) -> None:
    with atomic.replacing(path) as temporary:
        pq.write_table(content, temporary, compression="zstd", row_group_size=CHUNK_ROWS)
