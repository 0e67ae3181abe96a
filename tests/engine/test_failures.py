"""Failures: retries and restarts, damaged messages, crashes, outages of the server, too little memory."""

from itertools import pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import MB, Counting, Gap, ended, events, fleet, simulation

from edgesim.devices.availability import Markov, Trajectories
from edgesim.engine.learning import Assignment, Terms
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.outages import ServerOutages
from edgesim.engine.rules import Corruption, Restart, Retry, Rules
from edgesim.engine.schedules import Buffered, Sync, constant
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError

S = 1_000_000_000


def finished(folder: Path, rules: Rules, stop_s: float, availability: Any = None, **given: Any) -> Simulation:
    """One client: 1 s down, 2 s of training, 1 s up, at 1 W."""
    run, _ = ended(
        folder, fleet([2.0], availability=availability, **given), Sync(1), Stop(time_ns=round(stop_s * S)), rules=rules
    )
    return run


def rows(run: Simulation) -> list[tuple[Any, ...]]:
    return [row[1:] for row in events(run)]


class Windows(Trajectories):
    """On line in these windows (start, end), in seconds."""

    def __init__(self, *windows: tuple[float, float]) -> None:
        self.bounds = [round(S * bound) for window in windows for bound in window]

    def start(self, seed: int) -> "Windows":
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        return sum(bound <= t_ns for bound in self.bounds) % 2 == 1

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        return next((bound for bound in self.bounds if bound > t_ns), None)


def test_a_transfer_is_tried_again_after_growing_pauses(tmp_path: Path) -> None:
    """On line for 0.5 s at 0, 2 and 4 s and for good from 8 s on. Tries end at 0.5 and 2.5 s; pauses are 1 and 3 s,
    so the third try is due at 5.5 s, when the device is away: it waits for it without another try."""
    windows = Windows((0, 0.5), (2, 2.5), (4, 4.5), (8, 99))
    run = finished(tmp_path, Rules(transfer=Retry(first_s=1, factor=3)), 12.5, windows)
    assert rows(run)[:3] == [("download", 0, 0.5, "failed"), ("download", 2, 2.5, "failed"), ("download", 8, 9, "done")]
    wasted, useful = run.ledger.wasted, run.ledger.useful
    assert (wasted.ns, wasted.bytes_down) == (1 * S, MB)
    assert wasted.energy_j == pytest.approx(1.0)
    assert run.ledger.repeated == wasted
    assert (useful.ns, useful.bytes_down, useful.bytes_up) == (4 * S, MB, MB)
    assert useful.energy_j == pytest.approx(4.0)
    assert run.ledger.jobs()["aggregated"] == 1  # it succeeds in the end


def test_after_the_last_attempt_the_job_is_lost(tmp_path: Path) -> None:
    windows = Windows((0, 0.5), (2, 2.5), (4, 4.5), (8, 99))
    run = finished(tmp_path, Rules(transfer=Retry(first_s=0, attempts=2)), 3, windows)
    assert rows(run) == [("download", 0, 0.5, "failed"), ("download", 2, 2.5, "lost")]
    assert run.ledger.jobs()["lost"] == 1
    assert run.ledger.wasted.bytes_down == MB
    assert run.ledger.repeated.bytes_down == MB // 2


def test_a_device_that_never_comes_back_loses_its_job_there(tmp_path: Path) -> None:
    rules = Rules(transfer=Retry(), training=Restart())
    run, _ = simulation(tmp_path, fleet([2.0], availability=Gap(2 * S, None)), Sync(1), Stop(updates=1), rules=rules)
    run.begin()
    run.run()
    assert (run.stopped, run.now_ns) == ("fleet", 2 * S)
    assert rows(run) == [("download", 0, 1, "done"), ("train", 1, 2, "lost")]


def test_training_begins_anew_and_its_first_part_is_wasted(tmp_path: Path) -> None:
    """Off from 2.5 s to 5 s: 1.5 s of training, 0.75 GFLOP, are for nothing."""
    run = finished(tmp_path, Rules(training=Restart(), transfer="resume"), 8.5, Gap(2500_000_000, 5 * S))
    assert rows(run)[1:4] == [("train", 1, 2.5, "failed"), ("train", 5, 7, "done"), ("upload", 7, 8, "done")]
    assert run.ledger.wasted.flops == pytest.approx(0.75e9)
    assert run.ledger.wasted.ns == 1500_000_000
    assert run.ledger.useful.flops == 1e9


@pytest.mark.parametrize("failures", [1, 2, 3, 9])
def test_a_pause_never_exceeds_the_longest_nor_its_jitter(tmp_path: Path, failures: int) -> None:
    """Each window of 0.1 s is too short for the transfer; tries are due at the pause after the one before."""
    windows = Windows(*[(10 * turn, 10 * turn + 0.1) for turn in range(failures)], (10 * failures, 999))
    rule = Retry(first_s=2, factor=2, longest_s=20, jitter=0.5, attempts=20)
    run = finished(tmp_path, Rules(transfer=rule, seed=7), 300, windows)
    downloads = [row for row in rows(run) if row[0] == "download"]
    tries = downloads[: [row[3] for row in downloads].index("done") + 1]
    assert 2 <= len(tries) <= failures + 1
    for number, (one, other) in enumerate(pairwise(tries), 1):
        assert one[3] == "failed"
        pause_s = min(20, 2 * 2 ** (number - 1))
        earliest, latest = one[2] + pause_s / 2, one[2] + pause_s
        assert min(10 * ceil(earliest / 10), 10 * failures) <= other[1] <= max(10 * ceil(latest / 10), latest)


def test_a_damaged_message_is_sent_anew_at_once(tmp_path: Path) -> None:
    """Each transfer is damaged with probability 0.5, by streams of (job, phase, attempt): whatever they say, each
    damaged one is followed by another, and all of them are wasted."""
    run = finished(tmp_path, Rules(corruption=Corruption(share=0.5, attempts=50), seed=3), 400, latency_s=0.25)
    told = rows(run)
    damaged = [(one, other) for one, other in pairwise(told) if one[3] == "corrupt"]
    assert len(damaged) > 20
    assert all(other[0] == one[0] and other[1] == one[2] for one, other in damaged)
    assert all(one[2] - one[1] == 1.25 for one, _ in damaged)  # the latency is paid again
    assert run.ledger.broken == run.ledger.repeated.bytes_down + run.ledger.repeated.bytes_up == MB * len(damaged)
    share = len(damaged) / sum(row[0] != "train" and row[3] in ("done", "corrupt") for row in told)
    assert share == pytest.approx(0.5, abs=0.1)


def test_a_message_damaged_too_often_loses_the_job(tmp_path: Path) -> None:
    run = finished(tmp_path, Rules(corruption=Corruption(share=0.9, attempts=3), seed=1), 50)
    lost = [row for row in rows(run) if row[3] == "lost"]
    assert lost
    assert all(row[2] - row[1] == 1 for row in lost)  # all of it was sent
    for end in [place for place, row in enumerate(rows(run)) if row[3] == "lost"]:
        assert [row[3] for row in rows(run)[end - 2 : end]] == ["corrupt", "corrupt"]


def test_crashes_come_as_often_as_said_and_end_as_the_rule_says(tmp_path: Path) -> None:
    """A crash every 10 s of work: of 4 s jobs that are given up, exp(−0.4) = 67 % get through."""
    run, _ = ended(tmp_path, fleet([2.0] * 50), Buffered(50, 50, constant), Stop(updates=2000),
                        rules=Rules(crash_s=10.0, seed=5))  # fmt: skip
    jobs = run.ledger.jobs()
    assert jobs["aggregated"] / (jobs["aggregated"] + jobs["lost"]) == pytest.approx(0.67, abs=0.03)
    assert run.ledger.total.ns / S / jobs["lost"] == pytest.approx(10, rel=0.15)


def test_a_crash_that_is_resumed_costs_nothing_but_a_row(tmp_path: Path) -> None:
    run = finished(tmp_path, Rules(crash_s=1.5, seed=2, transfer="resume", training="resume"), 4.5)
    assert any(row[3] == "interrupted" for row in rows(run))
    assert [row[2] for row in rows(run) if row[3] == "done"][:3] == [1, 3, 4]
    assert run.ledger.wasted.ns == 0


OUTAGE = ServerOutages(starts_ns=(3500_000_000,), ends_ns=(6 * S,))


@pytest.mark.parametrize(
    ("transfer", "upload"),
    [
        ("abort", [("upload", 3, 3.5, "lost")]),
        ("resume", [("upload", 3, 3.5, "interrupted"), ("upload", 6, 6.5, "done")]),
        (Retry(first_s=1), [("upload", 3, 3.5, "failed"), ("upload", 6, 7, "done")]),
    ],
)
def test_an_outage_of_the_server_breaks_transfers_off(tmp_path: Path, transfer: Any, upload: list[Any]) -> None:
    run = finished(tmp_path, Rules(transfer=transfer, outages=OUTAGE), 7.1)
    assert [row for row in rows(run) if row[0] == "upload"] == upload
    assert all(row[1] >= 6 for row in rows(run)[2 + len(upload) :])  # nothing is dispatched meanwhile


def test_training_goes_on_while_the_server_is_away(tmp_path: Path) -> None:
    outage = ServerOutages(starts_ns=(1500_000_000,), ends_ns=(2 * S,))
    assert rows(finished(tmp_path / "a", Rules(outages=outage), 4.1))[:3] == [
        ("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 4, "done"),
    ]  # fmt: skip
    late = ServerOutages(starts_ns=(1500_000_000,), ends_ns=(5 * S,))
    waits = rows(finished(tmp_path / "b", Rules(outages=late, transfer="resume"), 6.1))
    assert waits[1:3] == [("train", 1, 3, "done"), ("upload", 5, 6, "done")]
    given_up = rows(finished(tmp_path / "c", Rules(outages=late), 4.1))
    assert given_up == [("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 3, "lost")]


def test_a_run_that_begins_in_an_outage_begins_when_it_is_over(tmp_path: Path) -> None:
    outage = ServerOutages(starts_ns=(0,), ends_ns=(2 * S,), period_ns=100 * S)
    assert rows(finished(tmp_path, Rules(outages=outage), 3.5))[0] == ("download", 2, 3, "done")


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8).filter(lambda gaps: len(gaps) % 2 == 0), st.booleans(),
       st.lists(st.integers(0, 400), max_size=20))  # fmt: skip
def test_outages_agree_with_a_search_through_all_instants(gaps: list[int], periodic: bool, queries: list[int]) -> None:
    bounds = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    period = bounds[-1] + 3 if periodic else None
    outages = ServerOutages(starts_ns=tuple(bounds[::2]), ends_ns=tuple(bounds[1::2]), period_ns=period)

    def is_up(t: int) -> bool:
        within = t % period if period else t
        return not any(start <= within < end for start, end in zip(bounds[::2], bounds[1::2], strict=True))

    for t in queries:
        assert outages.is_up(t) == is_up(t)
        changes = (later for later in range(t + 1, t + 500) if is_up(later) != is_up(later - 1))
        assert outages.next_change_ns(t) == next(changes, None)


@pytest.mark.parametrize(("starts", "ends"), [((5,), (5,)), ((5, 7), (7, 9)), ((1,), ()), ((1,), (10,))])
def test_outages_that_cannot_be_are_refused(starts: tuple[int, ...], ends: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="outages from"):
        ServerOutages(starts_ns=starts, ends_ns=ends, period_ns=10)


USUAL = Terms()


rules = st.builds(
    Rules,
    transfer=st.sampled_from(["abort", "resume"]) | st.builds(Retry, first_s=st.sampled_from([0.1, 2.0])),
    training=st.sampled_from(["abort", "resume"]) | st.builds(Restart, attempts=st.integers(1, 3)),
    corruption=st.none() | st.builds(Corruption, share=st.sampled_from([0.1, 0.6]), attempts=st.integers(1, 3)),
    crash_s=st.sampled_from([None, 5.0]),
    outages=st.sampled_from([OUTAGE, ServerOutages(starts_ns=(5 * S,), ends_ns=(9 * S,), period_ns=17 * S)]),
)


@given(rules, st.lists(st.floats(0.1, 8.0), min_size=4, max_size=7), st.integers(0, 1000))
@settings(max_examples=20)
def test_planned_whole_planned_by_phase_and_sized_late_are_one(rule: Rules, speeds: list[float], seed: int) -> None:
    """The same rows in the same order and the same books, to the last bit, whatever goes wrong."""
    seen = []
    for late, stop in (
        (False, Stop(time_ns=60 * S)),
        (False, Stop(time_ns=60 * S, energy_j=1e18)),
        (True, Stop(time_ns=60 * S)),
    ):
        devices = fleet(speeds, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed, tail_s=0.7)
        with TemporaryDirectory() as folder:
            run, _ = ended(
                Path(folder), devices, Buffered(4, 2, constant), stop, rules=rule, seed=seed,
                evaluate=Evaluate(every_ns=7 * S), learning=Counting(len(devices), late=late),
            )  # fmt: skip
            seen.append((run.state()["recorder"], {key: repr(value) for key, value in run.ledger.state().items()}))
    assert seen[0] == seen[1] == seen[2]


class Large(Counting):
    """Clients with an odd number need too much memory."""

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        assigned = super().cost(client, terms)
        work = assigned.workload
        large = type(work)(
            layer_flops=work.layer_flops, layer_density=work.layer_density, other_flops=0.0, traffic_bytes=0.0,
            steps=1, memory_bytes=10**12 if client % 2 else 1000,
        )  # fmt: skip
        return Assignment(download_bytes=MB, workload=large, upload_bytes=MB)


def test_clients_whose_jobs_do_not_fit_are_skipped(tmp_path: Path) -> None:
    run, _ = ended(tmp_path, fleet([2.0] * 6), Sync(4), Stop(aggregations=3), learning=Large(6),
                        rules=Rules(out_of_memory="skip"))  # fmt: skip
    assert {row[0] for row in events(run)} == {0, 2, 4}
    assert run.ledger.jobs()["lost"] == 0
    assert run.server.room.skipped == {1, 3, 5}


def test_a_fleet_that_is_too_small_altogether_is_told_so(tmp_path: Path) -> None:
    small = fleet([2.0] * 3, memory_bytes=10)
    run, _ = simulation(tmp_path, small, Sync(2), Stop(aggregations=3), rules=Rules(out_of_memory="skip"))
    run.begin()
    with pytest.raises(RunError, match="shrink-batch"):
        run.run()
