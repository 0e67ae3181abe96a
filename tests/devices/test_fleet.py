"""Fleet: exact shares, a pure function of its arguments, and variation that touches what it should."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.availability import Markov
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet, FleetGroup, group_sizes, sample_fleet
from edgesim.devices.levels import Level
from edgesim.devices.link import Link
from edgesim.devices.traits import Traits

BOARD = Device(
    name="board",
    device_class="sbc",
    compute_flops=9e9,
    bandwidth_bytes_per_s=12.8e9,
    step_overhead_s=2e-3,
    sparse_efficiency=0.45,
    ram_bytes=4e9,
    usable=0.6,
    idle_w=3.1,
    training_w=6.6,
)
PHONE = dataclasses.replace(BOARD, name="phone", compute_flops=2e10, idle_w=0.03, training_w=2.0)
LTE = Link(
    name="lte",
    down_bps=36e6,
    up_bps=11e6,
    latency_s=0.04,
    receive_w=0.94,
    send_w=1.44,
    tail_s=10,
    tail_w=0.12,
)
WIFI = Link(name="wifi", down_bps=86e6, up_bps=46e6, latency_s=0.021, receive_w=0.69, send_w=0.72)
GROUPS = [
    FleetGroup(device=BOARD, share=0.7, link=WIFI),
    FleetGroup(device=PHONE, share=0.3, link=LTE, compute_variation=0.5, link_variation=0.3),
]


def columns(fleet: Fleet) -> dict[str, list[float]]:
    values = {field.name: getattr(fleet, field.name) for field in dataclasses.fields(fleet)}
    return {name: value.tolist() for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize(
    ("shares", "count", "sizes"),
    [
        ([0.6, 0.3, 0.1], 100, [60, 30, 10]),
        ([0.29, 0.71], 100, [29, 71]),  # 0.29 · 100 is 28.999… in floating point
        ([1 / 3, 1 / 3, 1 / 3], 100, [34, 33, 33]),  # a tie goes to the earlier group
        ([0.5, 0.5], 5, [3, 2]),
        ([0.45, 0.35, 0.2], 10, [5, 3, 2]),  # remainders 0.5, 0.5, 0
        ([0.6, 0.3, 0.1], 3, [2, 1, 0]),  # 1.8, 0.9, 0.3: remainders 0.8, 0.9, 0.3
        ([1.0], 1, [1]),
        ([0.33, 0.67], 10, [3, 7]),
        ([0.21, 0.44, 0.35], 10, [2, 4, 4]),
    ],
)
def test_group_sizes_by_largest_remainder(shares: list[float], count: int, sizes: list[int]) -> None:
    assert group_sizes(shares, count) == sizes


@given(weights=st.lists(st.integers(1, 1000), min_size=1, max_size=8), count=st.integers(1, 5000))
def test_group_sizes_add_up_and_are_within_one_of_their_share(weights: list[int], count: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    sizes = group_sizes(shares, count)
    assert sum(sizes) == count
    assert all(abs(size - share * count) < 1 + 1e-6 for size, share in zip(sizes, shares, strict=True))


def test_a_fleet_is_a_pure_function_of_its_arguments() -> None:
    assert columns(sample_fleet(GROUPS, 200, 5)) == columns(sample_fleet(GROUPS, 200, 5))
    assert columns(sample_fleet(GROUPS, 200, 5)) != columns(sample_fleet(GROUPS, 200, 6))


def test_every_row_is_the_figures_of_its_group() -> None:
    plain = [dataclasses.replace(group, compute_variation=0, link_variation=0) for group in GROUPS]
    fleet = sample_fleet(plain, 10, 0)
    assert len(fleet) == 10
    assert fleet.class_names == ("board", "phone")
    assert fleet.device_class.tolist().count(0) == 7
    for row, index in enumerate(fleet.device_class.tolist()):
        device, link = plain[index].device, plain[index].link
        assert {name: values[row] for name, values in columns(fleet).items()} == {
            "device_class": index,
            "compute_flops": device.compute_flops,
            "bandwidth": 12.8e9,
            "step_overhead_s": 2e-3,
            "sparse_efficiency": 0.45,
            "memory_bytes": 2_400_000_000,  # 0.6 of 4 GB
            "idle_w": device.idle_w,
            "training_w": device.training_w,
            "battery_j": 0.0,
            "down_bps": link.down_bps,
            "up_bps": link.up_bps,
            "latency_s": link.latency_s,
            "receive_w": link.receive_w,
            "send_w": link.send_w,
            "tail_s": link.tail_s,
            "tail_w": link.tail_w,
            "promotion_s": link.promotion_s,
            "round_trips": 0.0,
            "window_bytes": 0.0,
            "compute_jitter": 0.0,
            "link_jitter": 0.0,
        }


def test_the_order_is_shuffled() -> None:
    """70 of 100 come from the first group; in order they would be the first 70."""
    classes = sample_fleet(GROUPS, 100, 0).device_class
    assert 30 < classes[:70].tolist().count(0) < 65  # hypergeometric: mean 49, sd 2.1


def test_variation_scales_time_and_rates_and_nothing_else() -> None:
    """The whole compute time scales by one factor, both directions of the link by another."""
    fleet = sample_fleet(GROUPS, 400, 1)
    phones = fleet.device_class == 1
    speed, rate = fleet.compute_flops[phones] / 2e10, fleet.down_bps[phones] / 36e6
    np.testing.assert_allclose(fleet.bandwidth[phones] / 12.8e9, speed, rtol=1e-12)
    np.testing.assert_allclose(2e-3 / fleet.step_overhead_s[phones], speed, rtol=1e-12)
    np.testing.assert_allclose(fleet.up_bps[phones] / 11e6, rate, rtol=1e-12)
    assert len(set(speed.tolist())) == len(set(rate.tolist())) == 120
    assert abs(np.corrcoef(np.log(speed), np.log(rate))[0, 1]) < 0.4  # sd of r is 0.09 for 120 pairs
    for name in ("idle_w", "training_w", "receive_w", "send_w", "latency_s", "memory_bytes"):
        assert len(set(getattr(fleet, name)[phones].tolist())) == 1
    assert set(fleet.compute_flops[~phones].tolist()) == {9e9}


def test_variation_is_lognormal_with_the_sigma_asked_for() -> None:
    """ln factor ~ N(0, 0.5), n = 20,000: standard errors 0.5 / sqrt(n) and 0.5 / sqrt(2n); five of each."""
    only = [dataclasses.replace(GROUPS[1], share=1.0)]
    log_factor = np.log(sample_fleet(only, 20_000, 2).compute_flops / 2e10)
    assert abs(log_factor.mean()) < 5 * 0.5 / 20_000**0.5
    assert abs(log_factor.std() - 0.5) < 5 * 0.5 / 40_000**0.5
    assert np.mean(np.abs(log_factor) < 0.5) == pytest.approx(0.6827, abs=0.017)  # a normal, not just its sd


def test_a_unit_keeps_its_factor_in_a_larger_fleet() -> None:
    only = [dataclasses.replace(GROUPS[1], share=1.0)]
    small, large = sample_fleet(only, 10, 3), sample_fleet(only, 1000, 3)
    assert small.compute_flops.tolist() == large.compute_flops[:10].tolist()


def test_two_groups_of_one_model_are_one_class() -> None:
    groups = [
        FleetGroup(device=BOARD, share=0.5, link=WIFI),
        FleetGroup(device=BOARD, share=0.5, link=LTE, availability=Markov(mean_on_s=60, mean_off_s=60)),
    ]
    fleet = sample_fleet(groups, 20, 0)
    assert fleet.class_names == ("board",)
    assert set(fleet.device_class.tolist()) == {0}
    on_lte = fleet.latency_s == 0.04
    assert all((fleet.availability.next_change_ns(device, 0) is not None) == on_lte[device] for device in range(20))


def test_columns_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        sample_fleet(GROUPS, 10, 0).compute_flops[0] = 1.0


@pytest.mark.parametrize(
    ("groups", "count", "message"),
    [
        (GROUPS, 0, "a fleet of 0 devices"),
        (GROUPS[:1], 10, r"shares \[0.7\] add to 0.7: must add to 1"),
        ([], 10, r"shares \[\] add to 0"),
        (
            [GROUPS[0], dataclasses.replace(GROUPS[1], device=dataclasses.replace(PHONE, name="board"))],
            10,
            "two different profiles are named 'board'",
        ),
    ],
)
def test_impossible_fleets_are_refused(groups: list[FleetGroup], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_fleet(groups, count, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, r"share 0.0 of board: must lie in \(0, 1\]"),
        ({"compute_variation": -0.1}, "compute_variation -0.1 of board"),
        ({"link_variation": 30.0}, r"link_variation 30.0 of board: must lie in \[0, 3\]"),
    ],
)
def test_impossible_groups_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GROUPS[0], **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compute_flops": 0.0}, "device board: compute_flops 0.0 must be above 0"),
        ({"usable": 1.2}, r"device board: usable 1.2 must lie in \(0, 1\]"),
        ({"step_overhead_s": -1.0}, "device board: step_overhead_s -1.0 must not be negative"),
        ({"training_w": 3.0}, "training_w 3.0 is below idle_w 3.1"),
    ],
)
def test_impossible_devices_cannot_be_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BOARD, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"up_bps": 0.0}, "link lte: up_bps 0.0 must be above 0"),
        ({"tail_w": -1.0}, "link lte: tail_w -1.0 must not be negative"),
        ({"promotion_s": -0.1}, "link lte: promotion_s -0.1 must not be negative"),
    ],
)
def test_impossible_links_cannot_be_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LTE, **change)


# ── distributions, clocks, background ───────────────────────────────────────────────────────────────────────
CELLULAR = dataclasses.replace(LTE, down_sigma=0.7, up_sigma=0.5, correlation=0.6, latency_sigma=0.3)


def test_figures_without_a_distribution_are_drawn_as_ever() -> None:
    """What one group's link varies by does not touch the other's."""
    before = sample_fleet(GROUPS, 200, 5)
    after = sample_fleet([GROUPS[0], dataclasses.replace(GROUPS[1], link=CELLULAR)], 200, 5)
    boards = before.device_class == 0
    assert before.compute_flops.tolist() == after.compute_flops.tolist()
    assert before.down_bps[boards].tolist() == after.down_bps[boards].tolist()
    assert before.down_bps[~boards].tolist() != after.down_bps[~boards].tolist()


def test_a_link_is_drawn_from_its_distributions() -> None:
    """4,000 users: the standard error of a deviation is sd / sqrt(2 n), of a correlation (1 - r²) / sqrt(n)."""
    fleet = sample_fleet([FleetGroup(device=BOARD, share=1, link=CELLULAR)], 4000, 3)
    down, up, delay = (
        np.log(values) for values in (fleet.down_bps / 36e6, fleet.up_bps / 11e6, fleet.latency_s / 0.04)
    )
    for draws, sigma in ((down, 0.7), (up, 0.5), (delay, 0.3)):
        assert abs(draws.mean()) < 5 * sigma / np.sqrt(4000)
        assert abs(draws.std() - sigma) < 5 * sigma / np.sqrt(8000)
    assert abs(np.corrcoef(down, up)[0, 1] - 0.6) < 5 * 0.64 / np.sqrt(4000)
    assert abs(np.corrcoef(down, delay)[0, 1]) < 5 / np.sqrt(4000)


def test_units_of_a_model_differ_as_its_profile_says() -> None:
    phone = dataclasses.replace(PHONE, compute_sigma=0.5)
    fleet = sample_fleet([FleetGroup(device=phone, share=1, link=LTE)], 4000, 3)
    speed = fleet.compute_flops / 2e10
    assert abs(np.log(speed).std() - 0.5) < 5 * 0.5 / np.sqrt(8000)
    np.testing.assert_allclose(2e-3 / fleet.step_overhead_s, speed, rtol=1e-12)


def test_a_slower_clock_takes_longer_and_draws_less() -> None:
    """Half the clock at 0.8 of the voltage: 3.1 + 3.5 · 0.5 · 0.64 = 4.22 W; the memory keeps its speed."""
    levels = (Level(frequency=0.5, voltage=0.8), Level(frequency=1.0, voltage=1.0))
    board = dataclasses.replace(BOARD, levels=levels)
    fleet = sample_fleet([FleetGroup(device=board, share=1, link=LTE, dvfs="low")], 3, 0)
    assert fleet.compute_flops.tolist() == [4.5e9] * 3
    assert fleet.step_overhead_s.tolist() == [4e-3] * 3
    assert fleet.bandwidth.tolist() == [12.8e9] * 3
    assert fleet.training_w.tolist() == pytest.approx([4.22] * 3)


def test_other_work_takes_its_share_of_all() -> None:
    fleet = sample_fleet([FleetGroup(device=BOARD, share=1, link=LTE, background=0.25)], 2, 0)
    assert fleet.compute_flops.tolist() == [6.75e9] * 2
    assert fleet.bandwidth.tolist() == [9.6e9] * 2
    assert fleet.step_overhead_s.tolist() == pytest.approx([2e-3 / 0.75] * 2)


def test_impossible_groups_of_this_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="dvfs low: the device has no levels"):
        FleetGroup(device=BOARD, share=1, link=LTE, dvfs="low")
    with pytest.raises(ValueError, match=r"background 1.0 of board: must lie in \[0, 1\)"):
        FleetGroup(device=BOARD, share=1, link=LTE, background=1.0)


def test_traits_go_with_the_class() -> None:
    traits = Traits(compute_flops=2e10, bandwidth=1e10, overlap=False)
    fleet = sample_fleet(
        [GROUPS[0], dataclasses.replace(GROUPS[1], device=dataclasses.replace(PHONE, traits=traits))], 9, 0
    )
    assert fleet.class_traits == (None, traits)
