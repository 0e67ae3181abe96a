"""Boards: the figures of devices, one device at a time, as the plan of a job asks for them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgesim.devices.fleet import Fleet
from edgesim.engine.scalars import scalars


class Board(NamedTuple):
    """What a job must know of its device; the last three are its power in each phase."""

    compute_flops: float
    bandwidth: float
    step_overhead_s: float
    memory_bytes: int
    down_bps: float
    up_bps: float
    latency_s: float
    sparse_efficiency: float
    tail_s: float
    tail_w: float
    download_w: float
    training_w: float
    upload_w: float


POWER = Board._fields.index("download_w")
"""The place of a phase's power is POWER + phase."""


_OWN = Board._fields[: Board._fields.index("sparse_efficiency")]
_SHARED = ("sparse_efficiency", "tail_s", "tail_w", "idle_w", "receive_w", "training_w", "send_w")


_MANY = 16  # from about here on numpy is the faster: it waits for the memory of several devices at once


class Boards:
    """Reads the fleet's own columns, and copies none: a board is put together when it is asked for."""

    def __init__(self, fleet: Fleet) -> None:
        row, figures = fleet.shared(*_SHARED)
        eta, tail_s, tail_w, idle_w, receive_w, training_w, send_w = figures.T
        common = eta, tail_s, tail_w, idle_w + receive_w, training_w, idle_w + send_w
        self._common = list(map(tuple, np.stack(common, 1).tolist()))
        self._columns = [*(getattr(fleet, name) for name in _OWN), row]
        self._scalars = [scalars(column) for column in self._columns]

    def of(self, devices: Sequence[int]) -> list[Board]:
        """Those of these devices."""
        common, made = self._common, Board._make
        if len(devices) < _MANY:
            singly = ([column[device] for column in self._scalars] for device in devices)
            return [made((*own, *common[row])) for *own, row in singly]
        at = np.array(devices)
        together = zip(*(column[at].tolist() for column in self._columns), strict=True)
        return [made(figures[:-1] + common[figures[-1]]) for figures in together]
