"""Boards: the figures of devices, one device at a time, as the plan of a job asks for them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgesim.devices.fleet import Fleet


class Board(NamedTuple):
    """What a job must know of its device; the last three are its power in each phase."""

    compute_flops: float
    bandwidth: float
    step_overhead_s: float
    sparse_efficiency: float
    memory_bytes: float
    down_bps: float
    up_bps: float
    latency_s: float
    tail_s: float
    tail_w: float
    download_w: float
    training_w: float
    upload_w: float


POWER = Board._fields.index("download_w")
"""The place of a phase's power is POWER + phase."""


class Boards:
    """A copy of the fleet's figures in which those of one device lie side by side, so that they come from
    memory together."""

    def __init__(self, fleet: Fleet) -> None:
        self._figures = np.column_stack(
            (
                fleet.compute_flops, fleet.bandwidth, fleet.step_overhead_s, fleet.sparse_efficiency,
                fleet.memory_bytes, fleet.down_bps, fleet.up_bps, fleet.latency_s, fleet.tail_s, fleet.tail_w,
                fleet.idle_w + fleet.receive_w, fleet.training_w, fleet.idle_w + fleet.send_w,
            )
        )  # fmt: skip

    def of(self, devices: Sequence[int]) -> list[Board]:
        """Those of these devices."""
        return list(map(Board._make, self._figures[devices].tolist()))
