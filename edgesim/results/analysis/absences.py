"""Absences: how long clients were off line, or without charge, within stretches of time, by availability.parquet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

COLUMNS = ("client", "start_ns", "end_ns")


class Absences:
    """Answers for many stretches at once."""

    def __init__(self, table: Mapping[str, NDArray[Any]]) -> None:
        """`table`: COLUMNS of availability.parquet; the absences of one client do not overlap."""
        order = np.lexsort((table["start_ns"], table["client"]))
        self._client, start_ns, self._end_ns = (table[name][order].astype(np.int64) for name in COLUMNS)
        self._past_ns = np.concatenate(([0], np.cumsum(self._end_ns - start_ns)))
        # An instant counts by its rank among all begins, so that a client and an instant fit into one number.
        self._begins_ns = np.unique(start_ns)
        self._keys = self._key(self._client, start_ns)

    def within(self, client: Whole, start_ns: Whole, end_ns: Whole) -> Whole:
        """Time of absence of each of these clients from `start` to `end` [n]."""
        return self._before(client, end_ns) - self._before(client, start_ns)

    def _before(self, client: Whole, at_ns: Whole) -> Whole:
        """Time of absence of each client until `at`, and of all clients of smaller numbers in the whole run [n]."""
        if not len(self._keys):
            return np.zeros_like(at_ns)
        place = np.searchsorted(self._keys, self._key(client, at_ns))  # absences that begin before
        last = np.maximum(place - 1, 0)
        reaches = (place > 0) & (self._client[last] == client)  # the last of them may end later
        return self._past_ns[place] - np.where(reaches, np.maximum(self._end_ns[last] - at_ns, 0), 0)

    def _key(self, client: Whole, at_ns: Whole) -> Whole:
        return client * (len(self._begins_ns) + 1) + np.searchsorted(self._begins_ns, at_ns)
