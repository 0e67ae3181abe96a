"""Jobs: events.parquet read in blocks of whole jobs, so that any number of events can be worked through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.reasons import REASONS
from edgesim.results.analysis.source import Source
from edgesim.results.columns import OUTCOMES, PHASES, WORDS

ROWS = 262_144
"""Rows that are read at once; fixed, since the last digits of sums depend on it."""

DOWNLOAD, TRAIN, UPLOAD = range(len(PHASES))
DONE, INTERRUPTED, IN_FLIGHT = (OUTCOMES.index(name) for name in ("done", "interrupted", "in-flight"))
FAILED = ("failed", "corrupt")
"""Outcomes of attempts at a phase that begins anew after them."""
REASONS_OF_WASTE = (*REASONS, "not-recorded")
"""Why work was in vain; the last where an earlier version ran, which did not say it."""
AGAIN = np.array([name in FAILED for name in OUTCOMES])
GOES_ON = np.array([name in ("interrupted", *FAILED) for name in OUTCOMES])

_OF_OUTCOME = np.array([REASONS_OF_WASTE.index(name if name in REASONS else "not-recorded") for name in OUTCOMES])
"""What an outcome itself says of its reason."""

Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Some whole jobs, in the order of the file.

    Attributes: the columns of columns.EVENTS that are wanted [row]; words as their index, of a device class in
    `classes`, of a reason in REASONS_OF_WASTE, of phases and outcomes in columns.py; reason and staleness −1 where
    there is none. classes, all of the fleet; run_ns, when the run ended.
    """

    job: Whole
    client: Whole
    device_class: Whole
    phase: Whole
    start_ns: Whole
    end_ns: Whole
    bytes: Whole
    flops: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    outcome: Whole
    reason: Whole
    staleness: Whole
    classes: tuple[str, ...]
    run_ns: int

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def first(self) -> Whole:
        """The first row of each job [job]."""
        return np.flatnonzero(np.diff(self.job, prepend=-1)) if len(self.job) else np.empty(0, np.int64)

    @cached_property
    def last(self) -> Whole:
        """The last row of each job [job]."""
        return np.append(self.first[1:], len(self.job)) - 1 if len(self.first) else self.first

    @property
    def kind(self) -> Whole:
        """Device class [job]."""
        return self.device_class[self.first]

    @property
    def began_ns(self) -> Whole:
        """Dispatch [job]."""
        return self.start_ns[self.first]

    @cached_property
    def fate(self) -> Whole:
        """How each job ended, an index into OUTCOMES [job]: done (the update arrived), in-flight, or why its work
        was in vain."""
        fate, arrived = self.outcome[self.last], self.staleness[self.last] >= 0
        over = ~GOES_ON[fate] & (fate != DONE)
        return np.where(over, fate, np.where(arrived, DONE, IN_FLIGHT))  # among peers the last transfer may be any

    @property
    def among_peers(self) -> NDArray[np.bool_]:
        """Whether a job has no server: it begins with training [job]."""
        among: NDArray[np.bool_] = self.phase[self.first] == TRAIN
        return among

    @cached_property
    def ended_ns(self) -> Whole:
        """When each job ended, or the run did [job]."""
        ended = self.end_ns[self.last]
        return np.where(self.fate == IN_FLIGHT, np.maximum(ended, self.run_ns), ended)

    @property
    def busy_ns(self) -> Whole:
        """Time at work of each job [job]."""
        return self.sums(self.end_ns - self.start_ns)

    @property
    def gap_ns(self) -> Whole:
        """From the end of each stretch to the begin of the next one of its job, or the job's end [row]."""
        follows = np.append(self.start_ns[1:], 0)
        follows[self.last] = self.ended_ns
        return follows - self.end_ns

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sum of each job's rows [job]."""
        return np.add.reduceat(values, self.first) if len(self) else values[:0]


_COLUMNS = tuple(field.name for field in fields(Jobs) if field.name not in ("classes", "run_ns"))


def blocks(source: Source, classes: Sequence[str], run_ns: int, size: int = ROWS) -> Iterator[Jobs]:
    """All jobs of a run, some at a time: about `size` rows."""
    left: dict[str, NDArray[Any]] | None = None
    for batch in source.events(_COLUMNS, size):
        rows = {name: _column(batch, name, classes) for name in batch.schema.names}
        rows.setdefault("reason", _OF_OUTCOME[rows["outcome"]])
        if left is not None:
            rows = {name: np.concatenate((left[name], values)) for name, values in rows.items()}
        cut = _cut(rows)
        left = {name: values[cut:] for name, values in rows.items()}
        if cut:
            whole = {name: values[:cut] for name, values in rows.items()}
            yield Jobs(**whole, classes=tuple(classes), run_ns=run_ns)
    if left is not None:
        yield Jobs(**left, classes=tuple(classes), run_ns=run_ns)


def _cut(rows: dict[str, NDArray[Any]]) -> int:
    """The first row of the last job, which may go on in the next batch."""
    changes = np.flatnonzero(np.diff(rows["job"]))
    return int(changes[-1]) + 1 if len(changes) else 0


def _column(batch: Any, name: str, classes: Sequence[str]) -> NDArray[Any]:
    column = batch.column(name)
    words = {"device_class": classes, **WORDS}.get(name)
    if words is not None:
        number = {word: index for index, word in enumerate(words)}
        codes = np.array([*(number[word] for word in column.dictionary.to_pylist()), -1], np.int64)
        found: Whole = codes[column.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)]
        return found
    if name == "staleness":
        column = column.fill_null(-1)
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values.astype(np.float64 if name in ("flops", "energy_j") else np.int64, copy=False)
