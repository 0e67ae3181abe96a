"""Forecasts: what a job would take if its device stayed on line, had its link to itself, and its radio slept before."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Boards
from edgesim.engine.learning import Assignment
from edgesim.engine.rules import Rules


class Forecast(NamedTuple):
    """Times of a job's phases."""

    download_ns: int
    train_ns: int
    upload_ns: int

    @property
    def total_ns(self) -> int:
        """From dispatch to arrival."""
        return sum(self)

    @property
    def transfer_ns(self) -> int:
        """Of both transfers."""
        return self.download_ns + self.upload_ns


class Forecaster:
    """Forecasts for a fleet."""

    def __init__(self, fleet: Fleet, rules: Rules) -> None:
        self._fleet, self._rules = fleet, rules
        self._boards: Boards | None = None  # made for the first who asks, as these are
        self._tail_ns: IntArray
        self._promotion_ns: IntArray

    def of(self, clients: Sequence[int], assignments: Sequence[Assignment]) -> list[Forecast]:
        """Of these jobs, one a client."""
        if self._boards is None:
            self._boards = Boards(self._fleet)
            whole = self._fleet.tail_s, self._fleet.promotion_s
            self._tail_ns, self._promotion_ns = np.rint(1e9 * np.array(whole)).astype(np.int64)
        found = []
        for client, board, assigned in zip(clients, self._boards.of(clients), assignments, strict=True):
            assert assigned.upload_bytes is not None
            train_ns = cost.compute_ns(
                assigned.workload,
                compute_flops=board.compute_flops,
                bandwidth=board.bandwidth,
                step_overhead_s=board.step_overhead_s,
                sparse_efficiency=board.sparse_efficiency,
                sparse_speedup=self._rules.sparse_speedup,
                traits=self._fleet.class_traits[self._fleet.device_class[client]],
            )
            waking_ns = int(self._promotion_ns[client])
            down_ns = waking_ns + cost.transfer_ns(assigned.download_bytes, board.down_bps, board.latency_s)
            up_ns = cost.transfer_ns(assigned.upload_bytes, board.up_bps, board.latency_s)
            if train_ns >= self._tail_ns[client]:
                up_ns += waking_ns
            found.append(Forecast(down_ns, train_ns, up_ns))
        return found
