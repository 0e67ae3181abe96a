"""Semi-synchronous schedules (SAFA, TimelyFL), by the second. Devices 0, 1 and 2 take 3, 4 and 7 s a job."""

from pathlib import Path

from worlds import Counting, ended, events, fleet, received

from edgesim.engine.learning import Merging, Terms
from edgesim.engine.limits import Stop
from edgesim.engine.schedules import Safa, TimelyFl
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.simulation import Simulation

S = 1_000_000_000
LONG = 1000 * S


def run(folder: Path, speeds: list[float], schedule: Schedule, stop: Stop) -> tuple[Simulation, Counting]:
    return ended(folder, fleet(speeds), schedule, stop)


# ── SAFA ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_first_to_arrive_are_merged_and_slow_clients_go_on(tmp_path: Path) -> None:
    """A quota of one: rounds end at 3 (0), 4 (1), 6 (0 again: it was not picked last) and 7 (2, of version 0)."""
    made, learning = run(tmp_path, [1.0, 2.0, 5.0], Safa(1, 9, LONG), Stop(aggregations=4))
    assert made.now_ns == 7 * S
    assert received(learning) == [[(0, 0)], [(1, 1)], [(0, 1)], [(2, 3)]]
    assert learning.mergings == [Merging()] * 4


def test_a_client_that_lags_too_far_behind_starts_from_the_newest_model(tmp_path: Path) -> None:
    """A lag of 2: round 3 begins at 4 with version 2; device 2 still has version 0 < 3 − 2, is cancelled and sent
    version 2. At the next aggregation its cached model becomes that one."""
    made, learning = run(tmp_path, [1.0, 2.0, 5.0], Safa(1, 2, LONG), Stop(aggregations=3))
    assert (2, "train", 1.0, 4.0, "cancelled") in events(made)
    assert [row[2] for row in events(made) if row[:2] == (2, "download")] == [0, 4]
    assert [merging.outdated for merging in learning.mergings if merging] == [(), (), (2,)]


def test_a_lag_of_one_lets_nobody_go_on(tmp_path: Path) -> None:
    made, learning = run(tmp_path, [1.0, 2.0, 5.0], Safa(1, 1, LONG), Stop(aggregations=3))
    assert {update.staleness for each in learning.aggregations for update in each} == {0}
    assert made.ledger.jobs()["discarded"] > 0


def test_those_picked_last_time_wait_and_fill_up_a_round_that_falls_short(tmp_path: Path) -> None:
    """Three equal devices, a quota of two. Round 1: two are picked, the third is spare. Round 2: the third is picked
    first, then one of the two; the other is spare."""
    made, learning = run(tmp_path, [1.0] * 3, Safa(2, 5, LONG), Stop(aggregations=2))
    first, second = ([client for client, _ in each] for each in received(learning))
    assert made.now_ns == 6 * S
    assert [merging.spare for merging in learning.mergings if merging] == [1, 1]
    assert second[0] == first[2]
    assert sorted(first) == sorted(second) == [0, 1, 2]


def test_a_round_ends_at_its_limit_with_what_there_is(tmp_path: Path) -> None:
    """A quota of three, 3.5 s: device 0 at 3.5; in round 2 devices 1 and 2 (at 4 and at 7, one version late), and 0
    (at 6.5), which was picked last, fills up."""
    made, learning = run(tmp_path, [1.0, 2.0, 5.0], Safa(3, 9, 3_500_000_000), Stop(aggregations=2))
    assert received(learning) == [[(0, 0)], [(1, 1), (2, 1), (0, 0)]]
    assert made.now_ns == 7 * S


# ── TimelyFL ────────────────────────────────────────────────────────────────────────────────────────────────
def test_everybody_does_what_fits_into_the_kth_smallest_time(tmp_path: Path) -> None:
    """k = 2: T = 4 s, device 1's. E_0 = ⌊(4 − 2) / 1⌋ = 2 epochs. Device 2 trains two of the four layers:
    1 s down + 5·2/4 s + 1·2/4 s up = 4 s. All arrive at 4."""
    made, learning = run(tmp_path, [1.0, 2.0, 5.0], TimelyFl(3, 2), Stop(aggregations=2))
    assert made.now_ns == 8 * S
    assert [sorted(client for client, _ in each) for each in received(learning)] == [[0, 1, 2]] * 2
    by_client = {row[0]: terms for row, terms in zip(_downloads(made), _sorted(learning), strict=True)}
    assert by_client == {0: Terms(epochs=2), 1: Terms(epochs=1), 2: Terms(epochs=1, layers=2)}
    assert made.ledger.wasted.ns == 0


def test_without_partial_models_clients_that_are_too_slow_are_left_out(tmp_path: Path) -> None:
    _, learning = run(tmp_path, [1.0, 2.0, 5.0], TimelyFl(3, 2, partial=False), Stop(aggregations=2))
    assert [sorted(client for client, _ in each) for each in received(learning)] == [[0, 1]] * 2


def test_epochs_have_a_limit(tmp_path: Path) -> None:
    """T = 12 s: device 0 could train 100 epochs of 0.1 s."""
    for most, epochs in ((None, 100), (5, 5)):
        _, learning = run(tmp_path / str(most), [0.1, 10.0], TimelyFl(2, 2, max_epochs=most), Stop(aggregations=1))
        assert sorted(terms.epochs or 0 for terms in learning.terms.values()) == [1, epochs]


def _downloads(made: Simulation) -> list[tuple[object, ...]]:
    return sorted((row for row in events(made) if row[1] == "download" and row[2] == 0), key=lambda row: str(row[0]))


def _sorted(learning: Counting) -> list[Terms]:
    first = sorted((update.client, update.job) for update in learning.aggregations[0])
    return [learning.terms[job] for _, job in first]
