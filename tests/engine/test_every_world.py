"""One property for all: whatever the fleet, availability, schedule, selector, failures and network, the laws hold."""

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batteries import power
from test_gossip import Meeting, neighbours
from test_hierarchical import SLOW
from test_laws import KINDS
from test_networks import network_of, rules
from test_selection_laws import KINDS as SELECTORS
from test_selection_laws import made as selector
from worlds import MB, Counting, fleet, workload

from edgesim.devices.availability import AlwaysOn, Markov, Process
from edgesim.devices.device import Device
from edgesim.devices.outages import Outages
from edgesim.devices.rules import Rule, Together, any_of
from edgesim.devices.traces import Recording, Trace
from edgesim.devices.windows import Bernoulli
from edgesim.engine.job import FAILED, PHASE_NAMES, Spent
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import AsyncGossip, Buffered, Hierarchical, Polynomial, Schedule, Sync, SyncGossip
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

S = 1_000_000_000
COMING = Markov(mean_on_s=9.0, mean_off_s=3.0)
RECORDING = Recording(
    users=("a", "b"), first=np.array([0, 2, 3]), starts_us=np.array([0, 9_000_000, 2_000_000]),
    ends_us=np.array([4_000_000, 15_000_000, 17_000_000]), period_us=np.array([16_000_000, 17_000_000]),
)  # fmt: skip
AVAILABILITY: dict[str, Process] = {
    "always": AlwaysOn(),
    "markov": COMING,
    "bernoulli": Bernoulli(window_s=4.0, chance=0.7),
    "trace": Trace(recording=RECORDING),
    "once": Trace(recording=RECORDING, loop=False),  # from 17 s on nobody is left
    "rule": Rule(signals={"wifi": COMING, "charging": COMING}, statement=any_of("wifi", "charging")),
    "outages": Together(processes=(COMING, Outages(every_s=20.0, lasts_s=5.0, share=0.7, groups=2))),
}
MACHINE = Device(
    name="small", device_class="server", compute_flops=1e9, bandwidth_bytes_per_s=1e12, step_overhead_s=0,
    sparse_efficiency=1, ram_bytes=2000, usable=1, idle_w=10, training_w=50,
)  # fmt: skip
SCHEDULES = (*KINDS, "hierarchical", "hierarchical-async", "gossip", "gossip-async")
MOST = {
    "sync": 3, "async": 4, "buffered": 4, "deadline": 3, "periodic": 4, "periodic-at-tick": 4, "tiered": 4,
    "timelyfl": 4, "hierarchical": 4, "hierarchical-async": 6,
}  # fmt: skip
"""Jobs in flight, where a schedule has a limit."""


@dataclass(frozen=True, kw_only=True)
class World:
    """All that makes a run, but its schedule. Attributes: small, whether client 0's memory takes no job."""

    speeds: list[float]
    seed: int
    availability: str
    selector: str
    rules: Rules
    network: str
    small: bool
    late: bool
    computes: bool
    batteries: bool
    limited: bool


worlds = st.builds(
    World,
    speeds=st.lists(st.floats(0.1, 8.0), min_size=4, max_size=7),
    seed=st.integers(0, 1000),
    availability=st.sampled_from(sorted(AVAILABILITY)),
    selector=st.sampled_from(sorted(SELECTORS)),
    rules=st.builds(replace, rules, out_of_memory=st.sampled_from(["fail", "skip"])),
    network=st.sampled_from(["none", "star", "tree"]),
    small=st.booleans(),
    late=st.booleans(),
    computes=st.booleans(),
    batteries=st.booleans(),
    limited=st.booleans(),
)


def schedule_of(name: str, clients: int, seed: int) -> Schedule:
    def edge() -> Schedule:
        return Sync(2) if name == "hierarchical" else Buffered(3, 2, Polynomial(0.5), max_staleness=3)

    if name.startswith("hierarchical"):
        quota = None if name == "hierarchical" else 1
        edge_of = [client % 2 for client in range(clients)]
        return Hierarchical(edge_of, edge, link=SLOW, rounds=1 + seed % 2, quota=quota, weight=Polynomial(0.5))
    if name.startswith("gossip"):
        kind: Callable[..., Schedule] = SyncGossip if name == "gossip" else AsyncGossip
        return kind(neighbours=neighbours(clients, seed))
    return KINDS[name]()


def build(
    folder: Path, name: str, world: World, recorder: Recorder | None = None, *, stop_ns: int | None = 60 * S
) -> tuple[Simulation, Counting]:
    """Where nobody is the server, nothing befalls transfers to it and nobody chooses, as a scenario would say."""
    n, seed, alone = len(world.speeds), world.seed, name.startswith("gossip")
    devices = fleet(
        world.speeds,
        availability=AVAILABILITY[world.availability],
        seed=seed,
        tail_s=0.7,
        promotion_s=0.2,
        latency_s=0.1 * (seed % 3),
        connection=(seed % 2, 15e3 * (seed % 5 < 3)),
        jitter=(0.3, 0.3 * (world.network == "none")),
    )
    devices.memory_bytes[0] = 10 if world.small else 10**9
    rule, limit = world.rules, 10**18 if world.limited else None
    start_j = [1 + (seed * 7 + 3 * client) % 10 for client in range(n)]
    work = workload(1.5e9) if world.computes and not alone else None
    learning = Meeting(n) if alone else Counting(n, late=world.late, server_work=work)
    run = Simulation(
        fleet=devices, learning=learning, schedule=schedule_of(name, n, seed),
        selector=selector("uniform" if alone else world.selector, seed),
        rules=Rules(training=rule.training, out_of_memory=rule.out_of_memory) if alone else rule,
        recorder=recorder or Recorder(folder, devices.class_names), evaluate=Evaluate(every_ns=7 * S),
        stop=Stop(time_ns=stop_ns, energy_j=limit), server=MACHINE if work else None,
        network=None if alone else network_of(world.network, devices),
        power=power(devices, start_j, capacity_j=12, charge_w=1.1, drain_w=0.1) if world.batteries else None,
    )  # fmt: skip
    return run, learning


def followed(run: Simulation, learning: Counting, name: str) -> None:
    """To its end, step by step: time never goes back, and the version moves only as the server merges, by one."""
    run.begin()
    before_ns, version = run.now_ns, run.version
    while not run.stopped:
        merged = sum(merging is None or not merging.is_local for merging in learning.mergings)
        assert run.version == merged
        assert version <= run.version
        clients = [job.client for job in run.server.jobs.values()]
        assert len(clients) == len(set(clients)) <= MOST.get(name, len(run.fleet))
        before_ns, version = run.now_ns, run.version
        run.step()
        assert run.now_ns >= before_ns


@pytest.mark.parametrize("name", SCHEDULES)
@given(worlds, st.lists(st.integers(1, 60), min_size=1, max_size=2))
@settings(max_examples=8)
def test_the_laws_hold_in_every_world(name: str, world: World, pauses: list[int]) -> None:
    """`finish` balances seconds, bytes, joules, FLOPs and jobs. The same seed gives the same rows, and so does a run
    that is written down anywhere and taken up again."""
    with TemporaryDirectory() as path:
        folder = Path(path)
        run, learning = build(folder / "whole", name, world)
        followed(run, learning, name)
        assert set(run.finish().values()) == {"holds"}
        check_rows(run.state()["recorder"], name)
        check_books(run, learning if name in KINDS else None)

        again, _ = build(folder / "again", name, world)
        again.begin()
        for instants in pauses:
            again.run(pausing(instants), events=0)
            state = copy.deepcopy(again.state())
            recorder = Recorder.restore(folder / "again", state["recorder"])
            again, _ = build(folder / "again", name, world, recorder)
            again.restore(state)
        again.run()
        again.finish()
    assert again.state()["recorder"] == run.state()["recorder"]
    assert repr(again.ledger.state()) == repr(run.ledger.state())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_whose_fleet_leaves_for_good_ends(name: str, tmp_path: Path) -> None:
    """Nobody is left after 17 s: the run ends when that is so, at a tick or with the edges' last message, or goes on,
    idle, to its time."""
    world = World(
        speeds=[0.5, 1.0, 1.5, 2.0, 0.7, 1.1], seed=1, availability="once", selector="uniform", rules=Rules(),
        network="none", small=False, late=False, computes=False, batteries=False, limited=False,
    )  # fmt: skip
    ended, _ = build(tmp_path / "ended", name, world, stop_ns=None)
    timed, _ = build(tmp_path / "timed", name, world)
    for run in (ended, timed):
        run.begin()
        run.run()
        assert set(run.finish().values()) == {"holds"}
    assert (ended.stopped, timed.stopped, timed.now_ns) == ("fleet", "time", 60 * S)
    assert ended.now_ns <= 22 * S
    assert ended.server.deserted == timed.server.deserted != ""
    assert (ended.updates, ended.version) == (timed.updates, timed.version)
    assert timed.updates > 0
    assert repr(timed.ledger.state()) == repr(ended.ledger.state())


def pausing(instants: int) -> Callable[[Simulation], bool]:
    left = iter(range(instants - 1))
    return lambda _: next(left, None) is None


def check_rows(state: dict[str, Any], name: str) -> None:
    """What the rows themselves say, without the books."""
    times = [row[1] for row in state["aggregations"]]
    assert [row[0] for row in state["aggregations"]] == list(range(1, len(times) + 1))
    assert times == sorted(times)
    jobs: dict[int, list[Any]] = {}
    for row in state["events"]:
        jobs.setdefault(row[0], []).append(row)
    turns: dict[int, list[tuple[int, int]]] = {}
    for rows in jobs.values():
        assert all(start_ns <= end_ns for _, _, _, _, start_ns, end_ns, *_ in rows)
        assert all(one[5] <= other[4] for one, other in pairwise(rows))
        assert all(0 <= row[7] <= MB and row[9] >= 0 for row in rows)
        turns.setdefault(rows[0][1], []).append((rows[0][4], rows[-1][5]))
        if name in KINDS:
            check_version(rows, times)
        assert all(row[12] is None or row[12] >= 0 for row in rows)
        assert all((row[10] in ("done", "in-flight")) == (row[11] is None) for row in rows)  # who fails, has a reason
    for spans in turns.values():  # a device has one job at a time
        assert all(one[1] <= other[0] for one, other in pairwise(sorted(spans)))


def check_books(run: Simulation, learning: Counting | None) -> None:
    """The ledger worked out anew from the rows; with `learning`, which was told what is merged, also what became of
    the jobs. What comes before the end of a failed attempt, in the same phase of the same job, is that attempt's."""
    books, n, phases = run.ledger, len(run.fleet), dict[tuple[int, str], list[Any]]()
    ns, joules, size, flops = np.zeros((3, n)), np.zeros((3, n)), np.zeros((3, n)), np.zeros(n)
    for row in run.state()["recorder"]["events"]:
        job, client, _, name, start_ns, end_ns, _, of_bytes, of_flops, energy_j, *_ = row
        phase = PHASE_NAMES.index(name)
        ns[phase, client] += end_ns - start_ns
        joules[phase, client] += energy_j
        size[phase, client] += of_bytes
        flops[client] += of_flops
        phases.setdefault((job, name), []).append(row)
    assert books.phase_ns.tolist() == ns.tolist()
    assert books.phase_j == pytest.approx(joules)
    assert [books.bytes_down.tolist(), [0] * n, books.bytes_up.tolist()] == size.tolist()
    assert books.flops == pytest.approx(flops)
    figures = {"bytes_down": size[0].sum(), "bytes_up": size[2].sum(), "energy_j": joules.sum(), "flops": flops.sum()}
    assert {figure: run.last[figure] for figure in figures} == pytest.approx(figures)
    if learning is None:
        return
    merged = [update for updates in learning.aggregations for update in updates]
    assert books.aggregated.tolist() == np.bincount([update.client for update in merged], minlength=n).tolist()
    useful, repeated, moved = Spent(), Spent(), dict.fromkeys(("delivered", "broken", "moving"), 0)
    jobs = {update.job for update in merged}
    fates = {"done": "delivered", "stale": "delivered", "in-flight": "moving", "interrupted": "moving"}
    for (job, name), rows in phases.items():
        again = max((at + 1 for at, row in enumerate(rows) if row[10] in FAILED), default=0)
        for at, (_, _, _, _, start_ns, end_ns, _, of_bytes, of_flops, energy_j, *_) in enumerate(rows):
            spent = Spent(
                end_ns - start_ns, of_bytes * (name == "download"), of_bytes * (name == "upload"), of_flops, energy_j
            )
            if at < again:
                repeated.add(spent)
            elif job in jobs:
                useful.add(spent)
            moved["broken" if at < again else fates.get(rows[-1][10], "broken")] += of_bytes
    assert books.repeated.state() == pytest.approx(repeated.state())
    assert books.useful.state() == pytest.approx(useful.state())
    assert {fate: getattr(books, fate) for fate in moved} == moved


def check_version(rows: Sequence[Any], times: Sequence[int]) -> None:
    """A job's version is that of its dispatch; its staleness is how many aggregations came between that and its
    arrival. At one instant an aggregation may come before an arrival or after it."""
    version, arrived_ns, staleness = rows[0][6], rows[-1][5], rows[-1][12]
    assert version <= bisect_right(times, rows[0][4])
    if staleness is not None:
        assert bisect_left(times, arrived_ns) <= version + staleness <= bisect_right(times, arrived_ns)
