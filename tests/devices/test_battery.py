"""Batteries: straight lines by hand, and a slow walk in small steps as the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.devices.battery import Batteries, BatteryFigures
from edgesim.devices.markov import Markov
from edgesim.devices.trajectories import Trajectories

SECOND_NS = 1_000_000_000


class Plug(Trajectories):
    """Charging in [start, end) of every period."""

    def __init__(self, start_s: int, end_s: int, period_s: int) -> None:
        self.start_ns, self.end_ns, self.period_ns = (value * SECOND_NS for value in (start_s, end_s, period_s))

    def is_on(self, device: int, t_ns: int) -> bool:
        return self.start_ns <= t_ns % self.period_ns < self.end_ns

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        rest = t_ns % self.period_ns
        bounds = (self.start_ns, self.end_ns, self.period_ns + self.start_ns)
        return t_ns - rest + next(at for at in bounds if at > rest)


def batteries(charging: Trajectories, count: int = 1, **changed: float) -> Batteries:
    figures = {
        "capacity_j": 100.0, "start_j": 50.0, "charge_w": 3.0, "drain_w": 1.0, "stop_j": 20.0, "resume_j": 40.0,
        **changed,
    }  # fmt: skip
    return Batteries(BatteryFigures(**{name: np.full(count, value) for name, value in figures.items()}), charging)


def test_a_day_by_hand() -> None:
    """50 J - 1 W: 20 J and stopped at 30 s; plugged in at 40 s with 10 J, +2 W: 40 J and started at 55 s; unplugged
    at 60 s with 50 J: from there the same again, 60 s later."""
    found = batteries(Plug(40, 60, 60))
    assert found.at(0, 10 * SECOND_NS) == (10 * SECOND_NS, 40.0, False)
    assert found.at(0, 30 * SECOND_NS) == (30 * SECOND_NS, 20.0, True)
    assert found.at(0, 40 * SECOND_NS) == (40 * SECOND_NS, 10.0, True)
    assert found.at(0, 55 * SECOND_NS) == (55 * SECOND_NS, 40.0, False)
    assert found.at(0, 60 * SECOND_NS) == (60 * SECOND_NS, 50.0, False)
    crossings = [found.next_crossing_ns(0, t * SECOND_NS, 1000 * SECOND_NS) for t in (0, 30, 54, 55, 60)]
    assert crossings == [t * SECOND_NS for t in (30, 55, 55, 90, 90)]


def test_a_job_brings_the_stop_nearer() -> None:
    """2 W more from 10 s (40 J) on: 20 J after 20/3 s. None before that; a crossing lies on a whole ns, rounded up."""
    found = batteries(Plug(40, 60, 60))
    assert found.next_crossing_ns(0, 10 * SECOND_NS, 100 * SECOND_NS, extra_w=2.0) == 16_666_666_667
    assert found.next_crossing_ns(0, 10 * SECOND_NS, 16 * SECOND_NS, extra_w=2.0) is None
    assert found.at(0, 12 * SECOND_NS, extra_w=2.0, since_ns=10 * SECOND_NS).level_j == pytest.approx(34.0)
    after = found.debit(0, 12.0, 10 * SECOND_NS, 16 * SECOND_NS)
    assert after.level_j == pytest.approx(50 - 16 - 12)
    assert found.at(0, 17 * SECOND_NS).level_j == pytest.approx(21.0)
    assert found.next_crossing_ns(0, 16 * SECOND_NS, 100 * SECOND_NS) == pytest.approx(18 * SECOND_NS, abs=2)


def test_a_battery_is_never_more_than_full_or_less_than_empty() -> None:
    full = batteries(Plug(0, 59, 60), charge_w=30.0)
    assert full.at(0, 59 * SECOND_NS).level_j == 100.0
    empty = batteries(Plug(0, 1, 10_000), charge_w=0.0)
    assert empty.at(0, 5000 * SECOND_NS) == (5000 * SECOND_NS, 0.0, True)
    assert empty.next_crossing_ns(0, 0, 9000 * SECOND_NS) == 30 * SECOND_NS
    assert empty.next_crossing_ns(0, 30 * SECOND_NS, 9000 * SECOND_NS) is None
    drained = batteries(Plug(0, 1, 10_000), charge_w=0.0, stop_j=0.0)
    assert [drained.at(0, t * SECOND_NS)[1:] for t in (49, 50, 51)] == [(1.0, False), (0.0, True), (0.0, True)]


def test_a_debit_of_an_instant_may_stop_the_device() -> None:
    found = batteries(Plug(40, 60, 60))
    assert found.debit(0, 35.0, 0, 0) == (0, 15.0, True)
    assert found.debit(0, 35.0, 0, 0) == (0, 0.0, True)


def test_when_a_battery_kept_its_device_from_work() -> None:
    """As above: stopped from 30 to 55 s, and from 90 to 115 s."""
    found = batteries(Plug(40, 60, 60), count=2)
    stops = [(1, 30 * SECOND_NS, 55 * SECOND_NS), (1, 90 * SECOND_NS, 100 * SECOND_NS)]
    asked = [found.stops_up_to(1, t * SECOND_NS) for t in (30, 40, 55, 60, 100)]
    assert asked == [[], [(1, 30 * SECOND_NS, 40 * SECOND_NS)], stops[:1], stops[:1], stops]
    found.draw(1, 0.0, 0, 95 * SECOND_NS)
    assert found.stops == stops[:1]
    assert found.stops_up_to(1, 100 * SECOND_NS) == stops[1:]
    again = batteries(Plug(40, 60, 60), count=2)
    again.restore(found.state())
    assert again.stops_up_to(1, 100 * SECOND_NS) == stops[1:]


def test_a_debit_of_an_instant_stops_a_device_but_once() -> None:
    """Of 50 J 29 are taken at 1 s, 20 J are left: stopped. What is taken later changes nothing about since when."""
    found = batteries(Plug(40, 60, 60))
    for at_s, joules in ((0, 0.0), (1, 29.0), (2, 5.0)):
        found.debit(0, joules, at_s * SECOND_NS, at_s * SECOND_NS)
    assert found.stops_up_to(0, 40 * SECOND_NS) == [(0, SECOND_NS, 40 * SECOND_NS)]
    assert found.debit(0, 1.0, 58 * SECOND_NS, 58 * SECOND_NS).stopped  # with 36 J - 1 J, on the way up to 40 J
    assert batteries(Plug(40, 60, 60)).stops_up_to(0, 30 * SECOND_NS) == []
    spared = batteries(Plug(40, 60, 60))
    spared.debit(0, 1.0, SECOND_NS, SECOND_NS)
    assert spared.stops_up_to(0, 40 * SECOND_NS) == [(0, 29 * SECOND_NS, 40 * SECOND_NS)]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    watts=st.floats(0.1, 8),
    debits=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.floats(0, 30)), max_size=4),
)
def test_the_charge_is_that_of_a_walk_in_small_steps(
    seed: int, watts: float, debits: list[tuple[int, int, float]]
) -> None:
    """Steps of 10 ms: the reference is wrong by at most a few steps' energy, and more where a clamp falls in one."""
    charging = Markov(mean_on_s=20.0, mean_off_s=30.0).start(seed)
    found = batteries(charging, charge_w=watts)
    at_s, extra = 0, list[tuple[int, int, float]]()
    for wait_s, lasts_s, joules in debits:
        extra.append((at_s + wait_s, at_s + wait_s + lasts_s, joules / lasts_s))
        found.debit(0, joules, (at_s + wait_s) * SECOND_NS, (at_s + wait_s + lasts_s) * SECOND_NS)
        at_s += wait_s + lasts_s
    level_j, step_s = 50.0, 0.01
    for step in range(round((at_s + 60) / step_s)):
        now_s = step * step_s
        rate_w = watts * charging.is_on(0, round(now_s * 1e9)) - 1.0
        rate_w -= sum(power for start, end, power in extra if start <= now_s < end)
        level_j = min(max(level_j + rate_w * step_s, 0.0), 100.0)
    assert found.at(0, (at_s + 60) * SECOND_NS).level_j == pytest.approx(level_j, abs=1.0)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), order=st.permutations(range(10)))
def test_questions_change_no_answer(seed: int, order: list[int]) -> None:
    charging = Markov(mean_on_s=20.0, mean_off_s=30.0)
    one, other = (batteries(charging.start(seed), charge_w=2.5) for _ in range(2))
    times_ns = [place * 37 * SECOND_NS for place in range(10)]
    first = [(one.at(0, t_ns), one.next_crossing_ns(0, t_ns, 10**12)) for t_ns in times_ns]
    for place in order:
        t_ns = times_ns[place]
        assert (other.at(0, t_ns), other.next_crossing_ns(0, t_ns, 10**12)) == first[place]
    stopped = [charge.stopped for charge, _ in first]
    for (charge, crossing_ns), now, then in zip(first[:-1], stopped[:-1], stopped[1:], strict=True):
        inside = crossing_ns is not None and crossing_ns <= charge.at_ns + 37 * SECOND_NS
        assert inside or now == then
        if crossing_ns is not None:
            assert one.at(0, crossing_ns).stopped != charge.stopped
            assert one.at(0, crossing_ns - 1).stopped == charge.stopped


def test_state_and_restore_give_the_same_battery() -> None:
    one, other = batteries(Plug(40, 60, 60), count=3), batteries(Plug(40, 60, 60), count=3)
    one.debit(1, 12.0, 10 * SECOND_NS, 16 * SECOND_NS)
    assert one.state()["device"] == [1]
    other.restore(one.state())
    assert other.levels_j(70 * SECOND_NS).tolist() == one.levels_j(70 * SECOND_NS).tolist()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"start_j": 101.0}, "must have 0 ≤ start_j ≤ capacity_j"),
        ({"start_j": -1.0}, "must have 0 ≤ start_j ≤ capacity_j"),
        ({"stop_j": -1.0}, "must have 0 ≤ stop_j < resume_j"),
        ({"resume_j": 20.0}, "must have 0 ≤ stop_j < resume_j"),
        ({"resume_j": 120.0}, "must have resume_j ≤ capacity_j"),
        ({"drain_w": -1.0}, "must have charge_w ≥ 0 and drain_w ≥ 0"),
        ({"charge_w": -1.0}, "must have charge_w ≥ 0 and drain_w ≥ 0"),
    ],
)
def test_impossible_batteries_are_refused(changed: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=f"battery of device 0 .*{said}"):
        batteries(Plug(0, 1, 2), 1, **changed)


def test_the_first_battery_that_is_impossible_is_named() -> None:
    one = np.array([0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"battery of device 1 \(.*start_j 3, .*\): must have 0 ≤ start_j"):
        BatteryFigures(
            capacity_j=one + 1, start_j=one * 3, charge_w=one * 0, drain_w=one * 0, stop_j=one * 0, resume_j=one + 1
        )


def test_the_past_and_the_negative_are_refused() -> None:
    found = batteries(Plug(40, 60, 60))
    found.debit(0, 1.0, 0, 10 * SECOND_NS)
    with pytest.raises(ValueError, match="its last debit ends at 10000000000 ns"):
        found.at(0, 5)
    with pytest.raises(ValueError, match="its last debit ends at 10000000000 ns"):
        found.draw(0, 1.0, 5, 11 * SECOND_NS)
    for joules, end_s in ((-1.0, 11), (1.0, 9)):
        with pytest.raises(ValueError, match="must not be negative"):
            found.debit(0, joules, 10 * SECOND_NS, end_s * SECOND_NS)
