"""Oort: utility, uncertainty, penalty, pacer, exploitation and exploration, by worked numbers."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
from choosing import Past, S, candidates, facts

from edgesim.engine.selection import Facts, IdleClients, Oort
from edgesim.engine.selection.pacer import Pacer


def met(selector: Oort, known: Facts) -> Oort:
    selector.meet(known)
    return selector


def greedy(seed: int = 0, **options: float) -> Oort:
    """Half of the choices exploit, and of those only the best do."""
    half = {"exploration": 0.5, "exploration_decay": 1.0, "exploration_floor": 0.5, "cut_off": 1.0, "window": 1.0}
    return Oort(seed, **{**half, **options})  # type: ignore[arg-type]


def test_a_score_is_utility_in_its_range_and_uncertainty_times_the_penalty_of_the_slow() -> None:
    """Samples 4 and 2, losses 3 and 1: U = 12 and 2, so min = 1.998 and range = 10.002. Round 5; last rounds 1 and 4.
    Durations 2 s and 8 s, of the two others 3 s and 4 s are expected: T, the 50th percentile, is 4 s, and the slow
    one's score takes (4/8)² = 1/4."""
    selector = met(Oort(0, percentile=50.0, clip=1.0), facts([1.0, 1.0, 2.0, 6.0], [4, 1, 1, 2]))
    past = Past(4)
    past.job(0, 0, took_s=2.0, loss=3.0)
    past.job(3, 3, took_s=8.0, loss=1.0)
    past.version = 4
    selector.select(1, 0, candidates(4), past)
    fast = (12 - 1.998) / 10.002 + sqrt(0.1 * log(5) / 1)
    slow = ((2 - 1.998) / 10.002 + sqrt(0.1 * log(5) / 4)) / 4
    assert selector.scores(np.array([0, 3]), past).tolist() == pytest.approx([fast, slow])


def test_utilities_above_the_clip_count_as_it() -> None:
    """U = 1 to 10, clip at the 50 % quantile, the sixth: 6; min = 0.999, range = 9.001; in round 1 nothing is added
    for uncertainty, and T is that of all."""
    selector = met(Oort(0, clip=0.5, percentile=100.0), facts([1.0] * 10))
    past = Past(10)
    for client in range(10):
        past.job(client, 0, loss=client + 1.0)
    scores = selector.scores(np.arange(10), past)
    assert scores.tolist() == pytest.approx([(min(u, 6) - 0.999) / 9.001 for u in range(1, 11)])


def test_a_client_without_a_loss_scores_nothing_and_leaves_the_range_to_the_others() -> None:
    """U = 5, 3 and 0 as nothing is known: over a range from 0.999 · 3 to 5, in the first round."""
    selector, past = met(Oort(0, clip=1.0), facts([1.0] * 3)), Past(3)
    for client, loss in enumerate([5.0, 3.0, None]):
        past.job(client, 0, loss=loss)
    least = 0.999 * 3
    assert selector.scores(np.arange(3), past) == pytest.approx([1.0, (3 - least) / (5 - least), 0.0])
    assert selector.scores(np.array([1]), past) == pytest.approx([1.0])  # the best of any has all of the range
    assert selector.scores(np.array([2]), past).tolist() == [0.0]


def test_the_best_are_exploited_and_of_the_unknown_the_large_and_fast_explored() -> None:
    """Of four wanted two exploit: of the known 0 to 3 those of losses 5 and 4. Two explore: of the unknown 4 to 7
    with samples 1, 9, 8, 10, client 7 is slow: T is 3 s, the second shortest of eight, so it counts (3/12)² · 10."""
    selector = met(greedy(percentile=13.0), facts([1.0] * 7 + [10.0], [1, 1, 1, 1, 1, 9, 8, 10]))
    past = Past(8)
    for client, loss in enumerate([1.0, 5.0, 4.0, 2.0]):
        past.job(client, 0, took_s=3.0, loss=loss)
    chosen = selector.select(4, 0, candidates(8), past)
    assert sorted(chosen[:2]) == [1, 2]
    assert sorted(chosen[2:]) == [5, 6]


def test_the_cut_off_lets_in_whoever_is_nearly_as_good_as_the_last_rank() -> None:
    """U = 10, 9, 1 and one to exploit: with 70 % of the best score 9 is in reach, 1 is not. Scores (U − 0.999) / 9.001
    are 1 and 0.889, so of 1,000 choices 529 are the first; five standard deviations: 79."""
    selector = met(greedy(cut_off=0.7, clip=1.0, percentile=100.0), facts([1.0] * 4))
    past, first = Past(4), 0
    for client, loss in enumerate([10.0, 9.0, 1.0]):
        past.job(client, 0, loss=loss)
    for draw in range(1000):
        chosen = selector.select(2, draw, candidates(4), past)
        assert chosen[0] in (0, 1)
        assert chosen[1] == 3
        first += chosen[0] == 0
    assert abs(first - 529) < 79


def test_exploration_decays_to_its_floor_and_ends_when_all_are_known() -> None:
    selector, past = met(Oort(0), facts([1.0] * 2)), Past(2)
    past.job(0, 0)
    found = []
    for past.version in (0, 1, 9, 100):
        found.append(selector.epsilon(past))
    assert found == pytest.approx([0.9 * 0.95, 0.9 * 0.95**2, 0.9 * 0.95**10, 0.2])
    past.job(1, 0)
    assert selector.epsilon(past) == 0


def test_a_choice_of_one_exploits_as_often_as_its_share_says() -> None:
    """ε = 1/2, 1,000 choices of one: client 0, the known one, comes 500 times; five standard deviations: 79."""
    selector, past = met(greedy(), facts([1.0] * 5)), Past(5)
    past.job(0, 0, loss=1.0)
    chosen = [selector.select(1, draw, candidates(5), past)[0] for draw in range(1000)]
    assert abs(chosen.count(0) - 500) < 79


def test_the_pacer_lets_slower_clients_in_when_utility_is_flat_and_fewer_when_it_leaps() -> None:
    """Steps of 2: [1, 1] then [1, 1.1] is flat: 10 → 15. [5, 5] is a change of 7.9, neither within 0.21 nor beyond
    10.5. [100, 100] is one of 190 ≥ 50: 15 → 10."""
    pacer, found = Pacer(10.0, 2, 5.0), []
    for utility in (1, 1, 1, 1.1, 5, 5, 100, 100):
        pacer.end_round(utility)
        found.append(pacer.percentile)
    assert found == [10, 10, 10, 15, 15, 15, 15, 10]


def test_the_pacer_stays_between_its_step_and_all() -> None:
    high, low = Pacer(98.0, 1, 5.0), Pacer(6.0, 1, 5.0)
    for round_ in range(6):
        high.end_round(1.0)
        low.end_round(10.0 ** (2 * round_))
    assert (high.percentile, low.percentile) == (100.0, 5.0)


def test_a_round_brings_the_mean_utility_of_the_exploited_whose_updates_came() -> None:
    """Clients 1 (U = 5) and 2 (U = 4) are exploited in round 1; in round 2 the update of 1 is there with U = 7, and 2
    is still at work. In round 3 its update has come, with U = 3, whoever was chosen in round 2 since then."""
    selector, past, idle = met(greedy(), facts([1.0] * 8)), Past(8), IdleClients(8)
    for client, loss in enumerate([1.0, 5.0, 4.0]):
        past.job(client, 0, loss=loss)
    assert sorted(selector.select(4, 0, candidates(idle), past)[:2]) == [1, 2]
    idle.leave(2)
    past.job(1, 0, loss=7.0)
    past.version = 1
    selector.select(1, 1, candidates(idle, range(8)), past)
    past.job(2, 0, loss=3.0)
    idle.join(2)
    selector.select(1, 2, candidates(idle, range(8)), past)
    past.version = 2
    selector.select(1, 3, candidates(idle, range(8)), past)
    assert selector.state()["pacer"]["utility"] == pytest.approx([0.0, 7.0, 3.0])
    again = met(greedy(), facts([1.0] * 8))
    again.restore(selector.state())
    assert again.state() == selector.state()


def test_who_has_done_enough_is_left_out_but_for_three_in_ten_at_most() -> None:
    selector = met(Oort(0, most_jobs=2), facts([1.0] * 10))
    past = Past(10)
    for client in range(5):
        past.job(client, 0, loss=1.0)
    past.aggregated[:] = [9, 8, 7, 6, 5, 0, 0, 0, 0, 0]
    assert sorted(selector.select(10, 0, candidates(10), past)) == [3, 4, 5, 6, 7, 8, 9]
    past.aggregated[:5] = [3, 2, 2, 2, 2]  # two are not more than two
    assert sorted(selector.select(10, 1, candidates(10), past)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_durations_are_those_of_the_last_jobs_where_there_were_any() -> None:
    """Expected are 3 s each; the last jobs of three took 9 s: the 20th percentile of four is 3 s, the 30th 9 s."""
    past = Past(4)
    for client in range(3):
        past.job(client, 0, took_s=9.0, loss=1.0)
    for percentile, preferred_s in ((20.0, 3), (30.0, 9), (100.0, np.inf)):
        selector = met(Oort(0, percentile=percentile), facts([1.0] * 4))
        selector.select(1, 0, candidates(4), past)
        assert selector.state()["preferred_ns"] == preferred_s * S


def test_those_that_cannot_be_chosen_are_not_waited_for() -> None:
    """T, the median of what jobs take, and whether anybody is left to explore, are of clients 0 to 2 alone."""
    known = replace(facts([1.0, 2.0, 3.0, 97.0, 97.0, 97.0]), participants=np.arange(3))
    selector, past = met(Oort(0, percentile=50.0), known), Past(6)
    selector.select(1, 0, candidates(IdleClients(6, [0, 1, 2])), past)
    assert selector.state()["preferred_ns"] == 4 * S
    assert selector.epsilon(past) > 0
    for client in range(3):
        past.job(client, 0, took_s=3.0, loss=1.0)
    assert selector.epsilon(past) == 0
