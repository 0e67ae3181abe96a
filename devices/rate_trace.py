"""Trace: how a rate changes over time, as a factor that is constant between instants and repeats for ever."""

import csv
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from edgesim.errors import ScenarioError
from edgesim.units import TABLE

_COLUMNS = {f"time_{unit}": float(worth) for unit, worth in TABLE["time"].items()}
_SHORTEST_NS = 1_000_000  # what begins anew sooner makes more changes than anybody could wait for


@dataclass(frozen=True, kw_only=True)
class RateTrace:
    """A factor of a rate as a function of time; a pure one, so an idle link costs nothing.

    Attributes:
        starts_ns: when each factor begins; the first is 0.
        factors: one for each start; 1 is the rate as given, 0 an outage.
        period_ns: when the trace begins again.

    Raises:
        ValueError: times that do not increase from 0 to the period, a factor that is negative or infinite, or none
            above 0.
    """

    starts_ns: tuple[int, ...]
    factors: tuple[float, ...]
    period_ns: int

    def __post_init__(self) -> None:
        if not self.starts_ns or self.starts_ns[0] != 0 or len(self.starts_ns) != len(self.factors):
            raise ValueError(f"starts {self.starts_ns} of factors {self.factors}: one each, the first at 0")
        ends_ns = (*self.starts_ns[1:], self.period_ns)
        if any(end <= start for start, end in zip(self.starts_ns, ends_ns, strict=True)):
            raise ValueError(f"starts {self.starts_ns}, period {self.period_ns}: times must increase")
        if not all(0 <= factor < float("inf") for factor in self.factors):
            raise ValueError(f"factors {self.factors}: each must be 0 or more, and finite")
        if not any(self.factors):
            raise ValueError("factors are 0 throughout: nothing could ever be sent")

    def factor(self, t_ns: int) -> float:
        """The factor at t; at the instant of a change the new one holds."""
        return self.factors[bisect_right(self.starts_ns, t_ns % self.period_ns) - 1]

    def next_change_ns(self, t_ns: int) -> int:
        """The first start strictly after t."""
        turn, within_ns = divmod(t_ns, self.period_ns)
        place = bisect_right(self.starts_ns, within_ns)
        later_ns = self.starts_ns[place] if place < len(self.starts_ns) else self.period_ns
        return turn * self.period_ns + later_ns


def read_trace(path: Path) -> RateTrace:
    """A trace from a CSV file of two columns.

    The header is `time_s,factor`, or another unit of time in place of s. Each row says from when on a factor
    holds, the first from 0; the last row has a time only: there the trace begins again.

        time_s,factor
        0,1.0
        30,0.25
        60,

    Raises:
        ScenarioError: no such file, or the first row that cannot be, with its number.
    """
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file; a trace is a CSV file with the header time_s,factor")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScenarioError(f"{path}: not a CSV file in UTF-8: {error}") from None
    unit_s = _unit_s(path, rows[0][1] if rows else [])
    if len(rows) < 3:
        raise ScenarioError(f"{path}: has no factor; write at least a row 0,1 and a last row with the end only")
    starts_ns, factors = list[int](), list[float]()
    for number, row in rows[1:]:
        time_ns = round(1e9 * unit_s * _number(path, number, row, 0))
        _check_time(path, number, row[0], time_ns, starts_ns)
        starts_ns.append(time_ns)
        if number != rows[-1][0]:
            factors.append(_number(path, number, row, 1))
        elif len(row) > 1 and row[1].strip():
            raise ScenarioError(f"{path}:{number}: the last row ends the trace, it has a time and no factor")
    if starts_ns[-1] < _SHORTEST_NS:
        raise ScenarioError(
            f"{path}:{rows[-1][0]}: the trace begins again after {rows[-1][1][0]}, which is less than a millisecond; "
            f"is the unit of {rows[0][1][0]} right?"
        )
    if not any(factors):
        raise ScenarioError(f"{path}: its factors are 0 throughout, so nothing could ever be sent; write one above 0")
    return RateTrace(starts_ns=tuple(starts_ns[:-1]), factors=tuple(factors), period_ns=starts_ns[-1])


def _unit_s(path: Path, header: list[str]) -> float:
    names = [name.strip() for name in header]
    if len(names) != 2 or names[0] not in _COLUMNS or names[1] != "factor":
        raise ScenarioError(
            f"{path}:1: got the header {','.join(names)!r}; write time_s,factor (or {', '.join(_COLUMNS)})"
        )
    return _COLUMNS[names[0]]


def _number(path: Path, number: int, row: list[str], column: int) -> float:
    what = ("time", "factor")[column]
    if not column < len(row) <= 2:
        raise ScenarioError(f"{path}:{number}: got {len(row)} columns; write time and factor")
    try:
        value = float(row[column])
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise ScenarioError(f"{path}:{number}: got the {what} {row[column]!r}; write a number, 0 or more")
    return value


def _check_time(path: Path, number: int, text: str, time_ns: int, before_ns: list[int]) -> None:
    if not before_ns and time_ns != 0:
        raise ScenarioError(f"{path}:{number}: the first time is {text}; a trace begins at 0")
    if before_ns and time_ns <= before_ns[-1]:
        raise ScenarioError(f"{path}:{number}: time {text} is not after the row before; times must increase")
