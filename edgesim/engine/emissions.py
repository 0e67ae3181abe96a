"""Emissions: the CO2 equivalent of what devices draw during jobs, where regions are given."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.carbon import CarbonIntensity
from edgesim.engine.job import Stretch


class Emissions:
    """Attributes: grams [device], of jobs that have ended."""

    def __init__(self, intensity: CarbonIntensity, region: IntArray) -> None:
        """`region` [device]: the number of each device's in the intensities."""
        self._intensity, self._region = intensity, region
        self.grams: FloatArray = np.zeros(len(region))

    def book(self, device: int, stretches: Sequence[Stretch]) -> None:
        """A job has ended."""
        self.grams[device] += self.of(device, stretches)

    def of(self, device: int, stretches: Sequence[Stretch]) -> float:
        """Grams of a job's stretches, each at even power; a radio tail counts as drawn in its transfer."""
        if not stretches:
            return 0.0
        joules = np.array([stretch.energy_j for stretch in stretches])
        start_ns, end_ns = np.array([(stretch.start_ns, stretch.end_ns) for stretch in stretches], np.int64).T
        return float(self._intensity.grams(int(self._region[device]), joules, start_ns, end_ns).sum())

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {"grams": self.grams.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.grams[:] = state["grams"]
