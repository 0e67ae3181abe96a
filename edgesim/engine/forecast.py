"""Forecasts: what a job that begins now would take if its device stayed on line and had its link to itself."""

from collections.abc import Sequence
from typing import NamedTuple

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Boards
from edgesim.engine.learning import Assignment
from edgesim.engine.radio import Radio
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

    def __init__(self, fleet: Fleet, rules: Rules, radio: Radio) -> None:
        self._fleet, self._rules, self._radio = fleet, rules, radio
        self._boards: Boards | None = None  # made for the first who asks

    def of(self, clients: Sequence[int], assignments: Sequence[Assignment], now_ns: int) -> list[Forecast]:
        """Of these jobs, one a client; by their devices' usual pace."""
        self._boards = self._boards or Boards(self._fleet)
        found, radio = [], self._radio
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
            down_ns = cost.transfer_ns(assigned.download_bytes, board.down_bps, *board.delay)
            up_ns = cost.transfer_ns(assigned.upload_bytes, board.up_bps, *board.delay)
            down_ns, _, until_ns = radio.one(client, radio.until_ns(client), now_ns, down_ns, 0.0, 0.0)
            up_ns, _, _ = radio.one(client, until_ns, now_ns + down_ns + train_ns, up_ns, 0.0, 0.0)
            found.append(Forecast(down_ns, train_ns, up_ns))
        return found
