"""REFL: the estimate of a round's time, priorities, resting and the adaptive target, by worked numbers."""

from dataclasses import replace

import numpy as np
import pytest
from choosing import Past, S, candidates, facts

from edgesim.devices.availability import FleetAvailability
from edgesim.devices.trajectories import Trajectories
from edgesim.engine.selection import Facts, IdleClients, Refl


class Leaving(Trajectories):
    """Device i is on line until `until_s[i]`, and never again."""

    def __init__(self, *until_s: float) -> None:
        self.until_ns = [round(S * t) for t in until_s]

    def start(self, seed: int) -> "Leaving":
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        return t_ns < self.until_ns[device]

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        return self.until_ns[device] if t_ns < self.until_ns[device] else None


def leaving(*until_s: float) -> Facts:
    """Devices whose jobs are expected to take 4 s."""
    known = facts([2.0] * len(until_s))
    away = FleetAvailability([Leaving(*until_s)], np.zeros(len(until_s), np.int32), 0)
    return replace(known, fleet=replace(known.fleet, availability=away))


def met(selector: Refl, known: Facts) -> Refl:
    selector.meet(known)
    return selector


def test_the_estimate_of_a_rounds_time_follows_the_rounds() -> None:
    """μ = 4 s at first. A round of 10 s: 0.75 · 10 + 0.25 · 4 = 8.5 s. Two rounds in 4 s, 2 s each: 3.625 s, then
    2.40625 s. Another choice in the same round changes nothing."""
    selector, past, found = met(Refl(0), leaving(99, 99)), Past(2), []
    for past.version, now_s in ((0, 0), (1, 10), (3, 14), (3, 15)):
        selector.select(1, 0, candidates(2, now_s=now_s), past)
        found.append(selector.state()["round_ns"] / S)
    assert found == pytest.approx([4.0, 8.5, 2.40625, 2.40625])


def test_who_will_hardly_be_there_comes_first() -> None:
    """From 1 s on the window is [5 s, 9 s]: shares 1, 1/4, 0, 3/4."""
    selector = met(Refl(0, accuracy=1.0), leaving(99, 6, 2, 8))
    assert selector.select(3, 0, candidates(4, now_s=1), Past(4)) == [2, 1, 3]


def test_a_forecaster_that_is_always_wrong_turns_the_order_round() -> None:
    selector = met(Refl(0, accuracy=0.0), leaving(99, 6, 2, 8))
    assert selector.select(4, 0, candidates(4, now_s=1), Past(4)) == [0, 3, 1, 2]


def test_ties_are_broken_by_chance() -> None:
    """All stay: each of 10 is the first of 1,000 choices 100 times; five standard deviations: 47."""
    selector = met(Refl(0, accuracy=1.0), leaving(*[9999] * 10))
    first = [selector.select(1, draw, candidates(10), Past(10))[0] for draw in range(1000)]
    assert np.abs(np.bincount(first, minlength=10) - 100).max() < 47


def test_who_was_chosen_lately_comes_last() -> None:
    """Chosen at versions 1, 3 and 4, now 5 and two rounds of rest: the first has rested; 3 was longest ago, but both
    others rest, and of them the one that leaves first comes first."""
    selector, past = met(Refl(0, accuracy=1.0, rest=2), leaving(99, 2, 5, 99)), Past(4)
    for client, version in ((0, 1), (1, 3), (2, 4)):
        past.dispatch([client], version, 0)
    past.version = 5
    selector.select(1, 0, candidates(4), past)
    assert sorted(selector.select(2, 1, candidates(4), past)) == [0, 3]
    assert selector.select(4, 2, candidates(4), past)[2:] in ([1, 2], [2, 1])


def test_stragglers_that_will_report_in_time_reduce_the_target() -> None:
    """μ = 4 s. At 2 s, of three at work since 0 s, 1 s and 2 s, jobs of 4 s end within μ, at 4, 5 and 6 s; the last
    job of a fourth took 30 s. So of 5 wanted 2 are chosen; with 80 % at least, 4; never none."""
    past, idle = Past(12), IdleClients(12)
    past.job(3, 0, took_s=30.0)
    for client, at_s in enumerate((0, 1, 2, 2)):
        past.dispatch([client], 0, at_s * S)
        idle.leave(client)
    for wanted, options, number in ((5, {}, 2), (5, {"least_share": 0.8}, 4), (2, {}, 1), (5, {"adaptive": False}, 5)):
        selector = met(Refl(0, **{"adaptive": True, **options}), leaving(*[99] * 12))  # type: ignore[arg-type]
        assert len(selector.select(wanted, 0, candidates(idle, now_s=2), past)) == number


def test_of_many_only_some_are_asked_for_a_forecast() -> None:
    asked: list[int] = []
    selector = met(Refl(0, asked=50), facts([2.0] * 20_000))
    assert len(selector.select(10, 0, candidates(20_000, asked=asked), Past(20_000))) == 10
    assert len(asked) < 500


def test_those_that_cannot_be_chosen_have_no_part_in_the_estimate_of_a_round() -> None:
    """Jobs take 3 s and 5 s, and would take 99 s on three others: μ = 4 s, so who leaves within [4 s, 8 s] comes
    before who stays."""
    known = replace(leaving(99, 6, 99, 99, 99), participants=np.array([0, 1]))
    expected = facts([1.0, 3.0, 97.0, 97.0, 97.0]).expected
    selector = met(Refl(0, accuracy=1.0), replace(known, expected=expected))
    assert selector.select(2, 0, candidates(IdleClients(5, [0, 1])), Past(5)) == [1, 0]
    assert selector.state()["round_ns"] == 4 * S
