"""Traits, levels and memory: each refinement of the cost model against a number worked out by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgesim.devices.cost import SparseSpeedup, compute_ns
from edgesim.devices.levels import Level, choose, power_w
from edgesim.devices.memory import fitting_batch
from edgesim.devices.traits import Traits, dense_share
from edgesim.devices.workload import Workload

JOB = Workload(  # a convolution of 1e9 and a matrix product of 2e9 FLOPs, 1e9 that cannot be masked
    layer_flops=np.array([1e9, 2e9]),
    layer_density=np.ones(2),
    other_flops=1e9,
    traffic_bytes=3e9,
    steps=10,
    memory_bytes=0,
    layer_convolution=np.array([True, False]),
    layer_calls=40,
    activation_bytes=1e9,
    convolution_bytes=0.5e9,
)
PLAIN = Traits(compute_flops=1e9, bandwidth=1e9)
FINER = Traits(
    compute_flops=1e9, bandwidth=1e9, convolution_flops=2e9, overlap=False, activation_bandwidth=0.5e9,
    layer_overhead_s=0.001,
)  # fmt: skip
MEASURED = ((0.05, 5.3), (0.1, 2.73), (0.5, 0.52))


def seconds(
    traits: Traits | None,
    job: Workload = JOB,
    *,
    flops: float = 1e9,
    bandwidth: float = 1e9,
    speedup: SparseSpeedup = "ideal",
) -> float:
    """On a device whose step costs 10 ms."""
    return 1e-9 * compute_ns(
        job,
        compute_flops=flops,
        bandwidth=bandwidth,
        step_overhead_s=0.01,
        sparse_efficiency=0.25,
        sparse_speedup=speedup,
        traits=traits,
    )


@pytest.mark.parametrize(
    ("change", "expected_s"),
    [
        ({}, 4.1),  # 4e9 FLOPs outlast 3e9 bytes; 10 steps of 10 ms
        ({"convolution_flops": 2e9}, 3.6),  # 0.5 + 3 s
        ({"layer_overhead_s": 0.001}, 4.14),  # 40 calls of 1 ms
        ({"overlap": False}, 7.1),  # 4 + 3 s
        ({"overlap": False, "activation_bandwidth": 0.5e9}, 8.1),  # 2e9 bytes in 2 s, 1e9 in 2 s
        ({"overlap": False, "convolution_bandwidth": 0.25e9}, 8.6),  # 2.5e9 bytes in 2.5 s, 0.5e9 in 2 s
        ({"activation_bandwidth": 0.25e9}, 6.1),  # 2 + 4 s of traffic outlast 4 s
        ({"burst": 2.0, "burst_s": 1.0}, 3.1),  # the first second does two
        ({"burst": 2.0, "burst_s": 60.0}, 2.05),  # never hot
    ],
)
def test_each_trait_by_hand(change: dict[str, Any], expected_s: float) -> None:
    assert seconds(dataclasses.replace(PLAIN, **change)) == pytest.approx(expected_s, rel=1e-9)


def test_traits_that_say_nothing_change_nothing() -> None:
    assert PLAIN.plain
    assert seconds(PLAIN) == seconds(None) == pytest.approx(4.1)


def test_a_unit_twice_as_fast_halves_all_that_is_the_processors() -> None:
    """Convolutions 0.25, the rest 1.5 s, weights 1 s, activations 1 s, layers 20 ms; steps 0.1 s are given apart."""
    assert seconds(FINER, flops=2e9, bandwidth=2e9) == pytest.approx(0.25 + 1.5 + 1 + 1 + 0.02 + 0.1)


def test_a_slower_clock_leaves_all_bandwidths_as_they_are() -> None:
    """At half the clock arithmetic takes 1 + 6 s and layers 80 ms; weights still 2 s, activations 2 s."""
    assert seconds(FINER, flops=0.5e9) == pytest.approx(1 + 6 + 2 + 2 + 0.08 + 0.1)


@pytest.mark.parametrize(
    ("density", "speedup"),
    [
        (0.05, 5.3),
        (0.1, 2.73),
        (0.025, 10.6),  # below the lowest point, time falls with the density
        (np.sqrt(0.05 * 0.1), np.sqrt(5.3 * 2.73)),  # half way on logarithmic axes
        (0.5, 1.0),  # 0.52 is slower than the dense kernel, which is then used
        (0.75, 1.0),
        (1.0, 1.0),
    ],
)
def test_a_measured_curve_is_interpolated(density: float, speedup: float) -> None:
    assert 1 / dense_share(np.array([density]), MEASURED)[0] == pytest.approx(speedup)


@given(densities=st.lists(st.floats(0, 1), min_size=2, max_size=9).map(sorted))
def test_a_sparser_layer_never_takes_longer(densities: list[float]) -> None:
    share = dense_share(np.array(densities), MEASURED)
    assert np.all(np.diff(share) >= -1e-12)
    assert np.all((share >= 0) & (share <= 1))


def test_the_measured_curve_takes_the_place_of_eta() -> None:
    """Densities 0.1 and 0: the convolution takes 1 / 2.73 of its second, the empty layer nothing."""
    sparse = dataclasses.replace(JOB, layer_density=np.array([0.1, 0.0]), traffic_bytes=0.0)
    traits = dataclasses.replace(PLAIN, sparse_curve=MEASURED)
    assert seconds(traits, sparse, speedup="realised") == pytest.approx(1 / 2.73 + 1 + 0.1)
    assert seconds(traits, sparse, speedup="ideal") == pytest.approx(0.1 + 1 + 0.1)
    assert seconds(None, sparse, speedup="realised") == pytest.approx(0.1 / 0.25 + 1 + 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convolution_flops": 0.0}, "convolution_flops 0.0: must be above 0"),
        ({"layer_overhead_s": -1.0}, "layer_overhead_s -1.0 s: must not be negative"),
        ({"burst": 0.5}, "burst 0.5: must be at least 1"),
        ({"sparse_curve": ((0.5, 1.0), (0.1, 2.0))}, r"densities \[0.5, 0.1\] must rise"),
        ({"sparse_curve": ((1.0, 1.0),)}, r"densities must lie in \(0, 1\)"),
    ],
)
def test_impossible_traits_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **change)


# ── levels ──────────────────────────────────────────────────────────────────────────────────────────────────
LEVELS = (
    Level(frequency=0.4, voltage=0.7), Level(frequency=0.6, voltage=0.8), Level(frequency=0.8, voltage=0.94),
    Level(frequency=1.0, voltage=1.0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("dvfs", "frequency", "voltage"),
    [
        ("low", 0.4, 0.7), ("mid", 0.6, 0.8), ("max", 1.0, 1.0), (0.6, 0.6, 0.8), (0.7, 0.7, 0.87), (0.9, 0.9, 0.97),
        (0.4, 0.4, 0.7), (1.0, 1.0, 1.0),
    ],
)  # fmt: skip
def test_a_level_by_name_or_frequency(dvfs: str | float, frequency: float, voltage: float) -> None:
    """Of four the second is the one in the middle; between two the voltage is as far along as the frequency."""
    found = choose(LEVELS, dvfs)
    assert [found.frequency, found.voltage] == pytest.approx([frequency, voltage])


def test_power_falls_with_the_clock_and_the_square_of_the_voltage() -> None:
    """2 W static and 8 W dynamic: 2 + 8 · 0.5 · 0.8² = 4.56 W; at full speed exactly what was given."""
    assert power_w(2.0, 10.0, Level(frequency=0.5, voltage=0.8)) == pytest.approx(4.56)
    assert power_w(3.1, 6.6, Level(frequency=1.0, voltage=1.0)) == 6.6


def test_a_slower_clock_saves_energy_only_while_little_is_static() -> None:
    """Time is 1 / f. Nothing static: 8 · f · V² / f = 8 V². All static: P / f, so the race to idle wins."""
    slow = Level(frequency=0.5, voltage=0.8)
    assert power_w(0.0, 8.0, slow) / slow.frequency < 8.0
    assert power_w(7.9, 8.0, slow) / slow.frequency > 8.0


@pytest.mark.parametrize(
    ("levels", "dvfs", "message"),
    [
        ((), "low", "dvfs low: the device has no levels; write max"),
        (LEVELS, 0.3, "dvfs 0.3: must lie between 0.4, the lowest level, and 1"),
        (LEVELS, "slow", "dvfs 'slow': must be low, mid, max or a share"),
    ],
)
def test_levels_that_are_not_there_are_refused(levels: tuple[Level, ...], dvfs: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(levels, dvfs)


@pytest.mark.parametrize("voltage", [0.0, 1.2])
def test_an_impossible_level_is_refused(voltage: float) -> None:
    with pytest.raises(ValueError, match=rf"level: voltage {voltage} must lie in \(0, 1\]"):
        Level(frequency=1.0, voltage=voltage)


# ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────
@given(batch=st.integers(1, 500), available=st.integers(0, 10_000))
@example(batch=10, available=170)
@example(batch=20, available=170)
def test_the_largest_batch_that_fits(batch: int, available: int) -> None:
    """100 bytes and 7 a sample, against trying every size."""

    def memory_bytes(size: int) -> int:
        return 100 + 7 * size

    fitting = [size for size in range(1, batch + 1) if memory_bytes(size) <= available]
    assert fitting_batch(memory_bytes, batch, available) == max(fitting, default=None)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 0: must be at least 1"):
        fitting_batch(lambda size: size, 0, 10)
