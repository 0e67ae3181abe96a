"""Draws without replacement in proportion to weights."""

from typing import Any

import numpy as np

from edgesim import streams
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.engine.selection.candidates import Candidates, distinct

_SPARE = 64  # numbers that are drawn beyond four for each client wanted


class Weighted:
    """Fixed weights of all clients, from whose candidates draws are made one after the other, each in proportion to
    the weights of those that are left (successive sampling)."""

    def __init__(self, weight: "np.ndarray[Any, np.dtype[Any]]") -> None:
        """`weight` [client], none negative, not all 0."""
        self._weight = weight.astype(np.float64)
        self._below = np.cumsum(self._weight)

    def draw(self, count: int, candidates: Candidates, key: int) -> list[int]:
        """At most `count` of the candidates, in the order in which they were drawn.

        Clients are drawn from all, and drawn again where they were before or cannot get a job: a search in the
        running sums each. If that does not find enough, all candidates are looked at.
        """
        numbers = streams.uniforms(np.array([key], np.uint64), 4 * count + _SPARE)[0]
        drawn = distinct(np.searchsorted(self._below, numbers * self._below[-1], side="right"))
        chosen = candidates.first([drawn], count)
        if len(chosen) < count:
            left = np.setdiff1d(candidates.all(), drawn, assume_unique=True)
            chosen += draw_by(self._weight[left], left, count - len(chosen), streams.key(key, "rest"))
        return chosen


def draw_by(weight: FloatArray, clients: IntArray, count: int, key: int) -> list[int]:
    """At most `count` of `clients` [n], by successive sampling in proportion to `weight` [n]; none of weight 0.

    The largest ln(u) / weight win (Efraimidis and Spirakis 2006, Inf. Process. Lett. 97(5)).
    """
    clients, weight = clients[weight > 0], weight[weight > 0]
    with np.errstate(divide="ignore"):
        score = np.log(streams.uniforms(streams.fold(key, clients), 1)[:, 0]) / weight
    order = np.argsort(-score, kind="stable")
    chosen: list[int] = clients[order][:count].tolist()
    return chosen
