"""Boards: the figures of devices, one device at a time, as the plan of a job asks for them."""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from edgesim import streams
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.scalars import MANY, scalars

Figure = TypeVar("Figure")


class Figures(NamedTuple, Generic[Figure]):
    """What a job must know of its device, or jobs of theirs [job]; the last three are its power in each phase."""

    compute_flops: Figure
    bandwidth: Figure
    step_overhead_s: Figure
    memory_bytes: Figure
    down_bps: Figure
    up_bps: Figure
    latency_s: Figure
    round_trips: Figure
    window_bytes: Figure
    sparse_efficiency: Figure
    download_w: Figure
    training_w: Figure
    upload_w: Figure

    @property
    def delay(self) -> tuple[Figure, Figure, Figure]:
        """What `cost.delay_s` makes of a message's delay: latency_s, round_trips, window_bytes."""
        return self.latency_s, self.round_trips, self.window_bytes


Board: TypeAlias = Figures[float]
Columns: TypeAlias = Figures[FloatArray]

POWER = Figures._fields.index("download_w")
"""The place of a phase's power is POWER + phase."""


_OWN = Figures._fields[: Figures._fields.index("round_trips")]
_SHARED = ("round_trips", "window_bytes", "sparse_efficiency", "idle_w", "receive_w", "training_w", "send_w")


class Boards:
    """Reads the fleet's own columns, and copies none: a board is put together when it is asked for.

    Attributes: vary, whether a device's figures differ from job to job.
    """

    def __init__(self, fleet: Fleet, seed: int = 0) -> None:
        self._jitter_row, self._jitter = fleet.shared("compute_jitter", "link_jitter")
        self.vary, self._key = bool(self._jitter.any()), streams.key(seed, "jitter")
        row, figures = fleet.shared(*_SHARED)
        *same, idle_w, receive_w, training_w, send_w = figures.T
        common = *same, idle_w + receive_w, training_w, idle_w + send_w
        self._table = np.stack(common)
        self._common = list(map(tuple, self._table.T.tolist()))
        self._columns = [*(getattr(fleet, name) for name in _OWN), row]
        self._scalars = [scalars(column) for column in self._columns]

    def of(self, devices: Sequence[int]) -> list[Board]:
        """Those of these devices."""
        if len(devices) < MANY:
            return [self.one(device) for device in devices]
        common, made, at = self._common, Figures._make, np.array(devices)
        together = zip(*(column[at].tolist() for column in self._columns), strict=True)
        return [made(figures[:-1] + common[figures[-1]]) for figures in together]

    def one(self, device: int) -> Board:
        """That of a device."""
        *own, row = [column[device] for column in self._scalars]
        return Figures._make((*own, *self._common[row]))

    def of_job(self, number: int, device: int) -> Board:
        """Its figures in this job."""
        board = self.one(device)
        if not self.vary:
            return board
        stream = streams.fold_one(streams.fold_one(self._key, device), number)
        speed, rate = streams.lognormals_one(stream, self._jitter[self._jitter_row[device]]).tolist()
        return _varied(board, speed, rate)

    def of_jobs(self, numbers: IntArray, devices: IntArray) -> Columns:
        """Their figures in these jobs [job]."""
        board = self.columns(devices)
        return _varied(board, *self._factors(numbers, devices)) if self.vary else board

    def _factors(self, numbers: IntArray, devices: IntArray) -> tuple[FloatArray, FloatArray]:
        """Of speed, and of rates [job]."""
        keys = streams.fold(streams.fold(self._key, devices), numbers)
        speed, rate = streams.lognormals(keys, self._jitter[self._jitter_row[devices]]).T
        return speed, rate

    def columns(self, devices: IntArray) -> Columns:
        """The same of all as arrays [device]."""
        *own, row = (column[devices] for column in self._columns)
        return Figures(*own, *self._table[:, row])


def _varied(board: Figures[Figure], speed: Figure, rate: Figure) -> Figures[Figure]:
    """At another speed and other rates, as many times what they are."""
    of: Any = board
    return board._replace(
        compute_flops=of.compute_flops * speed, bandwidth=of.bandwidth * speed,
        step_overhead_s=of.step_overhead_s / speed, down_bps=of.down_bps * rate, up_bps=of.up_bps * rate,
    )  # fmt: skip
