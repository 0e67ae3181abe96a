"""The four costs that an accuracy is set against, and how people read their amounts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.spelling import advice

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One cost. Attributes: title, for an axis; columns of metrics.parquet whose sum it is, in the base
    unit; units, (worth in base units, spelling), ascending."""

    title: str
    columns: tuple[str, ...]
    units: tuple[tuple[float, str], ...]

    def of(self, metrics: Mapping[str, NDArray[Any]]) -> FloatArray:
        """The total at each evaluation, in base units [evaluation]."""
        columns = np.array([metrics[name] for name in self.columns], np.float64)
        return np.asarray(columns.sum(axis=0), np.float64)

    def unit(self, value: float) -> tuple[float, str]:
        """The largest unit of which `value` is at least two (so 90 min, but 2 h), else the smallest."""
        fitting = [unit for unit in self.units if abs(value) >= 2 * unit[0]]
        return fitting[-1] if fitting else self.units[0]

    def readable(self, value: float) -> str:
        """The amount for people, three digits: "2.42 h", "318 kJ"."""
        if not math.isfinite(value):
            return str(value)
        worth, spelling = self.unit(value)
        number = value / worth
        return f"{number:.0f} {spelling}" if abs(number) >= 100 else f"{number:.3g} {spelling}"


def _thousands(*spellings: str) -> tuple[tuple[float, str], ...]:
    return tuple((1e3**power, spelling) for power, spelling in enumerate(spellings))


COSTS: dict[str, Cost] = {
    "time": Cost(
        title="simulated time",
        columns=("time_s",),
        units=((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "d")),
    ),
    "energy": Cost(
        title="energy drawn during jobs",
        columns=("energy_j",),
        units=_thousands("J", "kJ", "MJ", "GJ"),
    ),
    "bytes": Cost(
        title="bytes moved, down and up",
        columns=("bytes_down", "bytes_up"),
        units=_thousands("B", "kB", "MB", "GB", "TB", "PB"),
    ),
    "flops": Cost(
        title="training work",
        columns=("flops",),
        units=_thousands("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"),
    ),
}


def find_cost(name: str) -> Cost:
    """The cost of that name; ScenarioError, naming the nearest, for any other."""
    if name not in COSTS:
        raise ScenarioError(f"unknown cost {name!r}; {advice(name, COSTS)}")
    return COSTS[name]
