"""Costs that an accuracy is set against, and how people read their amounts: four, and what all is worth at prices."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray
from edgesim.errors import ScenarioError
from edgesim.spelling import advice
from edgesim.units import TABLE


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One cost. Attributes: name, in that of a picture; title, for an axis; columns of metrics.parquet whose sum it is,
    and how much each counts, in the base unit; units, (worth in base units, spelling), ascending."""

    name: str
    title: str
    columns: Mapping[str, float]
    units: tuple[tuple[float, str], ...]

    def of(self, metrics: Mapping[str, NDArray[Any]]) -> FloatArray:
        """The total at each evaluation, in base units [evaluation]."""
        columns = np.array([weight * np.asarray(metrics[name], np.float64) for name, weight in self.columns.items()])
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
        return f"{number:.0f} {spelling}".rstrip() if abs(number) >= 100 else f"{number:.3g} {spelling}".rstrip()


def _thousands(*spellings: str) -> tuple[tuple[float, str], ...]:
    return tuple((1e3**power, spelling) for power, spelling in enumerate(spellings))


COSTS: dict[str, Cost] = {
    "time": Cost(
        name="time",
        title="simulated time",
        columns={"time_s": 1.0},
        units=((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "d")),
    ),
    "energy": Cost(
        name="energy",
        title="energy drawn during jobs",
        columns={"energy_j": 1.0},
        units=_thousands("J", "kJ", "MJ", "GJ"),
    ),
    "bytes": Cost(
        name="bytes",
        title="bytes moved, down and up",
        columns={"bytes_down": 1.0, "bytes_up": 1.0},
        units=_thousands("B", "kB", "MB", "GB", "TB", "PB"),
    ),
    "flops": Cost(
        name="flops",
        title="training work",
        columns={"flops": 1.0},
        units=_thousands("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"),
    ),
}


PRICE = "price"
"""The name of what all is worth at prices, whatever they are."""

_SOLD = {"energy": ("energy_j",), "size": ("bytes_down", "bytes_up"), "time": ("time_s",)}
_ONE_WAY = {"down": ("bytes_down",), "up": ("bytes_up",)}
_TERM = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([^\s0-9/]*)\s*/\s*(\w+)\s*(down|up)?\s*")
_EXAMPLE = "0.30/kWh + 2/GB, or 0.3 EUR/kWh + 1 EUR/GB down + 4 EUR/GB up + 0.5 EUR/h"


def find_cost(name: str) -> Cost:
    """The cost of that name, or at those prices: "0.3/kWh + 2/GB".

    Raises ScenarioError, naming the nearest, for any other name, and for what is no price.
    """
    if name in COSTS:
        return COSTS[name]
    if "/" in name:
        return _priced(name)
    raise ScenarioError(f"unknown cost {name!r}; {advice(name, COSTS)}, or prices, e.g. {_EXAMPLE}")


@lru_cache(maxsize=16)
def _priced(text: str) -> Cost:
    columns, currencies = dict[str, float](), set[str]()
    for term in text.split("+"):
        match = _TERM.fullmatch(term)
        if match is None:
            raise ScenarioError(f"{term.strip()!r} is no price; write e.g. {_EXAMPLE}")
        number, currency, unit, way = match.groups()
        kind = next((kind for kind in _SOLD if unit in TABLE[kind]), None)
        if kind is None or (way and kind != "size"):
            known = "; ".join(", ".join(TABLE[kind]) for kind in _SOLD)
            raise ScenarioError(
                f"{term.strip()!r}: no price is for {unit} {way or ''}".rstrip() + f"; it is for {known}"
            )
        currencies.add(currency)
        for column in _ONE_WAY[way] if way else _SOLD[kind]:
            columns[column] = columns.get(column, 0.0) + float(number) / float(TABLE[kind][unit])
    if len(currencies) > 1:
        told = " and ".join(currency or "none" for currency in sorted(currencies))
        raise ScenarioError(f"{text!r}: the prices are in {told}; write one currency")
    return Cost(name=PRICE, title=f"price at {text}", columns=columns, units=((1.0, currencies.pop()),))
