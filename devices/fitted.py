"""Fitted: where a group of a fleet is fitted to a trace set, its devices draw their figures from there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.group import FleetGroup
from edgesim.devices.link import Link
from edgesim.devices.traceset import TraceSet

_Draws = Iterator[tuple[FleetGroup, IntArray, dict[str, FloatArray]]]


def fit_processors(columns: dict[str, FloatArray], groups: Sequence[FleetGroup], group: IndexArray, seed: int) -> None:
    """Scale speeds [device] in place: a fitted device is as fast as its draw; what its entry varies comes on top."""
    for fitted, rows, drawn in _device_draws(groups, group, seed):
        factor = drawn["factor"] if "factor" in drawn else drawn["speed"] / fitted.device.compute_flops
        columns["compute_flops"][rows] *= factor
        columns["bandwidth"][rows] *= factor
        columns["step_overhead_s"][rows] /= factor


def fit_memory(memory_bytes: IntArray, groups: Sequence[FleetGroup], group: IndexArray, seed: int) -> IntArray:
    """What a job may take [device], where the trace knows the RAM: the same share of it as on the base device."""
    fitted_bytes = memory_bytes.copy()
    for fitted, rows, drawn in _device_draws(groups, group, seed):
        if "ram" in drawn:
            fitted_bytes[rows] = (drawn["ram"] * fitted.device.usable).astype(np.int64)
    return fitted_bytes


def fit_links(columns: dict[str, FloatArray], groups: Sequence[FleetGroup], group: IndexArray, seed: int) -> None:
    """Scale rates [device] in place, and set latencies: a fitted link is as its draw."""
    for fitted, rows, drawn in _draws(groups, group, seed, "link", lambda entry: entry.link_trace):
        down, up = (drawn[name] if name in drawn else drawn["rate"] for name in ("down", "up"))
        columns["down_bps"][rows] *= down / fitted.link.down_bps
        columns["up_bps"][rows] *= up / fitted.link.up_bps
        if "latency" in drawn:
            columns["latency_s"][rows] = drawn["latency"]


def typical(entry: FleetGroup) -> Link:
    """The link of a group, without the spread that a trace set brings itself."""
    trace = entry.link_trace
    if trace is None:
        return entry.link
    late = 0.0 if "latency" in trace.values else entry.link.latency_sigma
    return replace(entry.link, down_sigma=0.0, up_sigma=0.0, latency_sigma=late)


def _device_draws(groups: Sequence[FleetGroup], group: IndexArray, seed: int) -> _Draws:
    return _draws(groups, group, seed, "device", lambda entry: entry.device_trace)


def _draws(
    groups: Sequence[FleetGroup], group: IndexArray, seed: int, what: str, of: Callable[[FleetGroup], TraceSet | None]
) -> _Draws:
    """Each fitted group with its devices and what they draw."""
    for number, entry in enumerate(groups):
        trace = of(entry)
        if trace is not None:
            rows = np.flatnonzero(group == number)
            yield entry, rows, trace.draw(rows, seed, f"fleet-trace-{what}")
