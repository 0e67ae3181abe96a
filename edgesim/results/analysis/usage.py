"""What each device class spends its time and energy on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.jobs import AGAIN, Jobs
from edgesim.results.columns import PHASES

TIMES = (*PHASES, "waiting", "idle", "off")
"""Waiting: in a job, but not at work; idle: on line without a job; off: off line without one."""
ENERGIES = (*PHASES, "idle")
_WAITING, _IDLE, _OFF = (TIMES.index(name) for name in ("waiting", "idle", "off"))


class Usage:
    """Attributes: times_s [class, TIMES]; energy_j [class, ENERGIES].

    Times are those of clients.parquet, but for what jobs waited. That is taken off `off`, for a job waits for its
    device to come back; but the pause before a new attempt is taken off `idle`. Among peers a job waits for a partner
    as well, and nothing says for what: all of it stays `idle`, or `off`.
    """

    def __init__(self, clients: Mapping[str, NDArray[Any]], of_class: Sequence[NDArray[np.bool_]]) -> None:
        """`clients`, columns of clients.parquet; of_class, flags of the clients of each device class."""
        totals = {name: np.array([values[here].sum() for here in of_class]) for name, values in clients.items()}
        self.times_s = np.zeros((len(of_class), len(TIMES)))
        self.energy_j = np.zeros((len(of_class), len(ENERGIES)))
        for column, name in enumerate(TIMES):
            if name != "waiting":
                self.times_s[:, column] = totals[f"{name}_s"]
        self.energy_j[:, -1] = totals["idle_j"]

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        classes, columns = self.energy_j.shape
        place = jobs.device_class * columns + jobs.phase
        self.energy_j += np.bincount(place, jobs.energy_j, classes * columns).reshape(classes, columns)
        waiting_ns = np.maximum(jobs.ended_ns - jobs.began_ns - jobs.busy_ns, 0) * ~jobs.among_peers
        paused_ns = np.minimum(jobs.sums(np.where(AGAIN[jobs.outcome], jobs.gap_ns, 0)), waiting_ns)
        for column, sign, spent_ns in (
            (_WAITING, 1, waiting_ns), (_IDLE, -1, paused_ns), (_OFF, -1, waiting_ns - paused_ns),
        ):  # fmt: skip
            self.times_s[:, column] += sign * np.bincount(jobs.kind, spent_ns, classes) / 1e9

    def time(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the time of a device class, or of all together."""
        return _shares(TIMES, self._times_s(kind))

    def energy(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the energy, and its sum in joules."""
        joules = np.atleast_2d(self.energy_j[kind]).sum(0)
        return {"joules": float(joules.sum()), **_shares(ENERGIES, joules)}

    def utilisation(self, kind: slice | int = slice(None)) -> float:
        """Time at work / time on line."""
        times_s = self._times_s(kind)
        work_s = float(times_s[: len(PHASES)].sum())
        online_s = work_s + float(times_s[_IDLE])
        return work_s / online_s if online_s else math.nan

    def _times_s(self, kind: slice | int) -> NDArray[np.float64]:
        # sums of seconds are rounded, so that a difference of 0 may come out as less
        return np.asarray(np.maximum(np.atleast_2d(self.times_s[kind]).sum(0), 0.0), np.float64)


def _shares(names: Sequence[str], amounts: NDArray[np.float64]) -> dict[str, float]:
    total = float(amounts.sum())
    return {name: float(amount) / total if total else math.nan for name, amount in zip(names, amounts, strict=True)}
