"""Costs, each against a number worked out by hand."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.cost import (
    SparseSpeedup,
    compute_ns,
    delay_s,
    effective_flops,
    energy_j,
    transfer_ns,
    transfers_ns,
)
from edgesim.devices.workload import Workload


def workload(density: list[float], *, traffic_bytes: float = 0.0, steps: int = 0) -> Workload:
    """Two layers of 1e9 dense FLOPs each, and 5e8 that cannot be masked."""
    return Workload(
        layer_flops=np.full(len(density), 1e9),
        layer_density=np.array(density),
        other_flops=5e8,
        traffic_bytes=traffic_bytes,
        steps=steps,
        memory_bytes=0,
    )


DEVICE: dict[str, Any] = {
    "compute_flops": 1e9,
    "bandwidth": 1e9,
    "step_overhead_s": 2e-3,
    "sparse_efficiency": 0.25,
}


@pytest.mark.parametrize(
    ("size_bytes", "rate_bps", "latency_s", "expected_ns"),
    [
        (1_000_000, 8e6, 0.0, 1_000_000_000),  # 8 Mbit over 8 Mbit/s
        (1_000_000, 8e6, 0.05, 1_050_000_000),  # and 50 ms on top, once
        (0, 8e6, 0.05, 50_000_000),  # an empty message still travels
        (1, 8e9, 0.0, 1),  # 8 bit over 8 Gbit/s
        (1, 16.1e9, 0.0, 0),  # 0.497 ns rounds down
        (2, 3e9, 0.0, 5),  # 5.33 ns, rounded once: not 2 · round(2.67) = 6
        (10**12, 20e3, 2.0, 400_000_002_000_000_000),  # 1 TB over 20 kbit/s: 12.7 years, still exact
    ],
)
def test_transfer_time(size_bytes: int, rate_bps: float, latency_s: float, expected_ns: int) -> None:
    result = transfer_ns(size_bytes, rate_bps, latency_s)
    assert result == expected_ns
    assert type(result) is int


@pytest.mark.parametrize(
    ("size_bytes", "round_trips", "window_bytes", "expected_ms"),
    [
        (1_000_000, 0, 0, 1050),
        (1_000_000, 2, 0, 1150),  # TCP and TLS 1.3
        (10_000, 0, 10_000, 60),  # one window: nothing to wait for
        (10_001, 0, 10_000, 60.001 + 40),  # its first byte is acknowledged 50 ms after it left, 40 after the last
        (30_000, 0, 10_000, 80 + 40),  # two windows
        (1_000_000, 0, 10_000, 1050 + 40 + 30 + 10),  # of 10, 20, 40, 80 kB; the fourth lasts longer than a round trip
        (1_000_000, 3, 10_000, 1050 + 150 + 40 + 30 + 10),
        (1_000_000, 0, 50_000, 1050),  # at once as fast as the link
        (0, 1, 10_000, 100),  # an empty message, too, needs a connection
    ],
)
def test_a_connection_is_opened_and_starts_slowly(
    size_bytes: int, round_trips: float, window_bytes: float, expected_ms: float
) -> None:
    """At 1 kB a ms and a round trip of 50 ms."""
    assert transfer_ns(size_bytes, 8e6, 0.05, round_trips, window_bytes) == expected_ms * 1_000_000


@given(st.integers(0, 10**8), st.floats(1e3, 1e10), st.floats(0.0, 5.0), st.floats(100.0, 1e6))
def test_slow_start_costs_at_most_a_round_trip_for_each_doubling(
    size_bytes: int, rate_bps: float, latency_s: float, window_bytes: float
) -> None:
    """log2(size / window), and the windows before the last leave at most as fast as one a round trip."""
    waits_s = delay_s(size_bytes, rate_bps, latency_s, 0.0, window_bytes) - latency_s
    doublings = math.ceil(math.log2(size_bytes / window_bytes + 1)) - 1 if size_bytes else 0
    assert 0 <= waits_s <= max(doublings, 0) * latency_s * (1 + 1e-9)


@given(st.lists(st.tuples(*(st.floats(0.0, 1.0) for _ in range(5))), min_size=1, max_size=20))
def test_transfers_together_are_single_ones(jobs: list[tuple[float, ...]]) -> None:
    size, rate, latency, trips, window = np.array(jobs).T
    size_bytes, rate_bps, window_bytes = (
        (10 ** (7 * size)).astype(np.int64),
        10 ** (4 + 5 * rate),
        1e5 * window.round(1),
    )
    together = transfers_ns(size_bytes, rate_bps, latency, 4 * trips, window_bytes)
    columns = (size_bytes, rate_bps, latency, 4 * trips, window_bytes)
    assert together.tolist() == [transfer_ns(*job) for job in zip(*(c.tolist() for c in columns), strict=True)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((-1, 8e6, 0.0), "size -1 B"),
        ((1, 0.0, 0.0), "rate 0.0 bit/s: must be above 0"),
        ((1, float("nan"), 0.0), "rate nan"),
        ((1, 8e6, -0.1), "latency -0.1 s"),
    ],
)
def test_impossible_transfers_are_refused(call: tuple[int, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transfer_ns(*call)


@pytest.mark.parametrize(
    ("density", "sparse_speedup", "expected"),
    [
        ([1.0, 1.0], "ideal", 2.5e9),
        ([1.0, 1.0], "realised", 2.5e9),
        ([0.5, 0.1], "ideal", 1.1e9),  # 0.5 + 0.1 + 0.5
        (
            [0.5, 0.1],
            "realised",
            1.9e9,
        ),  # eta 0.25: 0.5 is no faster than dense, 0.1 runs 2.5 times faster: 1 + 0.4 + 0.5
        ([0.25, 0.25], "realised", 2.5e9),  # the break-even point: eta / d = 1
        ([0.0, 1.0], "ideal", 1.5e9),  # a layer without a weight is free
        ([0.0, 1.0], "realised", 1.5e9),
    ],
)
def test_effective_flops(density: list[float], sparse_speedup: SparseSpeedup, expected: float) -> None:
    flops = effective_flops(workload(density), sparse_efficiency=0.25, sparse_speedup=sparse_speedup)
    assert flops == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("density", "measured", "within"),
    [(0.2, 1.36, 0.05), (0.1, 2.73, 0.05), (0.05, 5.30, 0.05), (0.02, 12.5, 0.05), (0.01, 22.0, 0.2)],
)
def test_realised_speedup_follows_the_measured_curve(density: float, measured: float, within: float) -> None:
    """A training step in CSR against MKL dense GEMM on one Zen 4 core: eta / d with eta = 0.26 stays within
    5 % up to 98 % sparsity, and is 18 % too fast at 99 %."""
    job = dataclasses.replace(workload([density]), other_flops=0.0)
    flops = effective_flops(job, sparse_efficiency=0.26, sparse_speedup="realised")
    assert 1e9 / flops == pytest.approx(measured, rel=within)


def test_compute_bound_time_is_flops_over_rate_plus_overhead() -> None:
    """2.5e9 FLOPs at 1e9 FLOP/s is 2.5 s (2 GB of traffic at 1 GB/s only 2 s), and 10 steps of 2 ms."""
    job = workload([1.0, 1.0], traffic_bytes=2e9, steps=10)
    assert compute_ns(job, **DEVICE, sparse_speedup="realised") == 2_520_000_000


def test_memory_bound_time_is_traffic_over_bandwidth() -> None:
    """4 GB of traffic at 1 GB/s outlast the 2.5 s of arithmetic."""
    job = workload([1.0, 1.0], traffic_bytes=4e9, steps=10)
    assert compute_ns(job, **DEVICE, sparse_speedup="realised") == 4_020_000_000


def test_a_duration_is_rounded_once() -> None:
    """3 steps of 0.4 ns are 1.2 ns: 1 ns, where rounding each would give 0."""
    job = dataclasses.replace(workload([]), other_flops=0.0, steps=3)
    assert compute_ns(job, **{**DEVICE, "step_overhead_s": 4e-10}, sparse_speedup="ideal") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compute_flops": 0.0}, "compute_flops 0.0 FLOP/s: must be above 0"),
        ({"bandwidth": -1.0}, "bandwidth -1.0 byte/s"),
        ({"step_overhead_s": float("inf")}, "step_overhead_s inf"),
        ({"sparse_efficiency": 0.0}, r"sparse_efficiency 0.0: must lie in \(0, 1\]"),
        ({"sparse_speedup": "real"}, "sparse_speedup 'real': must be 'ideal' or 'realised'"),
    ],
)
def test_impossible_devices_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_ns(workload([1.0]), **{**DEVICE, "sparse_speedup": "realised", **change})


def test_energy_is_power_times_time() -> None:
    """6.6 W for 2.5 s is 16.5 J."""
    assert energy_j(6.6, 2_500_000_000) == pytest.approx(16.5, rel=1e-15)
