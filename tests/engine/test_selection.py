"""Who is idle, and the selectors that go by what is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
from choosing import Past, S, candidates, facts
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.arrays import IntArray
from edgesim.devices.availability import AlwaysOn
from edgesim.devices.battery import Batteries, BatteryFigures
from edgesim.engine.power import Power
from edgesim.engine.selection import (
    DataSize,
    EnergyAware,
    Facts,
    FastestAvailable,
    IdleClients,
    PowerOfChoice,
    RoundRobin,
    Selector,
    Uniform,
)
from edgesim.engine.selection.ranking import Ranking, by_chance


def met(selector: Selector, known: Facts) -> Selector:
    selector.meet(known)
    return selector


# ── idle clients ────────────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.integers(0, 19), max_size=60))
def test_idle_clients_are_a_set_whatever_the_order_of_coming_and_going(moves: list[int]) -> None:
    idle, model = IdleClients(20), set(range(20))
    for client in moves:
        if client in model:
            idle.leave(client)
            model.remove(client)
        else:
            idle.join(client)
            model.add(client)
        assert sorted(idle) == sorted(model)
        assert len(idle) == len(model)
    again = IdleClients(20)
    again.restore(idle.state())
    assert list(again) == list(idle)
    assert again.busy().tolist() == idle.busy().tolist()
    assert all((client in idle) == (client in model) for client in range(20))
    assert idle.mask(np.arange(20)).tolist() == [client in model for client in range(20)]


def test_who_gets_no_jobs_is_neither_idle_nor_busy() -> None:
    idle = IdleClients(6, [1, 2, 5])
    idle.leave(2)
    assert sorted(idle) == [1, 5]
    assert idle.busy().tolist() == [2]
    assert idle.clients == 6
    again = IdleClients(6, [1, 2, 5])
    again.restore(idle.state())
    for one in (idle, again):
        assert [client in one for client in range(6)] == [False, True, False, False, False, True]
        assert one.mask(np.arange(6)).tolist() == [False, True, False, False, False, True]
        assert not candidates(one).has(0)


# ── uniform ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("clients", [10, 100_000])
def test_a_uniform_choice_asks_as_many_as_it_must_whatever_the_fleet(clients: int) -> None:
    """Where every second client is on line, choosing 5 asks about 10 of them, of ten or of a hundred thousand."""
    asked: list[int] = []
    chosen = Uniform(1).select(5, 0, candidates(clients, range(1, clients, 2), asked=asked), Past(clients))
    assert len(set(chosen)) == 5
    assert len(asked) == len(set(asked)) <= 40


@pytest.mark.parametrize("clients", [10, 3000])
def test_a_uniform_choice_is_uniform_among_idle_clients_on_line(clients: int) -> None:
    """4,000 choices of 1 of clients 5 to 8 (9 is busy, all others are off line): each about 1,000 times
    (5 standard deviations: 137)."""
    counts = np.zeros(clients)
    idle = IdleClients(clients)
    idle.leave(9)
    off = {*range(clients)} - {5, 6, 7, 8, 9}
    for draw in range(4000):
        (client,) = Uniform(3).select(1, draw, candidates(idle, off), Past(clients))
        idle.leave(client)  # as in a run: it gets a job, and gives it back
        idle.join(client)
        counts[client] += 1
    assert counts[:5].sum() == counts[9:].sum() == 0
    assert np.abs(counts[5:9] - 1000).max() < 137


def test_where_hardly_anybody_is_on_line_all_are_asked_once() -> None:
    asked: list[int] = []
    only = {*range(5000)} - {17, 4321}
    assert sorted(Uniform(1).select(5, 0, candidates(5000, only, asked=asked), Past(5000))) == [17, 4321]
    assert sorted(asked) == list(range(5000))


# ── data size ───────────────────────────────────────────────────────────────────────────────────────────
def test_by_data_size_a_client_of_thrice_the_samples_comes_first_thrice_as_often() -> None:
    """Samples 1, 2, 3, 4 (client 3 is off line): 6,000 first choices go 1 : 2 : 3, that is 1000, 2000 and 3000 times.
    The standard deviations are sqrt(6000 p (1 − p)) = 29, 37, 39; five of them: 145, 183, 194."""
    selector, counts = met(DataSize(5), facts([1.0] * 4, [1, 2, 3, 4])), np.zeros(4)
    for draw in range(6000):
        counts[selector.select(1, draw, candidates(4, [3]), Past(4))] += 1
    assert counts[3] == 0
    assert np.all(np.abs(counts[:3] - [1000, 2000, 3000]) < [145, 183, 194])


@pytest.mark.parametrize("off", [0, 5000])
def test_by_data_size_a_second_choice_is_made_among_those_that_are_left(off: int) -> None:
    """Samples 1, 1, 2, all chosen from two at a time: client 2 is not among them only where 0 and 1 come first,
    1/4 · 1/3 twice, 1/6 of 3,000 times: 500; five standard deviations are 102. With 5,000 clients off line that
    have most of the data the draws miss, and all that are there are looked at."""
    samples = [1, 1, 2] + [1000] * off
    selector, without = met(DataSize(6), facts([1.0] * len(samples), samples)), 0
    idle, past = IdleClients(len(samples)), Past(len(samples))
    for client in range(3, len(samples)):
        idle.leave(client)
    for draw in range(3000):
        without += 2 not in selector.select(2, draw, candidates(idle), past)
    assert abs(without - 500) < 102


# ── power of choice ─────────────────────────────────────────────────────────────────────────────────────
def test_power_of_choice_takes_the_largest_losses_and_the_unknown_before_them() -> None:
    selector, past = met(PowerOfChoice(0, candidates=5), facts([1.0] * 5)), Past(5)
    for client, loss in enumerate([0.5, 2.0, 1.0, 0.1]):
        past.job(client, 0, loss=loss)
    assert selector.select(3, 0, candidates(5), past) == [4, 1, 2]
    assert selector.select(2, 1, candidates(5, [4, 1]), past) == [2, 0]


def test_power_of_choice_reads_the_losses_of_those_it_draws_and_of_nobody_else() -> None:
    selector, past = met(PowerOfChoice(0, candidates=3, draw_by="uniform"), facts([1.0] * 50)), Past(50)
    for client in range(50):
        past.job(client, 0, loss=1.0)
    selector.select(2, 0, candidates(50), past)
    assert len(past.read) == 3


def test_a_loss_is_that_of_the_last_update_and_stays_when_the_next_one_is_not_to_be_had() -> None:
    past = Past(1)
    assert past.loss(0) is None
    past.job(0, 0, loss=2.0)
    past.job(0, 1, loss=3.0)
    assert past.loss(0) == (3.0, 9.0)
    past.job_loss.clear()
    past.job(0, 2)
    assert past.loss(0) == (3.0, 9.0)


# ── in turn ─────────────────────────────────────────────────────────────────────────────────────────────
def test_round_robin_goes_round_and_who_is_away_misses_a_turn() -> None:
    selector, idle = met(RoundRobin(0), facts([1.0] * 5)), IdleClients(5)
    assert selector.select(2, 0, candidates(idle), Past(5)) == [0, 1]
    assert selector.select(2, 1, candidates(idle, [2]), Past(5)) == [3, 4]
    idle.leave(1)
    assert selector.select(3, 2, candidates(idle), Past(5)) == [0, 2, 3]
    again = met(RoundRobin(0), facts([1.0] * 5))
    again.restore(selector.state())
    assert again.select(5, 3, candidates(idle), Past(5)) == [4, 0, 2, 3]


def test_round_robin_gives_everybody_the_same_number_of_jobs() -> None:
    selector, counts = met(RoundRobin(0), facts([1.0] * 7)), np.zeros(7)
    for draw in range(21):
        counts[selector.select(2, draw, candidates(7), Past(7))] += 1
    assert counts.tolist() == [6] * 7


# ── the fast ────────────────────────────────────────────────────────────────────────────────────────────
def test_the_fastest_by_what_is_expected_come_in_order() -> None:
    selector = met(FastestAvailable(0), facts([3.0, 1.0, 2.0, 0.5]))
    assert selector.select(3, 0, candidates(4), Past(4)) == [3, 1, 2]
    assert selector.select(3, 1, candidates(4, [1]), Past(4)) == [3, 2, 0]


def test_the_fastest_by_their_last_job_come_after_those_that_had_none() -> None:
    selector, past = met(FastestAvailable(0, by="last"), facts([1.0] * 4)), Past(4)
    for client, took_s in ((0, 5.0), (2, 3.0), (3, 4.0)):
        past.job(client, 0, took_s=took_s)
    assert selector.select(3, 0, candidates(4), past) == [1, 2, 3]
    past.job(1, 0, took_s=9.0)
    assert selector.select(4, 1, candidates(4), past) == [2, 3, 0, 1]


def test_a_share_of_the_choices_of_the_fastest_is_uniform() -> None:
    """Client 9 is the slowest of 10: with half of the choices of 1 uniform it is chosen 1/20 of 2,000 times, 100;
    five standard deviations are 49."""
    selector = met(FastestAvailable(0, exploration=0.5), facts([float(i + 1) for i in range(10)]))
    chosen = [selector.select(1, draw, candidates(10), Past(10))[0] for draw in range(2000)]
    assert abs(chosen.count(9) - 100) < 49
    assert chosen.count(0) > 900


def test_what_is_expected_is_what_a_job_takes_undisturbed() -> None:
    """1 s down, training, 1 s up at 1 W in each state: as many joules as seconds."""
    expected = facts([3.0, 0.5]).expected()
    assert expected.duration_ns.tolist() == [5 * S, 2.5 * S]
    assert expected.energy_j.tolist() == pytest.approx([5.0, 2.5])


def test_what_is_expected_is_with_a_radio_that_sleeps_at_first_and_past_its_tail() -> None:
    """Half a second to wake, a tail of 1 s at 0.5 W: the first job's training outlasts it; the second's does not, so
    its upload finds the radio awake, half a tail after the download."""
    expected = facts([3.0, 0.5], tail_s=1.0, promotion_s=0.5).expected()
    assert expected.duration_ns.tolist() == [6 * S, 3 * S]
    assert expected.energy_j.tolist() == pytest.approx([6.0 + 0.5 * 2, 3.0 + 0.5 * 1.5])


def test_what_is_expected_is_with_connections_that_are_opened_and_start_slowly() -> None:
    """A latency of 0.25 s, thrice a transfer; windows of 50, 100 and 200 kB are waited for, less 50, 100 and 200 ms."""
    expected = facts([3.0], latency_s=0.25, connection=(2.0, 50e3)).expected()
    assert expected.duration_ns.tolist() == [3 * S + 2 * (S + 3 * S // 4 + (200 + 150 + 50) * S // 1000)]


# ── energy ──────────────────────────────────────────────────────────────────────────────────────────────
def test_without_batteries_the_cheapest_jobs_come_first() -> None:
    selector = met(EnergyAware(0), facts([3.0, 1.0, 2.0]))
    assert selector.select(2, 0, candidates(3), Past(3)) == [1, 2]


def test_with_batteries_the_fullest_come_first_and_among_equals_the_cheapest() -> None:
    """Client 1 has no battery, so it counts as full; 0.504 and 0.501 are the same in hundredths."""
    level = np.array([0.2, np.nan, 0.504, 0.501, 0.9])

    def charge(clients: IntArray, t_ns: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return level[clients]

    known = facts([1.0, 1.0, 3.0, 2.0, 1.0])
    full = replace(known, charge=charge)
    assert met(EnergyAware(0), full).select(5, 0, candidates(5), Past(5)) == [1, 4, 3, 2, 0]


def test_the_state_of_charge_is_that_of_the_batteries() -> None:
    """Of 100 J: 20 J, and 90 J; both drain at 1 W, so 10 s later there are 10 J less. The second device has none."""
    one, devices = np.ones(3), facts([1.0] * 3).fleet
    figures = BatteryFigures(
        capacity_j=one * 100, start_j=np.array([20.0, 50.0, 90.0]), charge_w=one * 0, drain_w=one, stop_j=one,
        resume_j=one * 3,
    )  # fmt: skip
    power = Power(devices, Batteries(figures, AlwaysOn()), np.array([True, False, True]))
    for t_s, expected in ((0, [0.2, np.nan, 0.9]), (10, [0.1, np.nan, 0.8])):
        assert power.charge(np.arange(3), t_s * S).tolist() == pytest.approx(expected, nan_ok=True)


# ── rankings ────────────────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.integers(0, 5), min_size=1, max_size=3000), st.integers(0, 9))
def test_a_ranking_is_a_sort_whatever_part_of_it_is_looked_at(scores: list[int], seed: int) -> None:
    score = np.array(scores, np.float64)
    ranking, ties = Ranking(score, by_chance(len(score), seed)), by_chance(len(score), seed)
    next(iter(ranking))
    order = np.concatenate([*ranking])
    assert order.tolist() == ties[np.argsort(-score[ties], kind="stable")].tolist()
    assert np.concatenate([*ranking]).tolist() == order.tolist()
