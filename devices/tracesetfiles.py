"""Trace set files: figures of many devices as CSV, the user's own or one that ships with edgesim.

Every mistake in a file is one error that names the file, the row, and what to write.
"""

import csv
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgesim.devices.traceimports import UnreadableError, lose
from edgesim.devices.traceset import TraceSet, from_rows
from edgesim.devices.tracesetheader import Column, Subject, columns, subject_of
from edgesim.errors import ScenarioError
from edgesim.spelling import advice

__all__ = ["Subject", "find_trace_set", "read_trace_set", "shipped"]

_PREFIX, _SUFFIX = "trace-", ".csv"


@cache
def shipped(subject: Subject) -> dict[str, TraceSet]:
    """The trace sets of devices or of links that ship with edgesim, by name."""
    found = dict[str, TraceSet]()
    for entry in sorted(files("edgesim.devices").iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
            with as_file(entry) as path:
                if subject_of(_header(path.read_text("utf-8").splitlines())[1]) == subject:
                    name = entry.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
                    found[name] = read_trace_set(path, subject)
    return found


def find_trace_set(name: str, subject: Subject) -> TraceSet:
    """A shipped trace set. Raises ValueError for an unknown name."""
    known = shipped(subject)
    if name not in known:
        raise ValueError(f"unknown trace of {subject}s '{name}'; {advice(name, known)}; or give the path of your own")
    return known[name]


def read_trace_set(path: Path, subject: Subject) -> TraceSet:
    """The trace set in a CSV file.

    Lines that begin with # come first and may say `base: NAME`, `correlation: NUMBER`, `source: TEXT`. Then a header
    of quantities with their units, then a row for each recorded device. Of links: down_UNIT and up_UNIT, or
    rate_UNIT where both are the same; latency_UNIT if known. Of devices: speed_UNIT while training, or factor (of
    the base device's speed); ram_UNIT if known. With a column `share` the rows are quantiles instead: the part of
    all devices that has at most that value.

    Raises:
        ScenarioError: a file that is not there, or whatever in it cannot be; with file and row.
    """
    try:
        return _trace_set(path.read_text("utf-8-sig").splitlines(), subject)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}; a trace of {subject}s is wanted (.csv)") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file; a trace of {subject}s is CSV in UTF-8") from None
    except UnreadableError as lost:
        raise ScenarioError(f"{path}, {lost}") from None


def _trace_set(lines: Sequence[str], subject: Subject) -> TraceSet:
    number, header = _header(lines)
    known, said = columns(header, subject, f"row {number}"), _said(lines[: number - 1])
    rows = [
        (f"row {at}", _row(cells, known, f"row {at}"))
        for at, cells in enumerate(csv.reader(lines[number:]), start=number + 1)
        if cells
    ]
    if not rows:
        lose("as a whole", "there is no row below the header; write at least one")
    table = np.array([row for _, row in rows], np.float64)
    values = {column.name: np.ascontiguousarray(table[:, at]) for at, column in enumerate(known)}
    base, source = said["base"][0] if said["base"] else None, " ".join(said["source"])
    if "share" not in values:
        if said["correlation"]:
            lose(
                "as a whole", "a correlation is of quantiles, and these rows are devices, which have one: leave it out"
            )
        return from_rows(values, base, source)
    _check_quantiles(known, rows)
    shares, rho = values.pop("share"), _correlation(said["correlation"], len(known) - 1)
    return TraceSet(shares=shares, values=values, ranks={}, correlation=rho, base=base, source=source)


def _header(lines: Sequence[str]) -> tuple[int, list[str]]:
    """The first line that is no remark: its number, from 1, and its cells."""
    number = next((at for at, line in enumerate(lines, start=1) if not line.startswith("#")), None)
    if number is None:
        lose("as a whole", "there is no header; write at least a header and a row")
    return number, next(csv.reader([lines[number - 1]]), [])


def _said(lines: Sequence[str]) -> dict[str, list[str]]:
    """What the lines above the header say of the whole; other remarks mean nothing."""
    found: dict[str, list[str]] = {"base": [], "correlation": [], "source": []}
    for line in lines:
        name, _, text = line.lstrip("#").strip().partition(":")
        if name in found:
            found[name].append(text.strip())
    return found


def _row(cells: Sequence[str], known: Sequence[Column], where: str) -> list[float]:
    if len(cells) != len(known):
        what = f"{len(cells)} values under a header of {len(known)}"
        lose(where, f"'{','.join(cells)}': {what}; write one a column, with a point for decimals")
    return [column.value(cell, where) for column, cell in zip(known, cells, strict=True)]


def _check_quantiles(known: Sequence[Column], rows: Sequence[tuple[str, list[float]]]) -> None:
    """Neither the shares nor any quantity may fall from row to row."""
    for (_, before), (where, row) in pairwise(rows):
        for column, low, value in zip(known, before, row, strict=True):
            if value < low:
                lose(where, f"{column.written} falls from the row before; shares and their quantiles must rise")


def _correlation(said: Sequence[str], quantities: int) -> float:
    if not said:
        return 0.0
    try:
        value = float(said[0])
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        lose("as a whole", f"correlation is '{said[0]}'; write a number from -1 to 1")
    if quantities < 2:
        lose("as a whole", "a correlation takes two quantities, and there is one; leave it out")
    return value
