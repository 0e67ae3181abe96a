"""What each device class spends its time and energy on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.reasons import NO_CHARGE, REASONS, SERVER_DOWN
from edgesim.results.analysis.absences import Absences
from edgesim.results.analysis.jobs import AGAIN, DONE, Jobs, Whole
from edgesim.results.columns import PHASES

RESTS = ("idle", "no_charge", "off")
"""Without a job: idle, on line and charged to work; no_charge, on line, but kept from work by its battery; off line."""
TIMES = (*PHASES, "waiting", *RESTS)
"""Waiting: in a job, but not at work, whatever it would be without one."""
ENERGIES = (*PHASES, "idle")
_NO_CHARGE, _SERVER_DOWN = REASONS.index(NO_CHARGE), REASONS.index(SERVER_DOWN)


class Usage:
    """Times are those of clients.parquet, where what jobs waited is one of RESTS: which of them, says
    availability.parquet. Of a fleet that is too large for one it is taken that jobs wait for what broke them off, but
    on line for a new attempt, and among peers for a partner, as far as there is as much time of that kind.
    """

    def __init__(
        self,
        clients: Mapping[str, NDArray[Any]],
        of_class: Sequence[NDArray[np.bool_]],
        absences: Mapping[str, Absences] | None,
    ) -> None:
        """`clients`, columns of clients.parquet; of_class, flags of the clients of each device class; absences, by
        all of RESTS but idle, None where they are not known."""
        totals = {name: np.array([values[here].sum() for here in of_class]) for name, values in clients.items()}
        self._absences = absences
        self._booked_s = np.stack([totals[f"{name}_s"] for name in (*PHASES, *RESTS)], 1)
        self._waited_s = np.zeros((len(of_class), len(RESTS)))
        self._energy_j = np.zeros((len(of_class), len(ENERGIES)))
        self._energy_j[:, -1] = totals["idle_j"]

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        classes, columns = self._energy_j.shape
        place = jobs.device_class * columns + jobs.phase
        self._energy_j += np.bincount(place, jobs.energy_j, classes * columns).reshape(classes, columns)
        gap_ns = np.maximum(jobs.gap_ns, 0)
        if self._absences is not None:
            ends_ns = jobs.end_ns + gap_ns
            away_ns = [self._absences[rest].within(jobs.client, jobs.end_ns, ends_ns) for rest in RESTS[1:]]
            waited_ns = [gap_ns - sum(away_ns), *away_ns]
        else:
            waited_ns = [np.where(_rest(jobs) == number, gap_ns, 0) for number in range(len(RESTS))]
        for column, part_ns in enumerate(waited_ns):
            self._waited_s[:, column] += np.bincount(jobs.device_class, part_ns, classes) / 1e9

    def time(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the time of a device class, or of all together."""
        return _shares(TIMES, self._times_s(kind))

    def energy(self, kind: slice | int = slice(None)) -> dict[str, float]:
        """Shares of the energy, and its sum in joules."""
        joules = np.atleast_2d(self._energy_j[kind]).sum(0)
        return {"joules": float(joules.sum()), **_shares(ENERGIES, joules)}

    def utilisation(self, kind: slice | int = slice(None)) -> float:
        """Time at work / time on line and charged to work."""
        *work_s, idle_s, _, _ = np.atleast_2d(self._booked_s[kind]).sum(0).tolist()
        able_s = sum(work_s) + idle_s
        return sum(work_s) / able_s if able_s else math.nan

    def _times_s(self, kind: slice | int) -> NDArray[np.float64]:
        """[TIMES]."""
        booked_s, waited_s = np.atleast_2d(self._booked_s[kind]), np.atleast_2d(self._waited_s[kind])
        rest_s = booked_s[:, len(PHASES) :] - waited_s
        if self._absences is None:  # what is too much of one kind was of the others
            lack_s, rest_s = -np.minimum(rest_s, 0.0).sum(1, keepdims=True), np.maximum(rest_s, 0.0)
            rest_s -= rest_s * (lack_s / np.maximum(rest_s.sum(1, keepdims=True), 1e-9))
        # sums of seconds are rounded, so that a difference of 0 may come out as less
        times_s = np.concatenate(
            [booked_s[:, : len(PHASES)], waited_s.sum(1, keepdims=True), np.maximum(rest_s, 0.0)], 1
        )
        return np.asarray(times_s.sum(0), np.float64)


def _rest(jobs: Jobs) -> Whole:
    """What a device is taken to be after a stretch, an index into RESTS [row]."""
    among_peers = np.repeat(jobs.among_peers, np.diff(jobs.first, append=len(jobs.job)))
    stays = AGAIN[jobs.outcome] | (among_peers & (jobs.outcome == DONE)) | (jobs.reason == _SERVER_DOWN)
    return np.where(stays, 0, np.where(jobs.reason == _NO_CHARGE, 1, 2))


def _shares(names: Sequence[str], amounts: NDArray[np.float64]) -> dict[str, float]:
    total = float(amounts.sum())
    return {name: float(amount) / total if total else math.nan for name, amount in zip(names, amounts, strict=True)}
