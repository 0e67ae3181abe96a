"""What differs between two directories of one run: which file, which figures of it, and by how much."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgesim.results.analysis import report
from edgesim.results.recorder import SUMMARY


def differences(one: Path, other: Path) -> list[str]:
    """A line for each figure or column that is not the same; none: all files that a run leaves are, byte for byte,
    but for its scenario's, which tells versions."""
    tables = {path.name for folder in (one, other) for path in folder.glob("*.parquet")}
    names = sorted({*tables, report.FILE, SUMMARY})
    return [f"{name}: {what}" for name in names for what in _of_files(one / name, other / name)]


def _of_files(one: Path, other: Path) -> Iterator[str]:
    if not (one.is_file() and other.is_file()):
        yield "missing" if other.is_file() else "not made any more"
    elif one.read_bytes() != other.read_bytes():
        try:
            found = [*(_of_tables if one.suffix == ".parquet" else _of_documents)(one, other)]
        except (OSError, ValueError, pa.ArrowException):  # of the old one: the new one has just been written
            found = ["damaged, cannot be read"]
        yield from found or ["other bytes, equal content"]


def _of_tables(one: Path, other: Path) -> Iterator[str]:
    before, now = pq.read_table(one), pq.read_table(other)
    old, new = before.schema.names, now.schema.names
    if old != new:
        gone, added = ([name for name in names if name not in known] for names, known in ((old, new), (new, old)))
        yield from (f"column {name} is not made any more" for name in gone)
        yield from (f"column {name} is new" for name in added)
        if not gone and not added:
            yield "columns in another order"
    elif before.num_rows != now.num_rows:
        yield f"{before.num_rows:,} rows, now {now.num_rows:,}"
    else:
        for name in old:
            yield from (f"{name} {what}" for what in _of_columns(before[name], now[name]))


def _of_columns(before: pa.ChunkedArray, now: pa.ChunkedArray) -> Iterator[str]:
    if not pa.types.is_floating(before.type):
        unlike = sum(a != b for a, b in zip(before.to_pylist(), now.to_pylist(), strict=True))
        if unlike:
            yield f"in {unlike:,} of {len(before):,} rows"
        return
    a, b = before.to_numpy(), now.to_numpy()
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not same.all():
        rows = np.count_nonzero(~same)
        yield f"in {rows:,} of {len(a):,} rows, by at most {np.abs(a - b)[~same].max():.2g}"


def _of_documents(one: Path, other: Path) -> Iterator[str]:
    before, now = (dict(_leaves(json.loads(path.read_text("utf-8")))) for path in (one, other))
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield f"{key} {before.get(key)}, now {now.get(key)}"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        yield key, value
    for name, item in pairs or ():
        yield from _leaves(item, f"{key}.{name}" if key else str(name))
