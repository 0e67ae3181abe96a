"""Devices, edge aggregators and a cloud: exact times on links of whole seconds, and laws that hold for any fleet."""

import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import after
from worlds import MB, Counting, Gap, events, fleet, simulation

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Markov, Process
from edgesim.engine.backhaul import Backhaul, Link
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.schedules import Buffered, Deadline, Hierarchical, Polynomial, Schedule, Sync, constant
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

S = 1_000_000_000
FAST = Link(down_bps=float("inf"), up_bps=float("inf"))
SLOW = Link(down_bps=4e6, up_bps=2e6, latency_s=1.0, power_w=3.0)  # 1 MB: 3 s down, 5 s up


def run(folder: Path, train_s: list[float], schedule: Schedule, stop: Stop) -> tuple[Simulation, Counting]:
    made, learning = simulation(folder, fleet(train_s), schedule, stop)
    made.begin()
    made.run()
    return made, learning


def cloud(learning: Counting) -> list[list[tuple[float, ...]]]:
    """The cloud's aggregations: of each model its edge, discount and updates."""
    return [[tuple(join) for join in merging.joins] for merging in learning.mergings if merging and merging.joins]


def test_three_devices_two_edges_and_a_cloud_that_waits_for_both(tmp_path: Path) -> None:
    """Edge 0 has devices of 1 s and 2 s, edge 1 one of 6 s; a job takes 2 s more. Edge 0's first round ends at 4, its
    second at 8, and its model is at the cloud at 13; edge 1's at 8, 16 and 21. Both have the cloud's at 24, and edge
    1 its next update at 32."""
    made, learning = run(
        tmp_path, [1.0, 2.0, 6.0], Hierarchical([0, 0, 1], lambda: Sync(2), link=SLOW, rounds=2),
        Stop(time_ns=32_000_000_001),
    )  # fmt: skip
    assert made.version == 1
    assert cloud(learning) == [[(0, 1.0, 4), (1, 1.0, 2)]]
    assert made.state()["recorder"]["aggregations"] == [(1, 21_000_000_000, 21_000_000_000, 6, "timer", None)]
    assert set(made.finish().values()) == {"holds"}
    starts = {client: [] for client in range(3)}  # type: dict[int, list[float]]
    for client, phase, start, _, _ in events(made):
        if phase == "download":
            starts[client].append(start)
    assert starts == {0: [0.0, 4.0, 24.0, 28.0], 1: [0.0, 4.0, 24.0, 28.0], 2: [0.0, 8.0, 24.0, 32.0]}


def test_an_edge_goes_on_when_all_devices_of_another_have_left(tmp_path: Path) -> None:
    """Edge 0 acts first, with nobody to dispatch to, whenever edge 1's only job has ended."""
    left = FleetAvailability([Gap(2_000_000_000, None), AlwaysOn()], np.array([0, 1], np.int32), 0)
    devices = replace(fleet([1.0, 1.0]), availability=left)
    schedule = Hierarchical([0, 1], lambda: Sync(1), link=FAST, quota=1)
    made, learning = simulation(tmp_path, devices, schedule, Stop(aggregations=3))
    made.begin()
    made.run()
    assert (made.stopped, made.now_ns) == ("aggregations", 9_000_000_000)
    assert cloud(learning) == [[(1, 1.0, 1)]] * 3


def test_what_crosses_the_backhaul_is_an_account_of_its_own(tmp_path: Path) -> None:
    """Two models up, 5 s each, two down, 3 s each, at 3 W: 16 s, 48 J; devices pay for their own jobs alone."""
    made, _ = run(
        tmp_path, [1.0, 2.0, 6.0], Hierarchical([0, 0, 1], lambda: Sync(2), link=SLOW, rounds=2),
        Stop(time_ns=24_000_000_001),
    )  # fmt: skip
    made.finish()
    last = made.last
    assert (last["backhaul_s"], last["backhaul_j"]) == (16.0, 48.0)
    assert (last["backhaul_bytes_down"], last["backhaul_bytes_up"]) == (2 * MB, 2 * MB)
    assert last["bytes_up"] == 6 * MB


def test_a_message_under_way_counts_by_its_part(tmp_path: Path) -> None:
    """One device of 1 s: its update is there at 3 s, the model sets off to be at the cloud at 8 s; at 5 s, 2/5."""
    made, _ = run(tmp_path, [1.0], Hierarchical([0], lambda: Sync(1), link=SLOW), Stop(time_ns=5_000_000_000))
    made.finish()
    assert made.last["backhaul_bytes_up"] == 400_000
    assert made.last["backhaul_j"] == 6.0


def test_messages_under_way_count_beside_those_that_have_come_through() -> None:
    """Through: 100 B up in 4 s at 3 W. At 14 s: 4 s of 10 s up at 2 W, 2 s of 5 s down at 1 W, and one in no
    time; whole bytes count."""
    crossed = Backhaul()
    crossed.begin(0, 0, 4 * S, 100, is_up=True, power_w=3.0)
    crossed.end(0)
    crossed.begin(0, 10 * S, 20 * S, 1001, is_up=True, power_w=2.0)
    crossed.begin(1, 12 * S, 17 * S, 501, is_up=False, power_w=1.0)
    crossed.begin(2, 14 * S, 14 * S, 7, is_up=True, power_w=1.0)
    for now_s, totals in (
        (14, (4 + 4 + 2, 200, 100 + 400 + 7, 12 + 8 + 2)),
        (30, (4 + 10 + 5, 501, 100 + 1001 + 7, 12 + 20 + 5)),
    ):
        assert tuple(crossed.totals(now_s * S).values()) == totals


def test_a_cloud_that_merges_at_once_knows_how_stale_a_model_is(tmp_path: Path) -> None:
    """Edge 0's device takes 3 s a job and is merged at 3 and 6; edge 1's takes 8 s: two versions old at 8, when edge 0
    has not arrived again; with an exponent of 1 it counts 1/3."""
    schedule = Hierarchical([0, 1], lambda: Sync(1), link=FAST, quota=1, weight=Polynomial(1.0))
    made, learning = run(tmp_path, [1.0, 6.0], schedule, Stop(aggregations=3))
    assert made.now_ns == 8_000_000_000
    assert cloud(learning) == [[(0, 1.0, 1)], [(0, 1.0, 1)], [(1, 1 / 3, 1)]]


def test_an_edge_keeps_what_arrives_while_its_model_is_away(tmp_path: Path) -> None:
    """A buffered edge of two devices, 3 s and 5 s a job: aggregates at 3, waits for the cloud until 11 (5 s up, 3 s
    down); the update that came at 5 is aggregated then, one version old, and nobody was dispatched to meanwhile."""
    schedule = Hierarchical([0, 0], lambda: Buffered(2, 1, constant), link=SLOW)
    made, learning = run(tmp_path, [1.0, 3.0], schedule, Stop(time_ns=11_500_000_000))
    updates = [[(u.client, u.staleness) for u in a] for a in learning.aggregations if a]
    assert updates == [[(0, 0)], [(1, 1)]]
    assert made.server.in_flight == 0  # the edge's model is away again


FLAT = st.sampled_from(["sync", "buffered", "deadline"])


def flat(kind: str) -> Schedule:
    if kind == "sync":
        return Sync(3)
    if kind == "deadline":
        return Deadline(3, 4, 6_000_000_000)
    return Buffered(4, 2, Polynomial(0.5), max_staleness=4)


def world(
    folder: Path, schedule: Schedule, speeds: list[float], seed: int, process: Process | None, recorder: Any = None
) -> tuple[Simulation, Counting]:
    return simulation(
        folder, fleet(speeds, availability=process, seed=seed), schedule, Stop(time_ns=90_000_000_000),
        evaluate=Evaluate(every_ns=7_000_000_000), seed=seed, recorder=recorder,
    )  # fmt: skip


speeds = st.lists(st.floats(0.1, 8.0), min_size=4, max_size=8)
processes = st.sampled_from([None, Markov(mean_on_s=9.0, mean_off_s=3.0)])


@given(FLAT, speeds, st.integers(0, 1000), processes)
@settings(max_examples=30)
def test_one_edge_with_everything_on_an_infinitely_fast_link_is_flat(
    kind: str, speed: list[float], seed: int, process: Process | None
) -> None:
    """The same events, aggregations and metrics, but for the account of the backhaul."""
    with TemporaryDirectory() as folder:
        rows, updates = [], []
        for name, schedule in (
            ("flat", flat(kind)),
            ("one", Hierarchical([0] * len(speed), lambda: flat(kind), link=FAST)),
        ):
            made, learning = world(Path(folder) / name, schedule, speed, seed, process)
            made.begin()
            made.run()
            made.finish()
            state = made.state()["recorder"]
            metrics = [row[:19] + row[23:] for row in state["metrics"]]
            rows.append((state["events"], state["aggregations"], made.now_ns, str(metrics)))
            updates.append([a for a in learning.aggregations if a])
    assert rows[0] == rows[1]
    assert updates[0] == updates[1]


links = st.sampled_from([FAST, SLOW, Link(down_bps=8e6, up_bps=8e6)])


@given(FLAT, speeds, st.integers(0, 1000), processes, links, st.integers(1, 3), st.integers(1, 3), st.data())
@settings(max_examples=40)
def test_books_balance_and_a_pause_changes_nothing(
    kind: str, speed: list[float], seed: int, process: Process | None, link: Link, rounds: int, quota: int, data: Any
) -> None:
    pauses = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))

    def make() -> Schedule:
        edge_of = [client % 3 for client in range(len(speed))]
        return Hierarchical(edge_of, lambda: flat(kind), link=link, rounds=rounds, quota=quota, weight=Polynomial(0.5))

    with TemporaryDirectory() as folder:
        whole, learned = world(Path(folder) / "whole", make(), speed, seed, process)
        whole.begin()
        whole.run()
        assert set(whole.finish().values()) == {"holds"}

        broken, _ = world(Path(folder) / "broken", make(), speed, seed, process)
        broken.begin()
        for instants in pauses:
            broken.run(after(instants), events=0)
            state = copy.deepcopy(broken.state())
            recorder = Recorder.restore(Path(folder) / "broken", state["recorder"])
            broken, again = world(Path(folder) / "broken", make(), speed, seed, process, recorder)
            broken.restore(state)
        broken.run()
        broken.finish()
    assert broken.state()["recorder"] == whole.state()["recorder"]
    assert again.aggregations == learned.aggregations
    assert whole.version == len([a for a in learned.aggregations if not a])
    arrivals = [row[12] for row in whole.state()["recorder"]["events"] if row[12] is not None]
    assert all(staleness >= 0 for staleness in arrivals)
