"""Tiers (FedAT), by the second. A device that trains for x seconds takes x + 2."""

from pathlib import Path

import pytest
from worlds import ended, events, fleet, simulation

from edgesim.engine.limits import Stop
from edgesim.engine.schedules import Sync, Tiered
from edgesim.engine.schedules.tiered import tier_weights

S = 1_000_000_000


def test_the_weight_of_a_tier_is_the_count_of_its_mirror_image() -> None:
    """Chai et al. 2021: with 6, 3 and 1 rounds the fastest tier weighs 1/10, the slowest 6/10."""
    assert tier_weights([6, 3, 1]) == pytest.approx([0.1, 0.3, 0.6])
    assert tier_weights([5]) == (1.0,)
    assert tier_weights([1, 0]) == (0.0, 1.0)  # the slow tier has not moved: its model is the first one


def test_each_tier_has_rounds_of_its_own(tmp_path: Path) -> None:
    """Tier 0 (devices 1 and 3, 3 s) ends rounds at 3, 6, 9; tier 1 (0 and 2, 7 s) at 7, two versions late."""
    run, learning = simulation(tmp_path, fleet([5.0, 1.0, 5.0, 1.0]), Tiered(2, 2), Stop(aggregations=4))
    run.begin()
    run.run()
    assert run.now_ns == 9 * S
    companies = [(sorted(u.client for u in a), {u.staleness for u in a}) for a in learning.aggregations]
    # the round that begins at 6 sees the slow tier's aggregation at 7: one version late at 9
    assert companies == [([1, 3], {0}), ([1, 3], {0}), ([0, 2], {2}), ([1, 3], {1})]
    found = [(merging.group, merging.weights) for merging in learning.mergings if merging]
    assert found == [(0, (0, 1)), (0, (0, 1)), (1, (1 / 3, 2 / 3)), (0, (1 / 4, 3 / 4))]
    assert {terms.group for terms in learning.terms.values()} == {0, 1}


def test_an_update_waits_for_its_own_tier(tmp_path: Path) -> None:
    """Devices 0 and 1 end rounds at 3, 6, 9; that of 2, there at 6, is merged with that of 3, at 11."""
    _, learning = ended(tmp_path, fleet([1.0, 1.0, 4.0, 9.0]), Tiered(2, 2), Stop(aggregations=4))
    assert [sorted(u.client for u in a) for a in learning.aggregations] == [[0, 1], [0, 1], [0, 1], [2, 3]]


def test_three_devices_three_tiers(tmp_path: Path) -> None:
    """Rounds end at 3 (0), 4 (1), 6 (0), 7 (2), 8 (1), 9 (0)."""
    schedule = Tiered(3, 1)
    run, learning = simulation(tmp_path, fleet([1.0, 2.0, 5.0]), schedule, Stop(aggregations=6))
    run.begin()
    run.run()
    found = [(a[0].client, a[0].staleness) for a in learning.aggregations]
    assert found == [(0, 0), (1, 1), (0, 1), (2, 3), (1, 2), (0, 2)]
    assert schedule.received == []  # all are merged
    last = learning.mergings[-1]
    assert last is not None
    assert last.weights == (1 / 6, 2 / 6, 3 / 6)  # 3, 2 and 1 rounds


def test_one_tier_is_a_synchronous_round(tmp_path: Path) -> None:
    seen = []
    for name, schedule in (("sync", Sync(2)), ("tiered", Tiered(1, 2))):
        run, learning = simulation(tmp_path / name, fleet([1.0, 2.0, 5.0]), schedule, Stop(aggregations=5))
        run.begin()
        run.run()
        seen.append((run.now_ns, learning.aggregations, events(run)))
    assert seen[0] == seen[1]


def test_clients_are_sorted_by_what_was_measured_or_else_forecast(tmp_path: Path) -> None:
    """Measured: 9 s, 4 s and nothing, but 7 s by forecast; the fastest first."""
    schedule = Tiered(3, 1)
    run, _ = simulation(tmp_path, fleet([1.0, 2.0, 5.0]), schedule, Stop(aggregations=1))
    schedule._sort(run.server)
    assert schedule.tier == [0, 1, 2]
    run.server.history.duration_ns[:2] = 9 * S, 4 * S
    schedule._sort(run.server)
    assert schedule.tier == [2, 0, 1]


@pytest.mark.parametrize(("retier", "sorted_at"), [(None, 0), (4, 8), (3, 9)])
def test_tiers_are_sorted_anew_after_so_many_aggregations(tmp_path: Path, retier: int | None, sorted_at: int) -> None:
    """The last time before the eleventh; and only at first, where that is not asked for."""
    schedule = Tiered(3, 1, retier=retier)
    run, _ = simulation(tmp_path, fleet([1.0, 2.0, 5.0]), schedule, Stop(aggregations=11))
    run.begin()
    run.run()
    assert schedule.sorted_at == sorted_at


def test_a_run_stops_at_its_limit_even_where_two_tiers_end_at_one_instant(tmp_path: Path) -> None:
    run, _ = ended(tmp_path, fleet([1.0, 1.0]), Tiered(2, 1), Stop(aggregations=1))
    assert run.version == 1
