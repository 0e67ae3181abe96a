"""Shared: figures of a fleet that devices have in common, kept once for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray

if TYPE_CHECKING:
    from edgesim.devices.fleet import Fleet


@dataclass(frozen=True, eq=False)
class Shared:
    """A figure that does not differ within an entry of a fleet: `figures` [entry], and the `entry` of each [device]."""

    figures: FloatArray
    entry: IndexArray

    def whole(self) -> FloatArray:
        """The figure of each device [device], read-only."""
        values = self.figures[self.entry]
        values.flags.writeable = False
        return values


class Column:
    """A figure of every device of a fleet, given as an array [device] or as what entries share; read as an array.

    Each reading of a shared one makes the array anew: who asks for single devices again and again asks `Fleet.shared`.
    """

    def __set_name__(self, owner: type["Fleet"], name: str) -> None:
        self._name = name

    def __get__(self, fleet: "Fleet | None", owner: type["Fleet"]) -> FloatArray:
        if fleet is None:
            raise AttributeError(self._name)  # which says to a dataclass that the field has no default
        return whole(vars(fleet)[self._name])

    def __set__(self, fleet: "Fleet", values: FloatArray | Shared) -> None:
        vars(fleet)[self._name] = values


def whole(column: FloatArray | Shared) -> FloatArray:
    """Its figure of each device [device]."""
    return column.whole() if isinstance(column, Shared) else column


def rows(columns: Sequence[FloatArray | Shared]) -> tuple[IndexArray, FloatArray]:
    """Which row of a table each device has [device], and the table [row, column]."""
    shared = [column for column in columns if isinstance(column, Shared)]
    if len(shared) == len(columns) and len({id(column.entry) for column in shared}) == 1:
        return shared[0].entry, np.stack([column.figures for column in shared], 1)
    table, row = np.unique(np.stack([whole(column) for column in columns], 1), axis=0, return_inverse=True)
    return row.reshape(-1).astype(np.int32), table
