"""What a job costs on a device: pure functions of numbers. Each duration is rounded once, to whole ns."""

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.traits import Curve, Traits, dense_share
from edgesim.devices.workload import Workload

SparseSpeedup = Literal["ideal", "realised"]


def transfer_ns(
    size_bytes: int, rate_bps: float, latency_s: float, round_trips: float = 0.0, window_bytes: float = 0.0
) -> int:
    """Time for a message alone on its link: delay + 8 · size / rate; an empty one still pays its delay, see `delay_s`.

    Raises:
        ValueError: a negative size or latency, or a rate that is not above 0.
    """
    if size_bytes < 0:
        raise ValueError(f"size {size_bytes!r} B: must not be negative")
    if not rate_bps > 0:
        raise ValueError(f"rate {rate_bps!r} bit/s: must be above 0")
    if not (math.isfinite(latency_s) and latency_s >= 0):
        raise ValueError(f"latency {latency_s!r} s: must be finite and not negative")
    before_s = delay_s(size_bytes, rate_bps, latency_s, round_trips, window_bytes)
    return round(1e9 * before_s + 8e9 * size_bytes / rate_bps)


def transfers_ns(
    size_bytes: IntArray, rate_bps: FloatArray, latency_s: FloatArray, round_trips: FloatArray, window_bytes: FloatArray
) -> IntArray:
    """`transfer_ns` of each message [job], to the nanosecond the same; figures as a fleet has checked them."""
    before_s = delays_s(size_bytes, rate_bps, latency_s, round_trips, window_bytes)
    return np.rint(1e9 * before_s + 8e9 * size_bytes / rate_bps).astype(np.int64)


def delay_s(size_bytes: int, rate_bps: float, latency_s: float, round_trips: float, window_bytes: float) -> float:
    """What a message takes besides its bytes: latency · (1 + round trips that open its connection) + slow start.

    A round trip takes the latency. In slow start a sender may have `window_bytes` under way, then twice, four times, …
    as many, and waits for the first byte of a window to be acknowledged: latency − 2^k · window / rate, where that
    is above 0, after each window k = 0, 1, … but the message's last. 0: no slow start. (Kurose, Ross, Computer
    Networking, TCP latency modelling: there a window is acknowledged a segment at a time; here, bytes flow.)
    """
    total_s = latency_s * (1 + round_trips)
    if window_bytes:
        sent, takes_s = window_bytes, 8 * window_bytes / rate_bps
        while sent < size_bytes and takes_s < latency_s:
            total_s += latency_s - takes_s
            sent, takes_s = 2 * sent + window_bytes, 2 * takes_s
    return total_s


def delays_s(
    size_bytes: IntArray | FloatArray, rate_bps: FloatArray, latency_s: FloatArray, round_trips: FloatArray,
    window_bytes: FloatArray,
) -> FloatArray:  # fmt: skip
    """`delay_s` of each message [job], to the last bit the same."""
    total_s = latency_s * (1 + round_trips)
    if window_bytes.any():
        sent, takes_s = window_bytes, 8 * window_bytes / rate_bps
        while (waits := (window_bytes > 0) & (sent < size_bytes) & (takes_s < latency_s)).any():
            total_s = total_s + np.where(waits, latency_s - takes_s, 0.0)
            sent, takes_s = 2 * sent + window_bytes, 2 * takes_s
    return total_s


def effective_flops(workload: Workload, *, sparse_efficiency: float, sparse_speedup: SparseSpeedup) -> float:
    """Dense FLOPs that would take the device as long as this workload's sparse ones do.

    A layer of density d costs dense · d ("ideal"), or dense / max(1, eta / d) ("realised", with eta =
    `sparse_efficiency`): unstructured sparse kernels reach only the share eta of a dense kernel's rate,
    so below a sparsity of 1 - eta the dense kernel is the faster one and is used. Both give 0 at d = 0.

    Raises:
        ValueError: eta outside (0, 1], or an unknown `sparse_speedup`.
    """
    if sparse_speedup == "ideal":
        return workload.flops
    return _split(workload, sparse_efficiency, sparse_speedup, ())[0]


@lru_cache(maxsize=4096)  # workloads are shared by clients of like size, and devices of a class share eta
def _split(
    workload: Workload, sparse_efficiency: float, sparse_speedup: SparseSpeedup, curve: Curve
) -> tuple[float, float, float]:
    """Effective FLOPs: of all, of convolutions, of all else."""
    time = workload.layer_flops * _time_share(workload.layer_density, sparse_efficiency, sparse_speedup, curve)
    total = math.fsum([*time.tolist(), workload.other_flops])
    if workload.layer_convolution is None:
        return total, 0.0, total
    rest = [*time[~workload.layer_convolution].tolist(), workload.other_flops]
    return total, math.fsum(time[workload.layer_convolution].tolist()), math.fsum(rest)


def _time_share(density: FloatArray, sparse_efficiency: float, sparse_speedup: str, curve: Curve) -> FloatArray:
    """Time of each layer as a share of the dense one's [layer]."""
    if sparse_speedup == "ideal":
        return density
    if sparse_speedup != "realised":
        raise ValueError(f"sparse_speedup {sparse_speedup!r}: must be 'ideal' or 'realised'")
    if not 0 < sparse_efficiency <= 1:
        raise ValueError(f"sparse_efficiency {sparse_efficiency!r}: must lie in (0, 1]")
    if curve:
        return dense_share(density, curve)
    # 1 / max(1, eta / d) written so that d = 0 needs no division by zero
    return np.minimum(1.0, density / sparse_efficiency)


def compute_ns(
    workload: Workload,
    *,
    compute_flops: float,
    bandwidth: float,
    step_overhead_s: float,
    sparse_efficiency: float,
    sparse_speedup: SparseSpeedup,
    traits: Traits | None = None,
) -> int:
    """Training time by the roofline: max(effective FLOPs / rate, traffic / bandwidth) + steps · overhead.

    `compute_flops` in FLOP/s, `bandwidth` in byte/s (Williams, Waterman, Patterson 2009, CACM 52(4)). The
    `traits` of a device model, if it has any, refine that: convolutions and activations at rates of their own, an
    overhead a layer, traffic added rather than hidden, a measured sparse curve, a burst at the job's start.

    Raises:
        ValueError: a rate that is not above 0, a negative overhead, and what `effective_flops` raises.
    """
    if not compute_flops > 0:
        raise ValueError(f"compute_flops {compute_flops!r} FLOP/s: must be above 0")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth {bandwidth!r} byte/s: must be above 0")
    if not (math.isfinite(step_overhead_s) and step_overhead_s >= 0):
        raise ValueError(f"step_overhead_s {step_overhead_s!r} s: must be finite and not negative")
    curve = () if traits is None else traits.sparse_curve
    flops = _split(workload, sparse_efficiency, sparse_speedup, curve)
    whole_ns: float = _compute_ns(workload, flops, compute_flops, bandwidth, step_overhead_s, traits, max)
    return round(whole_ns)


def computes_ns(
    workloads: Sequence[Workload],
    *,
    compute_flops: FloatArray,
    bandwidth: FloatArray,
    step_overhead_s: FloatArray,
    sparse_efficiency: FloatArray,
    sparse_speedup: SparseSpeedup,
    class_traits: Sequence[Traits | None],
    device_class: IndexArray,
) -> IntArray:
    """`compute_ns` of each job [job], to the nanosecond the same; rates as a fleet has checked them.

    `class_traits` by the number of a device's class.
    """
    found = np.empty(len(workloads))
    for number in np.unique(device_class).tolist():
        rows, traits = np.flatnonzero(device_class == number), class_traits[number]
        works = [workloads[row] for row in rows.tolist()]
        curve = () if traits is None else traits.sparse_curve
        work, flops = _figures(works, sparse_efficiency[rows], sparse_speedup, curve)
        rates = compute_flops[rows], bandwidth[rows], step_overhead_s[rows]
        found[rows] = _compute_ns(work, flops, *rates, traits, np.maximum)
    return np.rint(found).astype(np.int64)


class _Figures(NamedTuple):
    """What `_compute_ns` reads of workloads, each [job]."""

    steps: FloatArray
    traffic_bytes: FloatArray
    activation_bytes: FloatArray
    convolution_bytes: FloatArray
    layer_calls: FloatArray


_figures_of = attrgetter(*_Figures._fields)


def _figures(
    works: Sequence[Workload], etas: FloatArray, sparse_speedup: SparseSpeedup, curve: Curve
) -> tuple[_Figures, FloatArray]:
    """The figures of jobs, and what `_split` says of each [3, job]; jobs of one kind share a workload."""
    if all(work is works[0] for work in works):
        every, place = np.unique(etas, return_inverse=True)
        kinds = [(works[0], eta) for eta in every.tolist()]
    else:
        pairs = list(zip(map(id, works), etas.tolist(), strict=True))
        known = dict(zip(pairs, zip(works, etas.tolist(), strict=True), strict=True))
        number = {pair: number for number, pair in enumerate(known)}
        kinds, place = list(known.values()), np.array([number[pair] for pair in pairs])
    table = [(*_figures_of(work), *_split(work, eta, sparse_speedup, curve)) for work, eta in kinds]
    columns = np.array(table, np.float64)[place].T
    return _Figures(*columns[:-3]), columns[-3:]


def _compute_ns(
    work: Any, flops: Any, compute_flops: Any, bandwidth: Any, step_overhead_s: Any, traits: Traits | None, most: Any
) -> Any:
    """Training time before it is rounded: of one job in numbers, or of many in arrays [job]. `flops` as `_split` gives
    them; `most`, the larger of two."""
    total, of_convolutions, rest = flops
    traffic_ns = 1e9 * work.traffic_bytes / bandwidth
    overhead_ns = work.steps * 1e9 * step_overhead_s
    if traits is None:
        return most(1e9 * total / compute_flops, traffic_ns) + overhead_ns
    speed, memory_speed = compute_flops / traits.compute_flops, bandwidth / traits.bandwidth
    rate = speed * (traits.convolution_flops or traits.compute_flops)
    arithmetic_ns = 1e9 * (rest / compute_flops + of_convolutions / rate)
    for part_bytes, own in (
        (work.activation_bytes, traits.activation_bandwidth),
        (work.convolution_bytes, traits.convolution_bandwidth),
    ):
        if own is not None:
            traffic_ns = traffic_ns + 1e9 * part_bytes * (1 / (memory_speed * own) - 1 / bandwidth)
    together_ns = most(arithmetic_ns, traffic_ns) if traits.overlap else arithmetic_ns + traffic_ns
    layers_ns = work.layer_calls * 1e9 * traits.layer_overhead_s / speed
    return 1e9 * traits.burst_time_s((together_ns + overhead_ns + layers_ns) / 1e9)


def energy_j(power_w: float, duration_ns: int) -> float:
    """Energy of a constant power over a duration."""
    return power_w * duration_ns / 1e9


def energies_j(power_w: FloatArray, duration_ns: IntArray) -> FloatArray:
    """`energy_j` of each [job], to the last bit the same."""
    return power_w * duration_ns / 1e9
