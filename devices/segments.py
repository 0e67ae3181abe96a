"""Segments: the stretches between flips as rows of arrays, and the draws that several processes need."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.trajectories import BoolArray
from edgesim.streams import uniforms

_BLOCK = 1 << 20  # bounds worked on at once


def segments(before_on: BoolArray, flips_us: IntArray, length_us: IntArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Start, end and state of the stretches between flips [n, flips + 1]."""
    starts_us = np.concatenate([np.zeros((len(flips_us), 1), np.int64), flips_us], axis=1)
    ends_us = np.concatenate([flips_us, length_us[:, None]], axis=1)
    on: BoolArray = before_on[:, None] ^ (np.arange(starts_us.shape[1]) % 2 == 1)
    return starts_us, ends_us, on


def compact(row: IntArray, starts_us: IntArray, ends_us: IntArray, on: BoolArray) -> tuple[IntArray, ...]:
    """Row, start and state (0, 1) of the stretches that have a length."""
    real = ends_us > starts_us
    rows = np.broadcast_to(row[:, None], real.shape)
    return rows[real], starts_us[real], on[real].astype(np.int64)


def blocks(count: int, columns: int) -> Iterator[slice]:
    """`count` rows of so many columns, in parts that are worked on at once."""
    size = max(1, _BLOCK // columns)
    for start in range(0, count, size):
        yield slice(start, start + size)


def normals(keys: NDArray[np.uint64]) -> FloatArray:
    """One draw from N(0, 1) for each key [n], by Box and Muller (1958)."""
    draws = uniforms(keys, 2)
    # single precision: a last-bit difference in log or cos between two machines goes no further
    normal = np.sqrt(-2.0 * np.log(1.0 - draws[:, 0])) * np.cos(2.0 * np.pi * draws[:, 1])
    return normal.astype(np.float32).astype(np.float64)
