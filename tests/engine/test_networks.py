"""Shared networks through the whole engine: closed forms, laws, and that a pause changes nothing."""

import copy
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import MB, Counting, Gap, ended, events, fleet, simulation

from edgesim.devices.availability import Markov
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Hop, Network, attach
from edgesim.devices.rate_trace import RateTrace
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.outages import ServerOutages
from edgesim.engine.rules import Corruption, Restart, Retry, Rules
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

S = 1_000_000_000


def star(devices: Fleet, bps: float = float("inf"), trace: RateTrace | None = None) -> Network:
    """Devices on one server link of so many bit/s each way."""
    return attach([Hop(name="server", parent=None, down_bps=bps, up_bps=bps, trace=trace)], devices, [[0]], 0)


def finished(folder: Path, devices: Fleet, network: Network | None, stop: Stop, **given: Any) -> Simulation:
    return ended(folder, devices, given.pop("schedule", Sync(len(devices))), stop, network=network, **given)[0]


def rows(run: Simulation) -> list[tuple[Any, ...]]:
    return sorted(events(run))


def test_two_devices_on_one_server_link_take_twice_the_time(tmp_path: Path) -> None:
    """1 MB each over 8 Mbit/s: 1 s alone, 2 s together. Training takes 1 s and 1.5 s. The first upload, from 3 s on,
    has moved half by 3.5 s, the rest at half the rate ends at 4.5 s; the other has then moved half, too, and ends
    alone at 5 s."""
    devices = fleet([1.0, 1.5])
    run = finished(tmp_path, devices, star(devices, 8e6), Stop(aggregations=1))
    assert rows(run) == [
        (0, "download", 0, 2, "done"), (0, "train", 2, 3, "done"), (0, "upload", 3, 4.5, "done"),
        (1, "download", 0, 2, "done"), (1, "train", 2, 3.5, "done"), (1, "upload", 3.5, 5, "done"),
    ]  # fmt: skip
    assert run.ledger.total.bytes_down == run.ledger.total.bytes_up == 2 * MB
    assert run.ledger.total.energy_j == pytest.approx(4.5 + 5)  # 1 W in every state


def test_downloads_share_the_downlink_and_uploads_the_uplink(tmp_path: Path) -> None:
    """1 MB each over 8 Mbit/s down and 4 up: 2 s together one way, 4 s the other."""
    devices = fleet([1.0, 1.0])
    network = attach([Hop(name="server", parent=None, down_bps=8e6, up_bps=4e6)], devices, [[0]], 0)
    run = finished(tmp_path, devices, network, Stop(aggregations=1))
    assert rows(run) == [
        (client, *phase) for client in (0, 1)
        for phase in (("download", 0, 2, "done"), ("train", 2, 3, "done"), ("upload", 3, 7, "done"))
    ]  # fmt: skip


def test_a_transfer_that_breaks_off_when_alone_it_would_be_over_goes_on(tmp_path: Path) -> None:
    """Two devices share 8 Mbit/s. When they leave at 1 s each has half of its 1 MB, which alone would take 1 s."""
    devices = fleet([1.0, 1.0], availability=Gap(S, 4 * S))
    run = finished(tmp_path, devices, star(devices, 8e6), Stop(aggregations=1), rules=Rules(transfer="resume"))
    for client in (0, 1):
        assert [row for row in rows(run) if row[:2] == (client, "download")] == [
            (client, "download", 0, 1, "interrupted"), (client, "download", 4, 5, "done"),
        ]  # fmt: skip
    assert run.ledger.total.bytes_down == 2 * MB


class Late(Gap):
    """All on line for ever, but for one device that comes later."""

    def __init__(self, device: int, at_ns: int) -> None:
        super().__init__(0, at_ns)
        self.device = device

    def is_on(self, device: int, t_ns: int) -> bool:
        return device != self.device or super().is_on(device, t_ns)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        return super().next_change_ns(device, t_ns) if device == self.device else None

    def on_ns_many(self, devices: Any, t_ns: int, since_ns: int = 0) -> Any:
        return np.where(devices == self.device, super().on_ns_many(devices, t_ns, since_ns), t_ns - since_ns)


def test_a_third_that_joins_midway_takes_its_share_from_then_on(tmp_path: Path) -> None:
    """The third device comes on line at 1 s, when the two have moved half; from then on a third of 1 MB/s each:
    1.5 s more for them. The third has then moved half, too, and the rest takes it 0.5 s alone."""
    devices = fleet([9.0, 9.0, 9.0], rate_bps=80e6, availability=Late(2, 1 * S))
    run = finished(tmp_path, devices, star(devices, 8e6), Stop(time_ns=4 * S), schedule=Buffered(3, 3, Polynomial(0)))
    downloads = [row for row in rows(run) if row[1] == "download"]
    assert [row[:3] for row in downloads] == [(0, "download", 0), (1, "download", 0), (2, "download", 1)]
    # a share limited by a link is a whole number of microbit/s, so ends may be a few ns late, never early
    assert [row[3] for row in downloads] == pytest.approx([2.5, 2.5, 3.0], abs=1e-8)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # off from 1.5 s to 4 s, the link shared: 0.75 MB moved by 1.5 s
        ("abort", [(0, 1.5, "lost")]),
        ("resume", [(0, 1.5, "interrupted"), (4, 4.25, "done")]),
        (Retry(first_s=0.5), [(0, 1.5, "failed"), (4, 5, "done")]),  # the pause is over before it is back
        (Retry(first_s=3), [(0, 1.5, "failed"), (4.5, 5.5, "done")]),
    ],
)
def test_a_shared_download_is_broken_off_by_the_rule(tmp_path: Path, rule: Any, expected: list[Any]) -> None:
    """Two devices, one of which leaves at 1.5 s: they have moved 0.75 MB each, and the other ends at 1.75 s."""

    class Leaves(Gap):
        def is_on(self, device: int, t_ns: int) -> bool:
            return device == 1 or super().is_on(device, t_ns)

        def next_change_ns(self, device: int, t_ns: int) -> int | None:
            return None if device == 1 else super().next_change_ns(device, t_ns)

        def on_ns_many(self, devices: Any, t_ns: int, since_ns: int = 0) -> Any:
            return np.where(devices == 1, t_ns - since_ns, super().on_ns_many(devices, t_ns, since_ns))

    devices = fleet([1.0, 1.0], availability=Leaves(1500_000_000, 4 * S))
    run = finished(tmp_path, devices, star(devices, 8e6), Stop(time_ns=6 * S), rules=Rules(transfer=rule))
    assert [row[2:] for row in rows(run) if row[:2] == (0, "download")] == expected
    assert (1, "download", 0, 1.75, "done") in rows(run)
    moved = [row[7] for row in run.state()["recorder"]["events"] if row[1] == 0 and row[3] in (0, "download")]
    assert moved[0] == 750_000
    assert run.ledger.broken == (0 if rule == "resume" else 750_000)
    repeated = run.ledger.repeated
    assert (repeated.bytes_down, repeated.ns) == ((750_000, 1500_000_000) if isinstance(rule, Retry) else (0, 0))
    assert run.ledger.wasted.bytes_down == (0 if rule == "resume" else 750_000)


def test_a_latency_that_an_absence_cuts_is_paid_once(tmp_path: Path) -> None:
    """A latency of 2 s, off from 0.5 s to 3 s: 1.5 s of it are left, then 1 s for the megabyte."""
    devices = fleet([1.0], latency_s=2.0, availability=Gap(500_000_000, 3 * S))
    run = finished(tmp_path, devices, star(devices), Stop(time_ns=6 * S), rules=Rules(transfer="resume"))
    assert rows(run)[:2] == [(0, "download", 0, 0.5, "interrupted"), (0, "download", 3, 5.5, "done")]


def test_an_outage_of_the_link_is_waited_out(tmp_path: Path) -> None:
    """A trace with the factor 0 from 0.5 s to 2 s: nothing moves, and no transfer is broken off."""
    devices = fleet([1.0])
    trace = RateTrace(starts_ns=(0, S // 2, 2 * S), factors=(1.0, 0.0, 1.0), period_ns=100 * S)
    run = finished(tmp_path, devices, star(devices, 8e6, trace), Stop(time_ns=3 * S))
    assert rows(run)[0] == (0, "download", 0, 2.5, "done")


def test_a_cancelled_transfer_leaves_its_share_to_the_others(tmp_path: Path) -> None:
    """Two downloads of 1 MB on 1 MB/s; at 1 s one is cancelled: the other has half left and ends at 1.5 s."""
    devices = fleet([1.0, 1.0])
    run, _ = ended(tmp_path, devices, Cancelling(2), Stop(time_ns=3 * S), network=star(devices, 8e6))
    assert rows(run)[:2] == [(0, "download", 0, 1, "cancelled"), (1, "download", 0, 1.5, "done")]
    assert run.ledger.broken == MB // 2


class Cancelling(Sync):
    """Gives up client 0's job at 1 s, and dispatches nothing more."""

    def proceed(self, server: Any) -> None:
        if not server.now_ns:
            server.dispatch(self.cohort)
            server.set_timer("cancel", 1 * S)

    def on_timer(self, server: Any, name: str) -> None:
        server.cancel(next(job.id for job in server.jobs.values() if job.client == 0), "deadline")


@given(st.lists(st.floats(0.1, 8.0), min_size=3, max_size=7), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
@settings(max_examples=15)
def test_a_star_without_a_limit_is_no_network_at_all(speeds: list[float], latency_s: float, seed: int) -> None:
    """Each row of the same client, phase and outcome, within 2 ns a transfer, and a byte's time for each time that one
    is broken off: it goes on with a whole byte. One round, so no tie falls otherwise."""
    seen = []
    for shared in (False, True):
        devices = fleet(
            speeds, latency_s=latency_s, rate_bps=7e6 + seed, tail_s=0.4, promotion_s=0.2, seed=seed,
            connection=(2.0, 2e4), availability=Markov(mean_on_s=9.0, mean_off_s=3.0),
        )  # fmt: skip
        with TemporaryDirectory() as folder:
            network = star(devices) if shared else None
            rules = Rules(transfer="resume", training="resume")
            seen.append(finished(Path(folder), devices, network, Stop(aggregations=1), rules=rules))
    alone, together = (sorted(run.state()["recorder"]["events"]) for run in seen)
    assert len(alone) == len(together)
    for a, b in zip(alone, together, strict=True):
        assert (a[:4], a[10]) == (b[:4], b[10])
        breaks = sum(row[0] == a[0] and row[10] == "interrupted" for row in alone)
        late_ns = 4 + breaks * 1143  # 8 bits at 7 Mbit/s
        assert max(abs(a[4] - b[4]), abs(a[5] - b[5])) <= late_ns
        assert abs(a[7] - b[7]) <= 1
        assert a[9] == pytest.approx(b[9], abs=3e-9 * late_ns)


retries = st.builds(
    Retry, first_s=st.sampled_from([0.1, 2.0]), jitter=st.sampled_from([0.0, 0.5]), attempts=st.integers(1, 3)
)
rules = st.builds(
    Rules,
    transfer=st.sampled_from(["abort", "resume"]) | retries,
    training=st.sampled_from(["abort", "resume"]) | st.builds(Restart, attempts=st.integers(1, 3)),
    corruption=st.none() | st.builds(Corruption, share=st.sampled_from([0.1, 0.6]), attempts=st.integers(1, 3)),
    crash_s=st.sampled_from([None, 5.0]),
    outages=st.sampled_from(
        [
            ServerOutages(starts_ns=(), ends_ns=()),
            ServerOutages(starts_ns=(5 * S,), ends_ns=(9 * S,), period_ns=17 * S),
            ServerOutages(starts_ns=(0, 20 * S), ends_ns=(1 * S, 30 * S)),
        ]
    ),
)
speeds = st.lists(st.floats(0.1, 8.0), min_size=4, max_size=7)
networks = st.sampled_from(["none", "star", "tree"])


def network_of(kind: str, devices: Fleet) -> Network | None:
    if kind == "none":
        return None
    if kind == "star":
        return star(devices, 12e6)
    trace = RateTrace(starts_ns=(0, 3 * S, 4 * S), factors=(1.0, 0.0, 0.3), period_ns=7 * S)
    hops = [
        Hop(name="server", parent=None, down_bps=11e6, up_bps=9e6),
        Hop(name="a", parent=0, down_bps=7e6, up_bps=3e6, latency_s=0.2),
        Hop(name="b", parent=0, down_bps=5e6, up_bps=20e6, loss=0.1, trace=trace),
    ]
    return attach(hops, devices, [[1, 2]], 3, device_trace=trace)


def plan(name: str) -> Schedule:
    return Sync(3) if name == "sync" else Buffered(4, 1 if name == "async" else 3, Polynomial(0.5), max_staleness=4)


def world(
    folder: Path, kind: str, schedule: str, rule: Rules, speed: list[float], seed: int, stop: Stop,
    recorder: Recorder | None = None,
) -> tuple[Simulation, Counting]:  # fmt: skip
    devices = fleet(
        speed, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed, tail_s=0.7, promotion_s=0.2,
        latency_s=0.1 * (seed % 3), connection=(seed % 2, 3e4 * (seed % 5 > 2)),
    )  # fmt: skip
    return simulation(
        folder, devices, plan(schedule), stop, rules=rule, evaluate=Evaluate(every_ns=7_000_000_000), seed=seed,
        recorder=recorder, learning=Counting(len(devices), late=seed % 2 == 1), network=network_of(kind, devices),
    )  # fmt: skip


stops = st.sampled_from([Stop(time_ns=60 * S), Stop(time_ns=60 * S, energy_j=1e18), Stop(time_ns=60 * S, energy_j=90)])
schedules = st.sampled_from(["sync", "buffered", "async"])


@given(networks, schedules, rules, speeds, st.integers(0, 1000), stops)
@settings(max_examples=25)
def test_nothing_is_lost_or_made(
    kind: str, schedule: str, rule: Rules, speed: list[float], seed: int, stop: Stop
) -> None:
    """`finish` checks seconds, bytes, joules, FLOPs and jobs; here the rows themselves, and where devices are."""
    with TemporaryDirectory() as folder:
        run, _ = world(Path(folder), kind, schedule, rule, speed, seed, stop)
        run.begin()
        run.run()
        run.finish()
    jobs: dict[int, list[Any]] = {}
    for row in run.state()["recorder"]["events"]:
        jobs.setdefault(row[0], []).append(row)
    availability = run.fleet.availability
    for found in jobs.values():
        assert all(one[5] <= other[4] for one, other in pairwise(found))
        for _, client, _, phase, start_ns, end_ns, _, size, *_ in found:
            if end_ns > start_ns:
                assert availability.on_ns(client, end_ns, start_ns) == end_ns - start_ns
                down_ns = rule.outages.next_change_ns(start_ns)
                assert phase == "train" or (rule.outages.is_up(start_ns) and (down_ns is None or end_ns <= down_ns))
            assert 0 <= size <= MB
        assert all(row[10] in ("done", "interrupted", "failed", "corrupt") for row in found[:-1])
    assert run.ledger.repeated.ns <= run.ledger.wasted.ns <= run.ledger.total.ns


pauses = st.lists(st.integers(1, 60), min_size=1, max_size=3)


@given(networks, schedules, rules, speeds, st.integers(0, 1000), stops, pauses)
@settings(max_examples=25)
def test_a_pause_in_the_middle_of_transfers_changes_nothing(
    kind: str, schedule: str, rule: Rules, speed: list[float], seed: int, stop: Stop, pauses: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        whole, learned = world(Path(folder) / "whole", kind, schedule, rule, speed, seed, stop)
        whole.begin()
        whole.run()
        whole.finish()
        broken, again = world(Path(folder) / "broken", kind, schedule, rule, speed, seed, stop)
        broken.begin()
        for instants in pauses:
            left = iter(range(instants))
            broken.run(lambda _, left=left: next(left, None) is None, events=0)  # type: ignore[misc]
            state = copy.deepcopy(broken.state())
            recorder = Recorder.restore(Path(folder) / "broken", state["recorder"])
            broken, again = world(Path(folder) / "broken", kind, schedule, rule, speed, seed, stop, recorder)
            broken.restore(state)
        broken.run()
        broken.finish()
    assert broken.state()["recorder"] == whole.state()["recorder"]
    assert repr(broken.ledger.state()) == repr(whole.ledger.state())
    assert again.aggregations == learned.aggregations
