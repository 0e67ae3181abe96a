"""What each device class spends its time and energy on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.absences import Absences
from edgesim.results.analysis.jobs import AGAIN, DONE, Jobs
from edgesim.results.columns import PHASES

TIMES = (*PHASES, "waiting", "idle", "off")
"""Waiting: in a job, but not at work, on line or not; idle: on line without a job; off: off line without one."""
ENERGIES = (*PHASES, "idle")


class Usage:
    """Times are those of clients.parquet, where what jobs waited is idle time, or time off line: which of them, says
    availability.parquet. Of a fleet that is too large for one it is taken that jobs wait for their devices to come
    back, but on line for a new attempt, and among peers for a partner, as far as there is as much time of that kind.
    """

    def __init__(
        self,
        clients: Mapping[str, NDArray[Any]],
        of_class: Sequence[NDArray[np.bool_]],
        absences: Absences | None,
    ) -> None:
        """`clients`, columns of clients.parquet; of_class, flags of the clients of each device class; absences, None
        where they are not known."""
        totals = {name: np.array([values[here].sum() for here in of_class]) for name, values in clients.items()}
        self._absences = absences
        self._booked_s = np.stack([totals[f"{name}_s"] for name in (*PHASES, "idle", "off")], 1)
        self._waited_s = np.zeros((len(of_class), 2))  # on line, off line
        self._energy_j = np.zeros((len(of_class), len(ENERGIES)))
        self._energy_j[:, -1] = totals["idle_j"]

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        classes, columns = self._energy_j.shape
        place = jobs.device_class * columns + jobs.phase
        self._energy_j += np.bincount(place, jobs.energy_j, classes * columns).reshape(classes, columns)
        gap_ns = np.maximum(jobs.gap_ns, 0)
        if self._absences is not None:
            off_ns = self._absences.within(jobs.client, jobs.end_ns, jobs.end_ns + gap_ns)
        else:
            off_ns = np.where(_stays(jobs), 0, gap_ns)
        for column, waited_ns in enumerate((gap_ns - off_ns, off_ns)):
            self._waited_s[:, column] += np.bincount(jobs.device_class, waited_ns, classes) / 1e9

    def time(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the time of a device class, or of all together."""
        return _shares(TIMES, self._times_s(kind))

    def energy(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the energy, and its sum in joules."""
        joules = np.atleast_2d(self._energy_j[kind]).sum(0)
        return {"joules": float(joules.sum()), **_shares(ENERGIES, joules)}

    def utilisation(self, kind: slice | int = slice(None)) -> float:
        """Time at work / time on line."""
        *work_s, idle_s, _ = np.atleast_2d(self._booked_s[kind]).sum(0).tolist()
        online_s = sum(work_s) + idle_s
        return sum(work_s) / online_s if online_s else math.nan

    def _times_s(self, kind: slice | int) -> NDArray[np.float64]:
        """[TIMES]."""
        booked_s, waited_s = np.atleast_2d(self._booked_s[kind]), np.atleast_2d(self._waited_s[kind])
        rest_s = booked_s[:, len(PHASES) :] - waited_s
        if self._absences is None:  # what is too much of the one kind was of the other
            rest_s = np.minimum(rest_s, 0.0)[:, ::-1] + np.maximum(rest_s, 0.0)
        # sums of seconds are rounded, so that a difference of 0 may come out as less
        times_s = np.concatenate(
            [booked_s[:, : len(PHASES)], waited_s.sum(1, keepdims=True), np.maximum(rest_s, 0.0)], 1
        )
        return np.asarray(times_s.sum(0), np.float64)


def _stays(jobs: Jobs) -> NDArray[np.bool_]:
    """Whether a device is taken to be on line after a stretch [row]."""
    among_peers = np.repeat(jobs.among_peers, np.diff(jobs.first, append=len(jobs.job)))
    found: NDArray[np.bool_] = AGAIN[jobs.outcome] | (among_peers & (jobs.outcome == DONE))
    return found


def _shares(names: Sequence[str], amounts: NDArray[np.float64]) -> dict[str, float]:
    total = float(amounts.sum())
    return {name: float(amount) / total if total else math.nan for name, amount in zip(names, amounts, strict=True)}
