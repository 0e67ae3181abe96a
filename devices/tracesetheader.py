"""Trace set header: which quantities, in which units, the columns of a trace set file hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from edgesim.devices.traceimports import lose
from edgesim.spelling import advice
from edgesim.units import TABLE

Subject: TypeAlias = Literal["device", "link"]


class _Quantity(NamedTuple):
    """Kind of its unit ("": a plain number), an example of one, the bounds of what can be, in base units."""

    kind: str
    example: str
    low: float
    high: float


_RATE = _Quantity("rate", "Mbit/s", 1, 1e12)
_QUANTITIES: dict[Subject, dict[str, _Quantity]] = {
    "link": {"down": _RATE, "up": _RATE, "rate": _RATE, "latency": _Quantity("time", "ms", 0, 3600)},
    "device": {
        "speed": _Quantity("compute", "GFLOP/s", 1e3, 1e18),
        "factor": _Quantity("", "", 1e-3, 1e3),
        "ram": _Quantity("size", "GB", 1e3, 1e15),
    },
}
_SHARE = _Quantity("", "", 0, 1)
_EITHER: dict[Subject, tuple[set[str], set[str]]] = {
    "link": ({"down", "up"}, {"rate"}),
    "device": ({"speed"}, {"factor"}),
}
_EXAMPLES: dict[Subject, str] = {"link": "down_Mbit/s,up_Mbit/s,latency_ms", "device": "speed_GFLOP/s,ram_GB"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a file. Attributes: written, its heading; name, of its quantity; worth, of its unit; low, high."""

    written: str
    name: str
    worth: float
    low: float
    high: float

    def value(self, text: str, where: str) -> float:
        """What a cell says, in base units. Raises UnreadableError for what cannot be."""
        try:
            value = float(text) * self.worth
        except ValueError:
            lose(where, f"{self.written} is '{text.strip()}'; write a number, its unit stands in the header")
        if math.isnan(value) or not self.low <= value <= self.high:
            bounds = f"between {self.low / self.worth:g} and {self.high / self.worth:g}"
            hint = ": is the unit in the header the right one?" if self.worth != 1 else ""
            lose(where, f"{self.written} is {text.strip()}; it must lie {bounds}{hint}")
        return value


def columns(header: Sequence[str], subject: Subject, where: str) -> list[Column]:
    """The columns of a trace set of devices or of links. Raises UnreadableError for a header that cannot be."""
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        lose(where, f"'{header[0]}' is one column; part columns by commas, and write decimals with a point")
    found = [_column(name.strip(), subject, where) for name in header]
    names = [column.name for column in found]
    if repeated := [column.written for column in found if names.count(column.name) > 1]:
        lose(where, f"{' and '.join(repeated)} are the same quantity; keep one")
    one, other = _EITHER[subject]
    if (one <= set(names)) == (other <= set(names)) or (one & set(names) and other & set(names)):
        ways = f"either {' and '.join(sorted(one))}, or {' and '.join(sorted(other))}"
        lose(where, f"'{','.join(header)}' must have {ways}; write a header such as {_EXAMPLES[subject]}")
    return found


def subject_of(header: Sequence[str]) -> Subject:
    """What a header is about, if it is a good one."""
    return "device" if {"speed", "factor"} & {name.partition("_")[0] for name in header} else "link"


def _column(written: str, subject: Subject, where: str) -> Column:
    name, _, unit = written.partition("_")
    known = {"share": _SHARE, **_QUANTITIES[subject]}
    if name not in known:
        lose(where, f"unknown column '{written}' in a trace of {subject}s; {advice(name, known)}, each with its unit")
    kind, example, low, high = known[name]
    if not kind and unit:
        lose(where, f"'{written}': {name} is a plain number; write {name}")
    if kind and not unit:
        lose(where, f"'{written}' has no unit; write e.g. {name}_{example}")
    if kind and unit not in TABLE[kind]:
        lose(where, f"unknown unit '{unit}' in '{written}'; {advice(unit, TABLE[kind])}")
    return Column(written=written, name=name, worth=float(TABLE[kind][unit]) if kind else 1.0, low=low, high=high)
