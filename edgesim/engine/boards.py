"""Boards: the figures of devices, one device at a time, as the plan of a job asks for them."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

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
    sparse_efficiency: Figure
    tail_s: Figure
    tail_w: Figure
    download_w: Figure
    training_w: Figure
    upload_w: Figure


Board: TypeAlias = Figures[float]
Columns: TypeAlias = Figures[FloatArray]

POWER = Figures._fields.index("download_w")
"""The place of a phase's power is POWER + phase."""


_OWN = Figures._fields[: Figures._fields.index("sparse_efficiency")]
_SHARED = ("sparse_efficiency", "tail_s", "tail_w", "idle_w", "receive_w", "training_w", "send_w")


class Boards:
    """Reads the fleet's own columns, and copies none: a board is put together when it is asked for."""

    def __init__(self, fleet: Fleet) -> None:
        row, figures = fleet.shared(*_SHARED)
        eta, tail_s, tail_w, idle_w, receive_w, training_w, send_w = figures.T
        common = eta, tail_s, tail_w, idle_w + receive_w, training_w, idle_w + send_w
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

    def columns(self, devices: IntArray) -> Columns:
        """The same of all as arrays [device]."""
        *own, row = (column[devices] for column in self._columns)
        return Figures(*own, *self._table[:, row])
