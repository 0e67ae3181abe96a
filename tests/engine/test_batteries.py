"""Batteries through the whole engine: devices that run empty in the middle of a job, and come back."""

import copy
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Counting, Gap, ended, events, fleet, simulation

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Markov, Process, Trajectories
from edgesim.devices.battery import Batteries, BatteryFigures
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Hop, attach
from edgesim.engine.job import Stretch
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.power import Charging, Power
from edgesim.engine.rules import Restart, Retry, Rules
from edgesim.engine.schedules import Buffered, Polynomial, Sync
from edgesim.engine.simulation import Simulation
from edgesim.results.columns import METRICS
from edgesim.results.recorder import Recorder
from edgesim.scenario.closing import client_table, off_intervals

S = 1_000_000_000


def power(
    devices: Fleet, start_j: Sequence[float], *, capacity_j: float = 100.0, charge_w: float = 0.0, drain_w: float = 0.0,
    stop_j: float = 1.0, resume_j: float = 3.0, law: Process | None = None, has: Sequence[bool] | None = None,
) -> Power:  # fmt: skip
    """Batteries of a fleet; its devices draw 0.75 W beyond idling in each phase."""
    n = len(devices)
    one = np.ones(n)
    figures = BatteryFigures(
        capacity_j=one * capacity_j, start_j=np.array(start_j, float), charge_w=one * charge_w, drain_w=one * drain_w,
        stop_j=one * stop_j, resume_j=one * resume_j,
    )  # fmt: skip
    charging = Charging(FleetAvailability([law or AlwaysOn()], np.zeros(n, np.int32), 11))
    return Power(devices, Batteries(figures, charging), np.ones(n, bool) if has is None else np.array(has))


def finished(folder: Path, devices: Fleet, batteries: Power | None, stop_s: float, **given: Any) -> Simulation:
    run, _ = ended(folder, devices, given.pop("schedule", Sync(1)), Stop(time_ns=round(stop_s * S)),
                        power=batteries, **given)  # fmt: skip
    return run


def rows(run: Simulation) -> list[tuple[Any, ...]]:
    return [row[1:] for row in events(run)]


def test_a_battery_that_runs_empty_in_training_gives_the_job_up(tmp_path: Path) -> None:
    """2.5 J, of which 1 J must stay: 1.5 J at 0.75 W last 2 s, 1 s of download and 1 s of training. Nobody charges,
    and from then on the device is idle."""
    run = finished(tmp_path, fleet([2.0]), power(fleet([2.0]), [2.5]), 9)
    assert (run.stopped, run.now_ns) == ("time", 9 * S)
    assert run.server.deserted.startswith("from 2 s on nobody works: no client is available")
    assert run.server.deserted.endswith("or charge its batteries")
    assert rows(run) == [("download", 0, 1, "done"), ("train", 1, 2, "lost")]
    assert run.ledger.wasted.energy_j == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("rule", "training"),
    [
        # from 1 J it charges at 0.5 W to 3 J: 4 s; and with a job loses 0.25 W net
        ("resume", [(1, 4, "interrupted"), (8, 11, "done")]),
        (Restart(), [(1, 4, "failed"), (8, 14, "done")]),
    ],
)
def test_an_empty_battery_is_charged_and_the_job_goes_on(tmp_path: Path, rule: Any, training: list[Any]) -> None:
    """2 J at the start, 0.5 W in, 0.75 W out: 1 J lasts 4 s, 1 s of download and 3 s of training. It is back at 8 s
    with 3 J, which last 8 s at work."""
    devices = fleet([6.0])
    batteries = power(devices, [2.0], charge_w=0.5)
    run = finished(tmp_path, devices, batteries, 14.5, rules=Rules(training=rule, transfer="resume"))
    assert [row[1:] for row in rows(run) if row[0] == "train"][:2] == training


def test_a_tail_is_debited_when_its_transfer_ends(tmp_path: Path) -> None:
    """The tail of 2 s at 0.5 W after the download takes 1 J at once: of 2.5 J, 1.75 J are left at 1 s, then 0.75 J,
    and the device stops there."""
    devices = fleet([2.0], tail_s=2.0)
    run = finished(tmp_path, devices, power(devices, [2.5], charge_w=1e-6), 1.5)
    assert rows(run) == [("download", 0, 1, "done"), ("train", 1, 1, "lost")]
    assert run.server.flight.presence.is_on(0, run.now_ns) is False


def test_time_without_charge_is_neither_idle_nor_off_line(tmp_path: Path) -> None:
    """As above, but the job is lost at 4 s, and from 6 to 7 s the device is off line. It is charged at 8 s, and gets
    its next job at 10 s, when the other one, which has no battery, ends its round."""
    devices = fleet([6.0, 1.0], availability=Gap(6 * S, 7 * S))
    batteries = power(devices, [2.0, 2.0], charge_w=0.5, has=[True, False])
    run = finished(tmp_path, devices, batteries, 14, schedule=Sync(2))
    clients = {name: np.asarray(column).tolist() for name, column in client_table(run).items()}
    assert (clients["no_charge_s"], clients["off_s"]) == ([3, 0], [1, 1])
    assert clients["idle_s"][0] == 2
    assert clients["download_s"][0] + clients["train_s"][0] == 8
    assert clients["idle_j"][0] == pytest.approx((2 + 3) * 0.25)
    assert list(zip(*(off_intervals(run) or {}).values(), strict=True)) == [
        (0, 4 * S, 6 * S, "no-charge"), (0, 6 * S, 7 * S, "off-line"), (0, 7 * S, 8 * S, "no-charge"),
        (1, 6 * S, 7 * S, "off-line"),
    ]  # fmt: skip


def test_a_battery_that_is_empty_from_the_first_is_so_until_it_is_charged(tmp_path: Path) -> None:
    """1 J at first, 3 J at 4 s."""
    devices = fleet([1.0])
    run = finished(tmp_path, devices, power(devices, [1.0], charge_w=0.5), 6)
    assert np.asarray(client_table(run)["no_charge_s"]).tolist() == [4]
    assert (off_intervals(run) or {})["end_ns"] == [4 * S]


def test_an_idle_device_that_drains_gets_no_job(tmp_path: Path) -> None:
    """2 J at a drain of 1 W: empty from 1 s on; the other device works on, and only it."""
    devices = fleet([2.0, 2.0])
    batteries = power(devices, [2.0, 100.0], drain_w=1.0)
    run = finished(tmp_path, devices, batteries, 20, rules=Rules(transfer="resume", training="resume"))
    late = [row for row in events(run) if row[1] == "download" and row[2] >= 1]
    assert late
    assert {row[0] for row in late} == {1}


def test_what_a_battery_gave_is_what_jobs_and_drain_took(tmp_path: Path) -> None:
    """100 J at first, none charged; after 10 s at a drain of 0.25 W and 10 s of work at 0.75 W more: 90 J."""
    devices = fleet([2.0])
    batteries = power(devices, [100.0], drain_w=0.25)
    run = finished(tmp_path, devices, batteries, 10)
    busy_s = run.ledger.total.ns / S
    assert busy_s == 10
    assert batteries.levels_j(run.now_ns)[0] == pytest.approx(100 - 10 * 0.25 - busy_s * 0.75)


def test_every_evaluation_says_how_full_batteries_are(tmp_path: Path) -> None:
    """Of 10 J, 8 J and 4 J at first; work takes 1 W with the drain, from the first on, and the drain alone 0.25 W. The
    second battery is empty at 3 s, just after that evaluation; the third device has none. At halves of seconds
    jobs are in the middle of a phase."""
    devices = fleet([2.0, 2.0, 2.0])
    batteries = power(devices, [8.0, 4.0, 9.0], capacity_j=10.0, drain_w=0.25, resume_j=10.0, has=[True, True, False])
    run = finished(tmp_path, devices, batteries, 6.25, schedule=Sync(3), evaluate=Evaluate(every_ns=S // 2))
    rows = [dict(zip(METRICS.names, row, strict=True)) for row in run.state()["recorder"]["metrics"]]
    for row in rows:
        t = row["time_s"]
        levels_j = 8 - t, 4 - t if t < 3 else 1 - 0.25 * (t - 3)
        assert (row["battery_level"], row["batteries_empty"]) == (pytest.approx(sum(levels_j) / 20), t > 3)
    assert [row["time_s"] for row in rows] == [*np.arange(0, 6.25, 0.5), 6.25]


def test_devices_without_a_battery_do_as_they_would_alone(tmp_path: Path) -> None:
    """Beside others that have one: the same rows, to the last bit."""
    made = fleet([2.0, 3.0, 4.0], tail_s=0.5)
    seen = [
        finished(tmp_path / f"{place}", made, batteries, 60, schedule=Sync(3)).state()["recorder"]["events"]
        for place, batteries in enumerate([None, power(made, [2, 100, 1], has=[False] * 3)])
    ]
    assert seen[0] == seen[1]
    large = finished(tmp_path / "large", made, power(made, [1e9] * 3, capacity_j=1e10), 60, schedule=Sync(3))
    assert large.state()["recorder"]["events"] == seen[0]


class Ticking(Trajectories):
    """On in every other second, or turn of a length, from the first on; not to be asked for ever."""

    def __init__(self, turn_ns: int = S) -> None:
        self.turn_ns, self.asked = turn_ns, 0

    def start(self, seed: int) -> "Ticking":
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        return t_ns // self.turn_ns % 2 == 0

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        self.asked += 1
        assert self.asked < 10_000
        return (t_ns // self.turn_ns + 1) * self.turn_ns


def test_when_a_battery_is_empty_and_when_no_more() -> None:
    """100 J, of which 1 J must stay, last 132 s at 0.75 W. From 1 J, charged at 0.5 W, 3 J are there after 4 s."""
    full = power(fleet([1.0, 1.0]), [100.0, 100.0], has=[True, False])
    for client, until_ns, empty_ns in (
        (0, None, 142 * S),
        (0, 142 * S, None),
        (0, 142 * S + 1, 142 * S),
        (1, None, None),
    ):
        assert full.empties_ns(client, 1, 10 * S, until_ns) == empty_ns
    empty = power(fleet([1.0]), [1.0], charge_w=0.5)
    assert [empty.refills_ns(0, t * S) for t in (0, 2, 1, 4)] == [4 * S, 4 * S, 4 * S, None]
    empty.batteries.debit(0, 0.25, 2 * S, 2 * S)
    assert empty.refills_ns(0, 3 * S) == round(4.5 * S)


DAY = 86_400 * S


@pytest.mark.parametrize("charge_w", [1e-7, 2e-8, 1e-9])
def test_what_is_remembered_of_a_battery_changes_no_answer(charge_w: float) -> None:
    """2 J are wanted: every other 100 days it is charged, so that they are there after 231 days of charging, or 1157,
    in sight or more than a year ahead, or never. Asked in an order of its own, it says what a new one would say."""

    def made() -> Power:
        return power(fleet([1.0]), [1.0], charge_w=charge_w, law=Ticking(100 * DAY))

    asked, found = made(), set[int | None]()
    for day in (0, 10, 400, 380, 399, 450, 800, 1400, 1700, 1650, 1900, 2300, 2200, 10):
        refills_ns = made().refills_ns(0, day * DAY)
        assert asked.refills_ns(0, day * DAY) == refills_ns
        found.add(refills_ns)
    assert len(found) == {1e-7: 2, 2e-8: 2, 1e-9: 1}[charge_w]


def test_for_how_long_a_battery_kept_its_device_is_found_anew_after_each_debit() -> None:
    """2.5 J: 1.5 J last 2 s of training at 0.75 W, from 5 s on."""
    batteries = power(fleet([1.0]), [2.5])
    assert batteries.stopped(20 * S)[0].tolist() == [0]
    batteries.book(0, Stretch(1, 5 * S, 10 * S, 0, 0.0, 5.0, "done"))
    assert batteries.stopped(20 * S)[0].tolist() == [13 * S]
    assert batteries.stopped(20 * S)[1] == [(0, 7 * S, 20 * S)]
    assert batteries.stopped(30 * S)[0].tolist() == [23 * S]


@pytest.mark.parametrize("charge_w", [4.0, 0.5])
def test_batteries_are_followed_as_far_as_work_goes_and_no_year_ahead(tmp_path: Path, charge_w: float) -> None:
    """On a shared network nobody knows when a transfer ends: here within the second. Charged at 4 W every other
    second, batteries never run empty; at 0.5 W they do, and at a drain of 0.6 W they are never charged again."""
    devices, ticking = fleet([2.0, 3.0]), Ticking()
    batteries = power(devices, [9.0, 9.0], capacity_j=10.0, charge_w=charge_w, drain_w=0.6, law=ticking)
    network = attach([Hop(name="server", parent=None)], devices, [[0]], 0)
    run = finished(tmp_path, devices, batteries, 60, rules=Rules(transfer="resume"), network=network)
    assert any(row[-1] == "lost" for row in rows(run)) == (charge_w == 0.5)


def test_who_is_hardly_charged_is_not_looked_for_anew_at_each_dispatch(tmp_path: Path) -> None:
    """Half of each day the second device is charged at 1.1 W, and always drained at 1 W: it gains 4.32 kJ at most, and
    never comes to 5 kJ. The schedule would give it work each time that it gives the other one some."""
    devices, law = fleet([2.0, 2.0]), Ticking(43_200 * S)
    batteries = power(
        devices, [1.0, 1.0], capacity_j=5000.0, charge_w=1.1, drain_w=1.0, resume_j=5000.0, law=law, has=[False, True]
    )
    run = finished(tmp_path, devices, batteries, 160, schedule=Buffered(2, 1, Polynomial(0.5)))
    assert {row[0] for row in events(run)} == {0}
    assert run.updates == 39


@pytest.mark.parametrize("latency_s", [0.0, 1000.0])
def test_a_transfer_that_takes_long_breaks_off_when_its_battery_is_empty(tmp_path: Path, latency_s: float) -> None:
    """Of 301 J, 1 J must stay. A download takes 0.75 W beyond idling, and every other second brings 1 W: two seconds
    cost 0.5 J, so that the battery is empty after 600 times that."""
    devices = fleet([2.0], rate_bps=4e3, latency_s=latency_s)
    batteries = power(devices, [301.0], capacity_j=400.0, charge_w=1.0, law=Ticking())
    network = attach([Hop(name="server", parent=None)], devices, [[0]], 0)
    run = finished(tmp_path, devices, batteries, 1300, network=network)
    assert rows(run)[0] == ("download", 0, 1200, "lost")
    assert run.state()["recorder"]["events"][0][7] == 500 * (1200 - latency_s)


rules = st.builds(
    Rules,
    transfer=st.sampled_from(["abort", "resume"]) | st.builds(Retry, first_s=st.just(0.5)),
    training=st.sampled_from(["abort", "resume"]) | st.builds(Restart),
    crash_s=st.sampled_from([None, 8.0]),
)
worlds = st.tuples(
    st.sampled_from(["none", "star"]), st.sampled_from(["sync", "buffered"]), rules,
    st.lists(st.floats(0.1, 6.0), min_size=4, max_size=6), st.integers(0, 1000), st.booleans(),
)  # fmt: skip


def world(folder: Path, made: tuple[Any, ...], recorder: Recorder | None = None) -> tuple[Simulation, Counting]:
    kind, schedule, rule, speeds, seed, limited = made
    devices = fleet(speeds, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed, tail_s=0.3, latency_s=0.1)
    start_j = [1 + (seed * 7 + 3 * client) % 10 for client in range(len(speeds))]
    batteries = power(
        devices, start_j, capacity_j=12, charge_w=1.1, drain_w=0.1, law=Markov(mean_on_s=6.0, mean_off_s=6.0),
        has=[client % 3 != 2 for client in range(len(speeds))],
    )  # fmt: skip
    hops = [Hop(name="server", parent=None, down_bps=12e6, up_bps=9e6)]
    return simulation(
        folder, devices, Sync(3) if schedule == "sync" else Buffered(3, 2, Polynomial(0.5)),
        Stop(time_ns=70 * S, bytes=10**12 if limited else None), rules=rule, seed=seed, recorder=recorder,
        evaluate=Evaluate(every_ns=7 * S), power=batteries, learning=Counting(len(devices), late=bool(seed % 2)),
        network=attach(hops, devices, [[0]], seed) if kind == "star" else None,
    )  # fmt: skip


@given(worlds)
@settings(max_examples=25)
def test_nobody_works_on_an_empty_battery(made: tuple[Any, ...]) -> None:
    """`finish` checks the books. Walked through afterwards by the rows alone, each battery is above its stop level at
    the beginning of each stretch, and no lower at its end, but for tails, which come when the work is done."""
    with TemporaryDirectory() as folder:
        run, _ = world(Path(folder), made)
        run.begin()
        run.run()
        run.finish()
        again, _ = world(Path(folder) / "again", made)
        batteries = again.server.flight.power
        assert batteries is not None
        for row in sorted(run.state()["recorder"]["events"], key=lambda row: row[4]):
            client, start_ns, end_ns = row[1], row[4], row[5]
            if batteries.has[client] and end_ns > start_ns:
                before = batteries.batteries.at(client, start_ns)
                assert not before.stopped
                assert before.level_j >= 1 - 1e-9
                assert batteries.batteries.at(client, end_ns, 0.75, start_ns).level_j >= 1 - 1e-6
                batteries.batteries.draw(client, 0.75, start_ns, end_ns)
                tail_j = row[9] - (end_ns - start_ns) / S
                if row[3] != 1 and tail_j > 1e-9:
                    batteries.batteries.debit(client, tail_j, end_ns, end_ns)
        clients, spans = client_table(run), off_intervals(run)
        assert spans is not None
        empty = [word == "no-charge" for word in spans["reason"]]
        lengths = (np.array(spans["end_ns"]) - np.array(spans["start_ns"])) / S
        by_client = np.bincount(np.array(spans["client"])[empty], lengths[empty], len(clients["client"]))
        assert by_client == pytest.approx(np.asarray(clients["no_charge_s"]))
        parts = ("download_s", "train_s", "upload_s", "idle_s", "no_charge_s", "off_s")
        assert sum(np.asarray(clients[part]) for part in parts) == pytest.approx(run.now_ns / S)
        levels, expected = run.server.flight.power.levels_j(run.now_ns), batteries.levels_j(run.now_ns)  # type: ignore[union-attr]
        assert levels == pytest.approx(expected, nan_ok=True, abs=1e-6)


@given(worlds, st.lists(st.integers(1, 50), min_size=1, max_size=3))
@settings(max_examples=25)
def test_a_pause_changes_no_battery(made: tuple[Any, ...], pauses: list[int]) -> None:
    with TemporaryDirectory() as folder:
        whole, _ = world(Path(folder) / "whole", made)
        whole.begin()
        whole.run()
        whole.finish()
        broken, _ = world(Path(folder) / "broken", made)
        broken.begin()
        for instants in pauses:
            left = iter(range(instants))
            broken.run(lambda _, left=left: next(left, None) is None, events=0)  # type: ignore[misc]
            state = copy.deepcopy(broken.state())
            recorder = Recorder.restore(Path(folder) / "broken", state["recorder"])
            broken, _ = world(Path(folder) / "broken", made, recorder)
            broken.restore(state)
        broken.run()
        broken.finish()
    assert broken.state()["recorder"] == whole.state()["recorder"]
    assert repr(broken.state()["server"]["flight"]) == repr(whole.state()["server"]["flight"])
