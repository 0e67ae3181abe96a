"""Availability: answers are pure in (device, time), and agree with intervals counted one by one."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Markov, Trajectories
from edgesim.devices.markov import MarkovTrajectories

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
BUSY = Markov(mean_on_s=30.0, mean_off_s=10.0)


def intervals(availability: Trajectories, device: int, until_ns: int) -> list[tuple[int, int, bool]]:
    """Every period [start, end) up to a time with its state, by hopping from flip to flip."""
    found, start_ns = list[tuple[int, int, bool]](), 0
    while start_ns < until_ns:
        end_ns = availability.next_change_ns(device, start_ns)
        assert end_ns is not None
        assert end_ns > start_ns  # or this loop would never end
        found.append((start_ns, end_ns, availability.is_on(device, start_ns)))
        start_ns = end_ns
    return found


@given(
    device=st.integers(0, 10**6),
    seed=st.integers(0, 2**31),
    times_ns=st.lists(st.integers(0, HOUR_NS), min_size=1, max_size=20),
)
def test_answers_agree_with_intervals_counted_one_by_one(device: int, seed: int, times_ns: list[int]) -> None:
    """Times come in any order; about 90 periods an hour, so several chunks are crossed."""
    table = intervals(BUSY.start(seed), device, HOUR_NS + 1)
    started = BUSY.start(seed)
    for t_ns in times_ns:
        start_ns, end_ns, on = next(row for row in table if row[0] <= t_ns < row[1])
        before_ns = sum(end - start for start, end, was_on in table if was_on and end <= start_ns)
        expected_ns = before_ns + (t_ns - start_ns if on else 0)
        assert started.is_on(device, t_ns) == on
        assert started.next_change_ns(device, t_ns) == end_ns
        assert started.on_ns(device, t_ns) == expected_ns
        assert started.on_ns_many(np.array([device]), t_ns).tolist() == [expected_ns]


def test_states_alternate_and_flips_move_on() -> None:
    table = intervals(BUSY.start(1), 0, 10 * HOUR_NS)
    assert len(table) > 500
    assert all(start < end for start, end, _ in table)
    assert all(one[2] != next_one[2] for one, next_one in pairwise(table))


@pytest.mark.parametrize("late_ns", [-1, 0, 1, 999, 1000])
def test_time_on_line_is_exact_around_a_flip(late_ns: int) -> None:
    """Flips fall on whole µs, times need not: the ns after one count for the new state, here off."""
    started = BUSY.start(3)
    on_first = next(device for device in range(100) if started.is_on(device, 0))
    flip_ns = started.next_change_ns(on_first, 0)
    assert flip_ns is not None
    expected_ns = flip_ns + min(late_ns, 0)
    assert started.on_ns(on_first, flip_ns + late_ns) == expected_ns
    assert started.on_ns_many(np.array([on_first]), flip_ns + late_ns).tolist() == [expected_ns]


def test_the_instant_of_a_flip_belongs_to_the_new_state() -> None:
    started = BUSY.start(3)
    flip_ns = started.next_change_ns(5, 0)
    assert flip_ns is not None
    assert started.is_on(5, flip_ns) != started.is_on(5, flip_ns - 1)
    following_ns = started.next_change_ns(5, flip_ns)
    assert following_ns is not None
    assert following_ns > flip_ns


@given(order=st.permutations(range(12)), kept=st.sampled_from([1, 40, 10**6]))
def test_what_the_cache_forgot_comes_back_the_same(order: list[int], kept: int) -> None:
    """A cache of one flip forgets every device but the last; answers must not change."""
    small = MarkovTrajectories(mean_on_s=30.0, mean_off_s=10.0, seed=7, kept=kept)
    fresh = [BUSY.start(7).next_change_ns(device, HOUR_NS) for device in range(12)]
    assert [small.next_change_ns(device, HOUR_NS) for device in order] == [fresh[device] for device in order]


def test_the_cache_is_bounded() -> None:
    """Two cells are 20 mean cycles: about 40 flips, and 24 for the entry, so 1,000 hold about 15 devices."""
    small = MarkovTrajectories(mean_on_s=30.0, mean_off_s=10.0, seed=7, kept=1000)
    for device in range(100):
        small.is_on(device, HOUR_NS)
    held = [len(stretch.flips_us) for stretch in small._cache.values()]
    assert sum(held) + 24 * len(held) == small._held <= 1000
    assert 10 <= len(held) <= 20


def test_a_crowd_of_devices_is_on_line_as_often_as_the_means_say() -> None:
    """On with probability 30 / 40 from the first instant to the last: 4,000 devices, five standard errors."""
    bound = 5 * math.sqrt(0.75 * 0.25 / 4000)
    started = BUSY.start(11)
    for t_ns in (0, SECOND_NS, HOUR_NS // 2):
        share = sum(started.is_on(device, t_ns) for device in range(4000)) / 4000
        assert abs(share - 0.75) < bound, t_ns


def test_time_on_line_is_its_share_of_the_time() -> None:
    """Var(on time) → 2 a² b² / (a + b)³ · t for exponential means a, b: sd of a mean over 4,000 below 0.1 s
    of 3,600 s, so 0.5 s is five of them."""
    variance = 2 * 30.0**2 * 10.0**2 / 40.0**3 * 3600
    bound_s = 5 * math.sqrt(variance / 4000)
    on_ns = BUSY.start(13).on_ns_many(np.arange(4000), HOUR_NS)
    assert abs(on_ns.mean() / SECOND_NS - 2700) < bound_s


def test_periods_have_the_means_asked_for() -> None:
    """Exponential: the standard error of a mean of n is mean / sqrt(n); five of them."""
    table = intervals(BUSY.start(2), 0, 40 * HOUR_NS)[1:]
    for state, mean_s in ((True, 30.0), (False, 10.0)):
        periods_s = [(end - start) / SECOND_NS for start, end, on in table if on == state]
        assert abs(np.mean(periods_s) - mean_s) < 5 * mean_s / math.sqrt(len(periods_s))
        assert abs(np.std(periods_s) - mean_s) < 0.1 * mean_s  # exponential: standard deviation = mean


def test_devices_and_seeds_have_trajectories_of_their_own() -> None:
    first = [BUSY.start(0).next_change_ns(device, 0) for device in range(50)]
    assert len(set(first)) == 50
    assert first != [BUSY.start(1).next_change_ns(device, 0) for device in range(50)]


def test_a_century_neither_overflows_nor_loses_a_nanosecond() -> None:
    """Means of 50 years, asked about after 200 years: beyond 2^62 ns."""
    slow = Markov(mean_on_s=1.6e9, mean_off_s=1.6e9).start(4)
    t_ns = int(6.3e9) * SECOND_NS + 123
    for device in range(20):
        on_ns = slow.on_ns(device, t_ns)
        assert slow.on_ns(device, t_ns + 1) - on_ns == slow.is_on(device, t_ns)
        assert slow.on_ns_many(np.array([device]), t_ns).tolist() == [on_ns]


@pytest.mark.parametrize("mean_s", [0.0, -1.0, 1e-6, math.inf, math.nan])
def test_impossible_means_are_refused(mean_s: float) -> None:
    with pytest.raises(ValueError, match=r"mean_off_s .* must lie between 1 ms and 100 years"):
        Markov(mean_on_s=60.0, mean_off_s=mean_s)


def test_negative_times_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        BUSY.start(0).is_on(0, -1)


def test_always_on_never_changes() -> None:
    always = AlwaysOn().start(0)
    assert always.is_on(3, HOUR_NS)
    assert always.next_change_ns(3, 0) is None
    assert always.on_ns(3, HOUR_NS) == HOUR_NS


def test_each_device_of_a_fleet_follows_its_own_group() -> None:
    group = np.array([1, 0, 2, 1, 0], np.int32)
    idle = Markov(mean_on_s=10.0, mean_off_s=90.0)
    fleet = FleetAvailability([AlwaysOn(), BUSY, idle], group, seed=9)
    alone = [process.start(9) for process in (AlwaysOn(), BUSY, idle)]
    for device, index in enumerate(group.tolist()):
        assert fleet.on_ns(device, HOUR_NS) == alone[index].on_ns(device, HOUR_NS)
        assert fleet.next_change_ns(device, 5) == alone[index].next_change_ns(device, 5)
        assert fleet.is_on(device, HOUR_NS) == alone[index].is_on(device, HOUR_NS)
    assert fleet.on_ns_all(HOUR_NS).tolist() == [fleet.on_ns(device, HOUR_NS) for device in range(5)]


def test_the_whole_fleet_at_once_equals_one_at_a_time() -> None:
    """More devices than one block holds (1,024), in a shuffled order of groups."""
    group = np.array(random.Random(0).choices([0, 1], k=2500), np.int32)
    fleet = FleetAvailability([BUSY, AlwaysOn()], group, seed=1)
    t_ns = HOUR_NS // 4 + 1
    assert fleet.on_ns_all(t_ns).tolist() == [fleet.on_ns(device, t_ns) for device in range(2500)]


def test_a_group_without_a_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups 0 to 1: must lie in \[0, 1\)"):
        FleetAvailability([AlwaysOn()], np.array([0, 1], np.int32), seed=0)


def test_group_of_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="groups -1 to 0"):
        FleetAvailability([AlwaysOn()], np.array([-1, 0], np.int32), seed=0)


def test_a_fleet_may_have_no_device() -> None:
    fleet = FleetAvailability([BUSY], np.zeros(0, np.int32), seed=0)
    assert not len(fleet.on_ns_all(HOUR_NS))
