"""Trace files: recorded comings and goings as edgesim's own CSV, FedScale's pickle and FLASH's JSON.

Every mistake in a file is one error that names the file and the row (of a pickle or JSON: the user and the
place in its list).
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from edgesim.devices.traceimports import LONGEST_S, Interval, UnreadableError, lose, read_fedscale, read_flash
from edgesim.devices.traces import Recording
from edgesim.errors import ScenarioError
from edgesim.spelling import advice
from edgesim.units import TABLE

_SHORTEST_S = 1e-3  # what begins anew sooner makes more changes than anybody could wait for

Format: TypeAlias = Literal["csv", "fedscale", "flash"]


def read_trace(path: Path, form: Format = "csv", period_s: float | None = None) -> Recording:
    """The recording in a file.

    csv: a header `device,start_s,end_s` (or another unit of time after the _), then one interval a row. A
    user's rows ascend. The period is `period_s`, by default the last end in the file, the same for all; give whole
    days, so that what begins anew keeps its hour.
    fedscale: a pickle of {id: {active: [s], inactive: [s], finish_time: s}}; plain data only, nothing in it is
    run. The period is each user's finish_time (Lai et al. 2022, ICML).
    flash: JSON of {id: {messages: "time TAB event NEWLINE …"}}; a user is on line while it charges, is on Wi-Fi,
    and its screen is off or locked; time begins at midnight before its first event, and the period is the days up
    to midnight after its last (Yang et al. 2021, WWW).

    Raises:
        ScenarioError: a file that is not there, or whatever in it cannot be; with file and row.
    """
    try:
        return _recording(*_READERS[form](path), period_s)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}; a trace file is wanted") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file; is it of another format? (csv, fedscale, flash)") from None
    except UnreadableError as lost:
        raise ScenarioError(f"{path}, {lost}") from None


def _recording(rows: list[Interval], periods_s: dict[str, float], period_s: float | None) -> Recording:
    """Users in the order of their first rows; checks that each one's intervals can be."""
    by_user: dict[str, list[Interval]] = {user: [] for user in periods_s}
    for row in rows:
        by_user.setdefault(row.user, []).append(row)
    if not rows:
        lose("as a whole", "there is no interval, so nobody would ever be on line; write one at least")
    last_s = max(row.end_s for row in rows)
    for user, own in by_user.items():
        periods_s[user] = period_s or periods_s.get(user, last_s)
        _check(own, periods_s[user])
        if not periods_s[user] >= _SHORTEST_S:
            lose(f"user {user}", f"lasts {periods_s[user]:g} s, which is less than a millisecond; is the unit right?")
    kept = [row for own in by_user.values() for row in own]
    return Recording(
        users=tuple(by_user),
        first=np.cumsum([0, *(len(own) for own in by_user.values())]),
        starts_us=_us(row.start_s for row in kept),
        ends_us=_us(row.end_s for row in kept),
        period_us=_us(periods_s[user] for user in by_user),
    )


def _check(own: list[Interval], period_s: float) -> None:
    before: Interval | None = None
    for row in own:
        said = f"user {row.user}: {row.start_s:g} s to {row.end_s:g} s"
        if not row.start_s >= 0:  # nor nan
            lose(row.where, f"{said}: must not begin before 0")
        if not row.start_s + 1e-6 <= row.end_s <= LONGEST_S:
            lose(row.where, f"{said}: must end after it begins, and within a century")
        if row.end_s > period_s:
            lose(row.where, f"{said}: ends beyond the period of {period_s:g} s")
        if before and row.start_s < before.start_s:
            lose(row.where, f"{said}: comes after one that begins at {before.start_s:g} s; sort a user's intervals")
        if before and row.start_s < before.end_s:
            lose(row.where, f"{said}: overlaps the one before, {before.start_s:g} s to {before.end_s:g} s")
        before = row


def _csv(path: Path) -> tuple[list[Interval], dict[str, float]]:
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
    unit_s = _unit_s(rows[0] if rows else [])
    found = list[Interval]()
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 3 or not all(cell.strip() for cell in row):
            lose(f"row {number}", f"{','.join(row)!r}: must be device,start,end, none of them empty")
        try:
            start_s, end_s = float(row[1]) * unit_s, float(row[2]) * unit_s
        except ValueError:
            lose(f"row {number}", f"{','.join(row)!r}: start and end must be numbers, without a unit")
        found.append(Interval(row[0].strip(), start_s, end_s, f"row {number}"))
    return found, {}


def _unit_s(header: list[str]) -> float:
    names = [name.strip() for name in header]
    units = [name.partition("_")[2] for name in names[1:]]
    if [name.partition("_")[0] for name in names] != ["device", "start", "end"] or units[0] != units[1]:
        lose("row 1", f"{','.join(names)!r}: must be a header such as device,start_s,end_s")
    if not units[0]:
        lose("row 1", f"{','.join(names)!r}: must say its unit, as in device,start_s,end_s")
    if units[0] not in TABLE["time"]:
        lose("row 1", f"unknown unit {units[0]!r} in {names[1]!r}; {advice(units[0], TABLE['time'])}")
    return float(TABLE["time"][units[0]])


def _us(seconds: Iterable[float]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([round(1e6 * value) for value in seconds], np.int64)


_READERS = {"csv": _csv, "fedscale": read_fedscale, "flash": read_flash}
