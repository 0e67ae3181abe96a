"""Expectations: what a job of each client would take, for all of a fleet at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.fleet import Fleet
from edgesim.engine.learning import Assignment


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Of a job whose device stays on line, and has its link to itself and a radio that slept before: time from dispatch
    to arrival, and energy.

    Both are [client].
    """

    duration_ns: IntArray
    energy_j: FloatArray


def expect(
    fleet: Fleet, samples: IntArray, cost_of: Callable[[int], Assignment], sparse_speedup: SparseSpeedup
) -> Expected:
    """What jobs would take if clients of one device model with equally many samples had the same job.

    `cost_of` is asked for one client of each such kind, so a million clients take a fraction of a second. Within a
    kind, units differ by the roofline of their own figures; finer figures of the device model (`Traits`) enter as
    a factor, that of the kind's first unit.
    """
    pairs = samples * len(fleet.class_names) + fleet.device_class
    _, first, kind = np.unique(pairs, return_index=True, return_inverse=True)
    etas = fleet.sparse_efficiency[first].tolist()
    jobs = [
        _job(fleet, client, cost_of(client), eta, sparse_speedup)
        for client, eta in zip(first.tolist(), etas, strict=True)
    ]
    flops, traffic, steps, down, up, finer = (np.array(column, np.float64)[kind] for column in zip(*jobs, strict=True))
    train_s = finer * (
        np.maximum(flops / fleet.compute_flops, traffic / fleet.bandwidth) + steps * fleet.step_overhead_s
    )
    promotion_s, tail_s, tail_w = fleet.promotion_s, fleet.tail_s, fleet.tail_w
    delay = fleet.latency_s, fleet.round_trips, fleet.window_bytes
    down_s = promotion_s + cost.delays_s(down, fleet.down_bps, *delay) + 8 * down / fleet.down_bps
    waking_s = promotion_s * (train_s >= tail_s)
    up_s = waking_s + cost.delays_s(up, fleet.up_bps, *delay) + 8 * up / fleet.up_bps
    energy_j = (
        (fleet.idle_w + fleet.receive_w) * down_s
        + fleet.training_w * train_s
        + (fleet.idle_w + fleet.send_w) * up_s
        + tail_w * (np.minimum(train_s, tail_s) + tail_s)
    )
    total_ns = np.rint(1e9 * (down_s + train_s + up_s)).astype(np.int64)
    return Expected(duration_ns=total_ns, energy_j=energy_j)


def _job(
    fleet: Fleet, client: int, assigned: Assignment, eta: float, sparse_speedup: SparseSpeedup
) -> tuple[float, float, int, int, int, float]:
    """FLOPs, traffic, steps, bytes down and up, and the factor of the device model's finer figures."""
    work = assigned.workload
    flops = cost.effective_flops(work, sparse_efficiency=eta, sparse_speedup=sparse_speedup)
    exact_ns, plain_ns = (
        cost.compute_ns(
            work,
            compute_flops=float(fleet.compute_flops[client]),
            bandwidth=float(fleet.bandwidth[client]),
            step_overhead_s=float(fleet.step_overhead_s[client]),
            sparse_efficiency=eta,
            sparse_speedup=sparse_speedup,
            traits=traits,
        )
        for traits in (fleet.class_traits[fleet.device_class[client]], None)
    )
    assert assigned.upload_bytes is not None
    finer = exact_ns / plain_ns if plain_ns else 1.0
    return flops, work.traffic_bytes, work.steps, assigned.download_bytes, assigned.upload_bytes, finer
