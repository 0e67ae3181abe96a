"""Every kind of availability: one set of laws, and the figures that each kind promises."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Markov, Process
from edgesim.devices.diurnal import Diurnal
from edgesim.devices.markov import _meet
from edgesim.devices.outages import Outages
from edgesim.devices.rules import Rule, Together, all_of, any_of, none_of
from edgesim.devices.traces import Recording, Trace
from edgesim.devices.trajectories import NEVER, Trajectories
from edgesim.devices.windows import Bernoulli
from edgesim.errors import RunError
from edgesim.streams import fold

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
HOUR_S = 3600.0
NIGHT = Diurnal(
    peak_s=2 * HOUR_S, hours_s=8 * HOUR_S, weekend_peak_s=4 * HOUR_S, weekend_hours_s=10 * HOUR_S,
    zones_s=(0.0, -5 * HOUR_S), habit_s=HOUR_S, daily_s=HOUR_S, variation=0.2, chance=0.8,
)  # fmt: skip
RECORDING = Recording(
    users=("a", "b", "c", "d"),  # a touches itself where the period ends; b is on for ever, c never
    first=np.array([0, 3, 4, 4, 6]),
    starts_us=np.array([0, 5_000_000, 9_000_000, 0, 1_000_000, 3_000_001]),
    ends_us=np.array([2_000_000, 7_500_000, 10_000_000, 10_000_000, 2_000_000, 3_000_002]),
    period_us=np.array([10_000_000, 10_000_000, 10_000_000, 4_000_000]),
)
WIFI = Markov(mean_on_s=5 * HOUR_S, mean_off_s=HOUR_S, variation=0.5)
CHARGING_ON_WIFI = Rule(signals={"charging": NIGHT, "wifi": WIFI}, statement=all_of("charging", "wifi"))
FAILING = Outages(every_s=5 * HOUR_S, lasts_s=HOUR_S, share=0.6, groups=3)
# kind → law, and a span in which it flips a dozen times
KINDS: dict[str, tuple[Process, int]] = {
    "markov": (Markov(mean_on_s=30.0, mean_off_s=10.0), 500 * SECOND_NS),
    "markov of its own rates": (Markov(mean_on_s=30.0, mean_off_s=10.0, variation=0.5), 500 * SECOND_NS),
    "markov mostly on": (Markov(mean_on_s=1000.0, mean_off_s=0.001), 10_000 * SECOND_NS),
    "bernoulli": (Bernoulli(window_s=60.0, chance=0.3), HOUR_NS),
    "diurnal": (NIGHT, 10 * DAY_NS),
    "trace": (Trace(recording=RECORDING), 60 * SECOND_NS),
    "trace once": (Trace(recording=RECORDING, loop=False), 20 * SECOND_NS),
    "outages": (FAILING, 5 * DAY_NS),
    "rule": (CHARGING_ON_WIFI, 8 * DAY_NS),
    "rule with outages": (Together(processes=(CHARGING_ON_WIFI, FAILING)), 4 * DAY_NS),
    "none of": (Rule(signals={"x": NIGHT, "y": FAILING}, statement=none_of("x", "y")), 4 * DAY_NS),
    "always": (AlwaysOn(), DAY_NS),
}
kinds = pytest.mark.parametrize("kind", list(KINDS))


def table(trajectories: Trajectories, device: int, until_ns: int) -> list[tuple[int, int, bool]]:
    """Every period [start, end) up to a time with its state, by hopping from flip to flip."""
    found, start_ns = list[tuple[int, int, bool]](), 0
    while start_ns < until_ns:
        change_ns = trajectories.next_change_ns(device, start_ns)
        end_ns = NEVER if change_ns is None else change_ns
        assert end_ns > start_ns  # or this loop would never end
        found.append((start_ns, end_ns, trajectories.is_on(device, start_ns)))
        start_ns = end_ns
    return found


def on_ns(rows: list[tuple[int, int, bool]], since_ns: int, until_ns: int) -> int:
    return sum(max(min(end, until_ns) - max(start, since_ns), 0) for start, end, on in rows if on)


@kinds
@settings(max_examples=15)
@given(
    device=st.one_of(st.integers(0, 50), st.integers(0, 10**6)),
    seed=st.integers(0, 2**31),
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=8),
)
def test_answers_agree_with_intervals_counted_one_by_one(
    kind: str, device: int, seed: int, shares: list[float]
) -> None:
    """The table is made in order; the queries come in any order, on trajectories that have answered nothing yet."""
    law, span_ns = KINDS[kind]
    rows = table(law.start(seed), device, span_ns + 1)
    assert all(one[2] != next_one[2] for one, next_one in pairwise(rows))
    asked, devices = law.start(seed), np.array([device, device + 1])
    times_ns = [round(share * span_ns) for share in shares]
    for t_ns in times_ns:
        _, end_ns, on = next(row for row in rows if row[0] <= t_ns < row[1])
        assert asked.is_on(device, t_ns) == on
        assert asked.next_change_ns(device, t_ns) == (None if end_ns == NEVER else end_ns)
        assert asked.is_on_many(devices, t_ns)[0] == on
        assert asked.next_change_many(devices, t_ns)[0] == end_ns
        assert asked.on_ns(device, t_ns) == on_ns(rows, 0, t_ns)
    since_ns, until_ns = min(times_ns), max(times_ns)
    assert asked.on_ns_many(devices, until_ns, since_ns)[0] == on_ns(rows, since_ns, until_ns)
    flips = asked.flips(devices, since_ns, until_ns)
    changes = [start for start, _, _ in rows if since_ns < start <= until_ns]
    assert flips.at_ns[flips.row == 0].tolist() == changes
    assert flips.starts_on[0] == asked.is_on(device, since_ns)


@kinds
def test_many_at_once_equal_one_at_a_time(kind: str) -> None:
    """Each device at a time of its own; the scalars are asked in reverse order."""
    law, span_ns = KINDS[kind]
    devices = np.arange(40)
    times_ns = np.random.default_rng(5).integers(0, span_ns, 40)
    many, one = law.start(3), law.start(3)
    on, change_ns = many.is_on_many(devices, times_ns).tolist(), many.next_change_many(devices, times_ns).tolist()
    for device in reversed(range(40)):
        t_ns = int(times_ns[device])
        assert one.is_on(device, t_ns) == on[device]
        assert (one.next_change_ns(device, t_ns) or NEVER) == change_ns[device]
    totals_ns = many.on_ns_many(devices, span_ns).tolist()
    assert totals_ns == [one.on_ns(device, span_ns) for device in range(40)]


@kinds
def test_what_was_answered_before_changes_nothing(kind: str) -> None:
    """Asked again and again, now about one instant and now about many, some devices twice, forward and back in time."""
    law, span_ns = KINDS[kind]
    asked, rng = law.start(3), np.random.default_rng(7)
    for turn in range(40):
        devices, around_ns = rng.integers(0, 12, 9), int(rng.integers(0, span_ns))
        near_ns = rng.integers(around_ns, around_ns + span_ns // 20, 9)
        t_ns = around_ns if turn % 3 else near_ns
        fresh = law.start(3)
        assert asked.is_on_many(devices, t_ns).tolist() == fresh.is_on_many(devices, t_ns).tolist()
        if turn % 2:
            assert asked.next_change_many(devices, t_ns).tolist() == fresh.next_change_many(devices, t_ns).tolist()


@kinds
def test_there_may_be_no_device(kind: str) -> None:
    started, none = KINDS[kind][0].start(0), np.zeros(0, np.int64)
    assert not len(started.is_on_many(none, 5))
    assert not len(started.next_change_many(none, 5))
    assert not len(started.on_ns_many(none, HOUR_NS))
    assert not len(started.flips(none, 0, HOUR_NS).row)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "always"])
def test_a_time_before_the_beginning_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        KINDS[kind][0].start(0).is_on(0, -1)


def test_a_markov_chain_far_from_its_beginning_costs_no_walk_and_keeps_its_law() -> None:
    """After 30 years of 40 s cycles: on with probability 0.75, and on still 10 s later with that of the chain,
    P(on → on in s) = 0.75 + 0.25 exp(-s (1/30 + 1/10)). 20,000 devices, five standard errors."""
    started, t_ns = Markov(mean_on_s=30.0, mean_off_s=10.0).start(7), 10**9 * SECOND_NS
    devices = np.arange(20_000)
    for shift_ns in range(0, 400 * SECOND_NS, 23 * SECOND_NS):  # across the borders of cells (400 s)
        before = started.is_on_many(devices, t_ns + shift_ns)
        after = started.is_on_many(devices, t_ns + shift_ns + 10 * SECOND_NS)
        assert abs(before.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 20_000)
        stays = 0.75 + 0.25 * math.exp(-10 * (1 / 30 + 1 / 10))
        assert abs(after[before].mean() - stays) < 5 * math.sqrt(stays * (1 - stays) / before.sum())


def test_markov_periods_are_exponential_across_cells() -> None:
    """First changes from any time on are memoryless: mean 30 s from on, 10 s from off; five standard errors."""
    started, devices = Markov(mean_on_s=30.0, mean_off_s=10.0).start(2), np.arange(20_000)
    for t_s in (0, 200, 390, 399, 400, 777):
        on = started.is_on_many(devices, t_s * SECOND_NS)
        wait_s = (started.next_change_many(devices, t_s * SECOND_NS) - t_s * SECOND_NS) / SECOND_NS
        for state, mean_s in ((on, 30.0), (~on, 10.0)):
            assert abs(wait_s[state].mean() - mean_s) < 5 * mean_s / math.sqrt(state.sum())
            assert abs((wait_s[state] > mean_s).mean() - math.exp(-1)) < 5 * 0.5 / math.sqrt(state.sum())


def test_what_a_device_is_like_says_nothing_of_its_states_but_by_its_share() -> None:
    """Means vary widely, so shares do. At any instant, the first cells included, who is on line with the share p is so
    with probability p: E[on · p] = E[p²]; 20,000 devices, five standard errors of on · p, below 0.5 each."""
    started, devices = Markov(mean_on_s=10.0, mean_off_s=10.0, variation=1.5).start(6), np.arange(20_000)
    means_us = started._means_us(fold(started._base, devices))
    share = means_us[0] / (means_us[0] + means_us[1])
    length_us = started.grid(devices)[1]
    for cells in (0.0, 0.5, 1.0, 1.5, 2.0, 7.3):
        on = started.is_on_many(devices, np.rint(cells * length_us).astype(np.int64) * 1000)
        assert abs((on * share).mean() - (share**2).mean()) < 5 * 0.5 / math.sqrt(20_000), cells
    assert abs(np.corrcoef(*np.log(means_us))[0, 1]) < 5 / math.sqrt(20_000)


@pytest.mark.parametrize("mean_s", [1e-3, 3.2e9])
def test_own_means_stay_within_what_may_be_asked_for(mean_s: float) -> None:
    """Between 1 ms and 3.2e9 s: ten cycles of two such last 20 ms, or 6.4e10 s, of a quarter of the devices."""
    length_us = Markov(mean_on_s=mean_s, mean_off_s=mean_s, variation=3.0).start(0).grid(np.arange(200))[1]
    assert (length_us.min() if mean_s < 1 else length_us.max()) == pytest.approx(20e6 * mean_s, rel=1e-6)
    assert 20 < np.isclose(length_us, 20e6 * mean_s, rtol=1e-6).sum() < 80


def test_a_chain_that_never_flips_is_met_by_the_flip_of_the_other() -> None:
    """B has no flip in the cell, which happens once in e²⁰ cells, and the other state than F: F's flip is put in."""
    flips_us = np.zeros((2, 3), np.int64)
    _meet(flips_us, np.array([3, 3]), np.array([True, False]), np.array([7, 7]))
    assert flips_us.tolist() == [[0, 0, 7], [0, 0, 0]]


@pytest.mark.parametrize("since_s", [400, 500])
def test_flips_of_equal_means_are_a_poisson_process(since_s: int) -> None:
    """Of 10 s each: 20 flips expected in 200 s, a cell or two halves. Their number has the law of Poisson, also where
    it exceeds the 32 periods drawn at first; the time to the first one, that since the last one and the state at the
    beginning do not know of each other. 40,000 devices, five standard errors."""
    n, since_ns = 40_000, since_s * SECOND_NS
    started = Markov(mean_on_s=10.0, mean_off_s=10.0).start(3)
    flips = started.flips(np.arange(n), since_ns, since_ns + 200 * SECOND_NS)
    counts = np.bincount(flips.row, minlength=n)
    bound = 5 / math.sqrt(n)
    assert abs(counts.mean() - 20) < bound * math.sqrt(20)
    assert abs(counts.var() - 20) < bound * math.sqrt(20 + 2 * 20**2)
    for most in (12, 20, 31, 33):
        expected = sum(math.exp(-20) * 20**k / math.factorial(k) for k in range(most + 1))
        assert abs((counts <= most).mean() - expected) < bound * math.sqrt(expected * (1 - expected)), most
    ends = np.cumsum(counts)
    first_ns, last_ns = flips.at_ns[ends - counts] - since_ns, since_ns + 200 * SECOND_NS - flips.at_ns[ends - 1]
    many = counts > 31
    for rows in (~many, many):
        seen = np.corrcoef([first_ns[rows], last_ns[rows], flips.starts_on[rows]])
        assert np.abs(seen[np.triu_indices(3, 1)]).max() < 5 / math.sqrt(rows.sum())


def test_markov_devices_differ_by_the_variation_asked_for() -> None:
    """ln of a device's mean has sigma 0.5; its share of on time then is 1 / (1 + exp(N(0, 0.5 √2))): sd 0.16."""
    steps = np.arange(2000)
    alike = Markov(mean_on_s=10.0, mean_off_s=10.0).start(1).on_ns_many(steps, HOUR_NS) / HOUR_NS
    unlike = Markov(mean_on_s=10.0, mean_off_s=10.0, variation=0.5).start(1).on_ns_many(steps, HOUR_NS) / HOUR_NS
    # alike: sqrt(2 a² b² / (a + b)³ / t) = sqrt(2.5 / 3600) = 0.026
    assert alike.std() == pytest.approx(0.026, abs=0.004)
    assert unlike.std() == pytest.approx(0.16, abs=0.02)


def test_who_is_hardly_ever_on_line_is_found_all_the_same() -> None:
    """Tens of thousands of windows from here, where a search that calls itself for each 64 of them came to its end."""
    rare, devices = Bernoulli(window_s=60.0, chance=1e-5).start(4), np.arange(4)
    found = [rare.next_change_ns(device, 0) for device in devices.tolist()]
    assert found == Bernoulli(window_s=60.0, chance=1e-5).start(4).next_change_many(devices, 0).tolist()
    assert max(change for change in found if change is not None) > 64 * 600 * 60 * 10**9


def test_bernoulli_windows_are_independent_draws() -> None:
    """100 windows of 2,000 devices: 200,000 draws at 0.3, and products of neighbours at 0.09; five standard errors."""
    started, devices = Bernoulli(window_s=60.0, chance=0.3).start(4), np.arange(2000)
    on = np.array([started.is_on_many(devices, (60 * window + 30) * SECOND_NS) for window in range(100)])
    assert abs(on.mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / on.size)
    assert abs((on[1:] & on[:-1]).mean() - 0.09) < 5 * math.sqrt(0.09 * 0.91 / on.size * 3)
    assert not (started.flips(devices, 0, HOUR_NS).at_ns % (60 * SECOND_NS)).any()


def test_a_diurnal_session_by_hand() -> None:
    """Peak 02:00 in UTC+1 is 01:00 UTC. 8 h weekdays: 21:00 to 05:00 UTC. Weekend: peak 04:00 local, 10 h: 22:00 to
    08:00 UTC. A session belongs to the day of its peak; time begins on Monday."""
    law = Diurnal(
        peak_s=2 * HOUR_S, hours_s=8 * HOUR_S, weekend_peak_s=4 * HOUR_S, weekend_hours_s=10 * HOUR_S, zones_s=(HOUR_S,)
    )
    flips = law.start(0).flips(np.array([0]), 0, 8 * DAY_NS)
    assert flips.starts_on.tolist() == [True]
    weekdays = [hour for day in range(1, 5) for hour in (24 * day - 3, 24 * day + 5)]
    weekend = [hour for day in (5, 6) for hour in (24 * day - 2, 24 * day + 8)]
    assert (flips.at_ns / HOUR_NS).tolist() == [5, *weekdays, *weekend, 7 * 24 - 3, 7 * 24 + 5, 8 * 24 - 3]


def test_no_session_lasts_longer_than_may_be_asked_for() -> None:
    """16 h, of which a third of the devices would have more than 23 h, and some whole days: all leave every day."""
    law = Diurnal(peak_s=0, hours_s=16 * HOUR_S, weekend_peak_s=0, weekend_hours_s=16 * HOUR_S, variation=1.0)
    started = law.start(0)
    lasts_h = started.on_ns_many(np.arange(200), 36 * HOUR_NS, 12 * HOUR_NS) / HOUR_NS
    assert lasts_h.max() == pytest.approx(23)
    assert 0.2 < (lasts_h > 22.9).mean() < 0.5
    assert all(len(table(started, device, 7 * DAY_NS)) >= 14 for device in range(200))


def test_who_comes_on_line_once_in_a_century_is_found() -> None:
    """On a day in 30,000, 82 years: asked through some weeks at a time, which no stack of calls would hold."""
    law = Diurnal(peak_s=0, hours_s=HOUR_S, weekend_peak_s=0, weekend_hours_s=HOUR_S, chance=1 / 30_000)
    started = law.start(0)
    changes_ns = {device: started.next_change_ns(device, DAY_NS) for device in (4, 6, 9)}
    assert max(change or 0 for change in changes_ns.values()) > 30_000 * DAY_NS
    for device, change_ns in changes_ns.items():
        if change_ns is not None:
            assert [started.is_on(device, change_ns + shift) for shift in (-1000, 0)] == [False, True]


@pytest.mark.parametrize(
    ("peak_h", "weekend_h", "shift_h"), [(23, 1, 2), (1, 23, -2), (24, 0, 0), (2, 4, 2), (0, 12, -12)]
)
def test_the_weekend_shifts_the_short_way_round_midnight(peak_h: float, weekend_h: float, shift_h: float) -> None:
    law = Diurnal(peak_s=peak_h * HOUR_S, hours_s=HOUR_S, weekend_peak_s=weekend_h * HOUR_S, weekend_hours_s=0)
    assert law.weekend_shift_s == shift_h * HOUR_S


def test_zones_habits_and_days_shift_sessions_as_far_as_they_say() -> None:
    """4,000 devices of three zones, equally likely; the middle of a session then varies by 1 h from device to device
    and by 2 h from day to day, and ln of its length by 0.3; five standard errors. Sessions of 4 h around noon never
    reach a border of the day, so that each is one coming and one going."""
    n, days = 4000, 4
    law = Diurnal(
        peak_s=12 * HOUR_S, hours_s=4 * HOUR_S, weekend_peak_s=12 * HOUR_S, weekend_hours_s=4 * HOUR_S,
        zones_s=(0.0, -8 * HOUR_S, 8 * HOUR_S), variation=0.3,
    )  # fmt: skip

    def sessions(law: Diurnal) -> tuple[Any, Any]:
        """Middle and length in h [device, day], from the second day on, less one that has begun by then."""
        flips = law.start(1).flips(np.arange(n), DAY_NS, (days + 3) * DAY_NS)
        rows = [flips.at_ns[flips.row == device] for device in range(n)]
        rows = [row[int(on) :][: 2 * days] for row, on in zip(rows, flips.starts_on, strict=True)]
        bounds_h = np.array(rows).reshape(n, days, 2) / HOUR_NS
        return bounds_h.mean(axis=2), bounds_h[:, :, 1] - bounds_h[:, :, 0]

    middle_h, length_h = sessions(law)
    zones, counts = np.unique(np.round(middle_h[:, 0] % 24, 6), return_counts=True)
    assert zones.tolist() == [4.0, 12.0, 20.0]
    assert np.abs(counts / n - 1 / 3).max() < 5 * math.sqrt(2 / 9 / n)
    assert np.log(length_h[:, 0]).mean() == pytest.approx(math.log(4), abs=5 * 0.3 / math.sqrt(n))
    assert np.log(length_h[:, 0]).std() == pytest.approx(0.3, abs=5 * 0.3 / math.sqrt(2 * n))
    shifted = replace(law, zones_s=(0.0,), variation=0.0, habit_s=HOUR_S, daily_s=2 * HOUR_S)
    shift_h = sessions(shifted)[0] % 24 - 12
    assert abs(shift_h.mean()) < 5 * math.sqrt((1 + 4 / days) / n)
    assert shift_h.var(axis=1, ddof=1).mean() == pytest.approx(4, abs=5 * 4 * math.sqrt(2 / (days - 1) / n))
    habits = np.cov(shift_h[:, 0], shift_h[:, 1])[0, 1]  # what two days of a device have in common
    assert habits == pytest.approx(1, abs=5 * math.sqrt((5**2 + 1) / n))


def test_more_phones_are_on_line_at_the_peak() -> None:
    """8 of 24 h with shifts of sd 1 h: everybody within two hours of the peak but 5 %, nobody at noon."""
    law = Diurnal(peak_s=2 * HOUR_S, hours_s=8 * HOUR_S, weekend_peak_s=2 * HOUR_S, weekend_hours_s=8 * HOUR_S,
                  habit_s=0.7 * HOUR_S, daily_s=0.7 * HOUR_S)  # fmt: skip
    started, devices = law.start(1), np.arange(4000)
    assert started.is_on_many(devices, 2 * HOUR_NS).mean() > 0.99
    assert started.is_on_many(devices, 14 * HOUR_NS).mean() < 0.01
    share = started.on_ns_many(devices, 14 * DAY_NS) / (14 * DAY_NS)
    assert share.mean() == pytest.approx(1 / 3, abs=0.005)


def test_an_outage_strikes_a_group_at_once() -> None:
    """share 1: all devices of a group have one timeline; two groups have two."""
    started = Outages(every_s=HOUR_S, lasts_s=HOUR_S, groups=2).start(0)
    flips = started.flips(np.arange(30), 0, DAY_NS)
    distinct = {tuple(flips.at_ns[flips.row == device]) for device in range(30)}
    assert len(distinct) == 2
    assert all(distinct)


def test_an_outage_strikes_the_share_asked_for() -> None:
    """At 6 h of 1 h between outages of 3 h: 3/4 of groups are struck, 40 % of their devices: 0.7 on line.
    400 groups: sd of a group's state 0.4 · sqrt(3/16) = 0.17 and a device's 0.46: mean of 40,000 within 0.045."""
    started = Outages(every_s=HOUR_S, lasts_s=3 * HOUR_S, share=0.4, groups=400).start(5)
    bound = 5 * math.sqrt(0.17**2 / 400 + 0.46**2 / 40_000)
    for hours in (0, 6):
        on = started.is_on_many(np.arange(40_000), hours * HOUR_NS)
        assert abs(on.mean() - 0.7) < bound


def test_outages_of_one_name_strike_together() -> None:
    one, other = (Outages(every_s=HOUR_S, lasts_s=HOUR_S, name="backhaul").start(3) for _ in range(2))
    assert one.next_change_ns(1, 0) == other.next_change_ns(77, 0)
    assert one.next_change_ns(1, 0) != Outages(every_s=HOUR_S, lasts_s=HOUR_S, name="x").start(3).next_change_ns(1, 0)


def test_a_rule_is_the_function_of_its_signals() -> None:
    nested = Rule(
        signals={"charging": NIGHT, "wifi": WIFI, "cable": Bernoulli(window_s=HOUR_S, chance=0.2)},
        statement=lambda on: all_of("charging")(on) & any_of("wifi", "cable")(on) & ~none_of("wifi", "cable")(on),
    )
    started, devices = nested.start(1), np.arange(300)
    members = [member.is_on_many(devices, 3 * HOUR_NS) for member in started._members]
    expected = members[0] & (members[1] | members[2])
    assert started.is_on_many(devices, 3 * HOUR_NS).tolist() == expected.tolist()
    assert 0 < expected.sum() < 300


def test_signals_of_one_kind_under_two_names_are_independent() -> None:
    """Two fair ones agree half of the time: 5,000 devices, five standard errors."""
    fair = Bernoulli(window_s=60.0, chance=0.5)
    started = Rule(signals={"a": fair, "b": fair}, statement=all_of("a", "b")).start(0)
    assert abs(started.is_on_many(np.arange(5000), 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 5000)


@pytest.mark.parametrize("statement", [lambda on: on["a"] & ~on["a"], lambda on: on["a"] | ~on["a"]])
def test_a_rule_that_no_signal_moves_is_refused(statement: object) -> None:
    with pytest.raises(ValueError, match=r"the rule (never|always) holds"):
        Rule(signals={"a": NIGHT}, statement=statement)  # type: ignore[arg-type]


def test_a_rule_that_never_comes_true_says_so_instead_of_searching_for_ever() -> None:
    """Two traces that are never on together, while each loops for ever."""
    one, other = (
        Trace(recording=Recording(users=("u",), first=np.array([0, 1]), starts_us=np.array([at]),
                                  ends_us=np.array([at + 10]), period_us=np.array([1000])))
        for at in (0, 500)
    )  # fmt: skip
    started = Rule(signals={"a": one, "b": other}, statement=all_of("a", "b")).start(0)
    with pytest.raises(RunError, match="the rule did not"):
        started.next_change_ns(0, 0)


@pytest.mark.parametrize(
    ("law", "figures", "said"),
    [
        (Bernoulli, {"window_s": 60.0, "chance": 1.0}, "strictly between 0 and 1"),
        (Bernoulli, {"window_s": 0.0, "chance": 0.5}, "between 1 ms and a year"),
        (Markov, {"mean_on_s": 1.0, "mean_off_s": 1.0, "variation": 4.0}, r"variation 4.0: must lie in \[0, 3\]"),
        (Markov, {"mean_on_s": 0.00099, "mean_off_s": 1.0}, "mean_on_s 0.00099 s: must lie between 1 ms and 100 years"),
        (Markov, {"mean_on_s": 1.0, "mean_off_s": 3.3e9}, "mean_off_s 3300000000.0 s: must lie between"),
        (Outages, {"every_s": 0.0, "lasts_s": 1.0}, "every_s 0.0 s: must lie between"),
        (Outages, {"every_s": 1.0, "lasts_s": 1.0, "share": 0.0}, "share 0.0"),
        (Outages, {"every_s": 1.0, "lasts_s": 1.0, "groups": 0}, "groups 0"),
    ],
)
def test_impossible_figures_are_refused(law: type, figures: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        law(**figures)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"peak_s": -1.0}, "peak_s -1.0"),
        ({"hours_s": 86_400.0}, "hours_s 86400.0"),
        ({"zones_s": ()}, "there must be one"),
        ({"hours_s": 0.0, "weekend_hours_s": 0.0}, "never on line"),
        ({"weekend_peak_s": 13 * HOUR_S}, "the shift and half the length may be 12 h together"),
        ({"chance": 0.0}, "chance 0.0"),
        ({"chance": 1.1}, "chance 1.1"),
        ({"weekend_peak_s": 7 * HOUR_S, "weekend_hours_s": 13 * HOUR_S}, "13 h whose peak is 6 h from the weekday's"),
        ({"peak_s": 24.1 * HOUR_S}, "peak_s 86760.0"),
        ({"habit_s": 6.1 * HOUR_S}, "habit_s 21960.0"),
        ({"daily_s": 6.1 * HOUR_S}, "daily_s 21960.0"),
        ({"variation": 3.1}, "variation 3.1"),
        ({"zones_s": (0.0, 14.1 * HOUR_S)}, "each within 14 h of UTC"),
        ({"zones_s": (-14.1 * HOUR_S, 0.0)}, "each within 14 h of UTC"),
    ],
)
def test_impossible_days_are_refused(changed: dict[str, Any], said: str) -> None:
    names = ("peak_s", "hours_s", "weekend_peak_s", "weekend_hours_s")
    figures: dict[str, Any] = {**dict.fromkeys(names, HOUR_S), **changed}
    with pytest.raises(ValueError, match=said):
        Diurnal(**figures)


@pytest.mark.parametrize(
    ("law", "figures"),
    [
        (Markov, {"mean_on_s": 1e-3, "mean_off_s": 3.2e9, "variation": 3.0}),
        (Diurnal, {"peak_s": 0.0, "hours_s": 0.0, "weekend_peak_s": 6 * HOUR_S, "weekend_hours_s": 12 * HOUR_S}),
        (Diurnal, {"peak_s": 0.0, "hours_s": 23 * HOUR_S, "weekend_peak_s": 12 * HOUR_S, "weekend_hours_s": 0.0,
                   "zones_s": (14 * HOUR_S, -14 * HOUR_S), "habit_s": 6 * HOUR_S, "daily_s": 6 * HOUR_S,
                   "variation": 3.0}),
    ],
)  # fmt: skip
def test_figures_at_the_end_of_their_range_are_taken(law: type, figures: dict[str, float]) -> None:
    assert law(**figures).start(0).on_ns(0, DAY_NS) <= DAY_NS


def test_a_fleet_answers_for_many_devices_as_for_one() -> None:
    group = np.array([0, 1, 2, 0, 1, 2, 2], np.int32)
    fleet = FleetAvailability([AlwaysOn(), CHARGING_ON_WIFI, WIFI], group, seed=2)
    devices, t_ns = np.array([6, 1, 0, 4]), 5 * HOUR_NS
    assert fleet.is_on_many(devices, t_ns).tolist() == [fleet.is_on(d, t_ns) for d in devices.tolist()]
    changes = [fleet.next_change_ns(d, t_ns) or NEVER for d in devices.tolist()]
    assert fleet.next_change_many(devices, t_ns).tolist() == changes
    share = fleet.share_on(devices, t_ns, 2 * t_ns)
    assert share.tolist() == [fleet.on_ns(d, 2 * t_ns, t_ns) / t_ns for d in devices.tolist()]
    assert share[2] == 1.0
    with pytest.raises(ValueError, match="must not be empty"):
        fleet.share_on(devices, 5, 5)


def test_a_forecast_is_right_as_often_as_its_accuracy_says() -> None:
    """4,000 devices at 0.9: five standard errors are 0.024; asked twice it says the same."""
    fleet = FleetAvailability([Markov(mean_on_s=60.0, mean_off_s=50.0)], np.zeros(4000, np.int32), seed=2)
    devices = np.arange(4000)
    truth, forecast = fleet.share_on(devices, 0, HOUR_NS), fleet.forecast_on(devices, 0, HOUR_NS, 0.9)
    assert abs((truth == forecast).mean() - 0.9) < 0.024
    assert np.array_equal(forecast, fleet.forecast_on(devices, 0, HOUR_NS, 0.9))
    assert np.array_equal(truth, fleet.forecast_on(devices, 0, HOUR_NS, 1.0))
    assert np.array_equal(1 - truth, fleet.forecast_on(devices, 0, HOUR_NS, 0.0))
    with pytest.raises(ValueError, match=r"accuracy 1\.5"):
        fleet.forecast_on(devices, 0, HOUR_NS, 1.5)
    with pytest.raises(ValueError, match=r"accuracy 90: must lie in \[0, 1\]"):
        fleet.forecast_on(devices, 0, HOUR_NS, 90)
