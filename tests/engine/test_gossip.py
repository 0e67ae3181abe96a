"""Peers: exact times of three devices, and laws that hold for any fleet and any graph."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import after
from worlds import MB, Counting, Gap, ended, events, fleet, simulation

from edgesim.devices.availability import Markov, Process
from edgesim.devices.fleet import Fleet
from edgesim.engine.exchanges import Exchange
from edgesim.engine.learning import USUAL, Assignment, Merging, Mix, Terms
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import AsyncGossip, Gossip, SyncGossip
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

PATH = ((1,), (0, 2), (1,))
TRIANGLE = ((1, 2), (0, 2), (0, 1))


class Meeting(Counting):
    """Counting learners without a server: nothing goes down or up, and a model is 1 MB."""

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        return replace(super().cost(client, terms), download_bytes=0, upload_bytes=0)

    def upload_bytes(self, job: int) -> int:
        return MB

    @property
    def mixes(self) -> list[tuple[Mix, ...]]:
        return [merging.mixes for merging in self.mergings if merging]


def run(folder: Path, devices: Fleet, schedule: Gossip, stop: Stop) -> tuple[Simulation, Meeting]:
    learning = Meeting(len(devices))
    made, _ = simulation(folder, devices, schedule, stop, learning=learning)
    made.begin()
    made.run()
    assert set(made.finish().values()) == {"holds"}
    return made, learning


def near(*weights: float) -> Any:
    return tuple(map(pytest.approx, weights))


def test_a_round_on_a_path_takes_one_exchange_after_the_other(tmp_path: Path) -> None:
    """Trained at 1, 2 and 5 s; 1 MB takes 1 s. 0 and 1 exchange from 2 to 4, 1 and 2 from 5 to 7: the round ends."""
    made, learning = run(tmp_path, fleet([1.0, 2.0, 5.0]), SyncGossip(neighbours=PATH), Stop(aggregations=1))
    assert made.now_ns == 7_000_000_000
    assert events(made) == [
        (0, "train", 0.0, 1.0, "done"), (0, "upload", 2.0, 3.0, "done"), (0, "download", 3.0, 4.0, "done"),
        (1, "train", 0.0, 2.0, "done"), (1, "download", 2.0, 3.0, "done"), (1, "upload", 3.0, 4.0, "done"),
        (1, "upload", 5.0, 6.0, "done"), (1, "download", 6.0, 7.0, "done"),
        (2, "train", 0.0, 5.0, "done"), (2, "download", 5.0, 6.0, "done"), (2, "upload", 6.0, 7.0, "done"),
    ]  # fmt: skip
    # degrees 1, 2, 1: w_01 = w_12 = 1/(1 + 2); the ends keep 2/3, the middle 1/3
    assert learning.mixes == [
        (Mix(0, (0, 1), near(2 / 3, 1 / 3)), Mix(1, (0, 1, 2), near(1 / 3, 1 / 3, 1 / 3)),
         Mix(2, (1, 2), near(1 / 3, 2 / 3)))
    ]  # fmt: skip


def test_an_exchange_goes_at_the_lesser_of_both_links_after_both_latencies(tmp_path: Path) -> None:
    """0 sends at 8 and receives at 2 Mbit/s, 1 sends at 4 and receives at 16: 0 → 1 at 8, 1 → 0 at 2 Mbit/s, which
    is 1 s and 4 s, and 0.25 + 0.5 s of latency before each. Training alone pays no latency."""
    devices = replace(
        fleet([1.0, 1.0]), up_bps=np.array([8e6, 4e6]), down_bps=np.array([2e6, 16e6]), latency_s=np.array([0.25, 0.5])
    )
    made, _ = run(tmp_path, devices, SyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1))
    assert [row[1:4] for row in events(made) if row[0] == 0] == [
        ("train", 0.0, 1.0), ("upload", 1.0, 2.75), ("download", 2.75, 7.5)
    ]  # fmt: skip


def test_an_exchange_costs_each_side_its_own_power_and_a_tail_when_it_is_over(tmp_path: Path) -> None:
    """0 receives at 1 W and sends at 3 W, 1 at 2 and 4 W, for a second each; the tail of half a second at 0.5 W comes
    once, for the second leg follows the first at once."""
    devices = replace(fleet([1.0, 1.0], tail_s=0.5), receive_w=np.array([0.75, 1.75]), send_w=np.array([2.75, 3.75]))
    made, _ = run(tmp_path, devices, SyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1))
    spent = {(row[1], row[3]): row[9] for row in made.state()["recorder"]["events"]}
    assert spent == {
        (0, "train"): 1.0, (0, "upload"): 3.25, (0, "download"): 1.0,
        (1, "train"): 1.0, (1, "download"): 2.25, (1, "upload"): 4.0,
    }  # fmt: skip


def test_bytes_of_an_exchange_move_when_its_delay_is_over() -> None:
    """Of 10 ns the first 4 are delay; whole bytes count."""
    exchange = Exchange(0, 1, (100, 60), start_ns=1000, whole_ns=10, delay_ns=4)
    assert [exchange.moved(1000 + ns) for ns in (0, 2, 4, 7, 8, 10)] == [0, 0, 0, 50, 66, 100]
    assert replace(exchange, leg=1).moved(1007) == 30
    assert Exchange(0, 1, (100, 60), start_ns=1000, whole_ns=4, delay_ns=4).moved(1004) == 100


def test_a_loss_leaves_a_client_out_of_the_round(tmp_path: Path) -> None:
    """Device 0 has too little memory: 1 and 2 mix without it, with the weights that their degrees give them."""
    devices = replace(fleet([1.0, 1.0, 1.0]), memory_bytes=np.array([10, 10**9, 10**9]))
    made, learning = run(tmp_path, devices, SyncGossip(neighbours=TRIANGLE), Stop(aggregations=1))
    assert learning.mixes == [(Mix(1, (1, 2), near(2 / 3, 1 / 3)), Mix(2, (1, 2), near(1 / 3, 2 / 3)))]
    assert made.ledger.jobs()["lost"] == 1


def test_who_leaves_breaks_the_exchange_off_and_it_is_wasted(tmp_path: Path) -> None:
    """Both are trained at 1 s; the link fails at 2.5 s, after 0 → 1 and half of 1 → 0."""
    made, learning = run(
        tmp_path, fleet([1.0, 1.0], availability=Gap(2_500_000_000, 9_000_000_000)),
        SyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1),
    )  # fmt: skip
    assert learning.mixes == [(Mix(0, (0,), (1.0,)), Mix(1, (1,), (1.0,)))]
    assert events(made)[-3:] == [
        (1, "train", 0.0, 1.0, "done"), (1, "download", 1.0, 2.0, "done"), (1, "upload", 2.0, 2.5, "failed")
    ]  # fmt: skip
    assert made.ledger.wasted.bytes_up == made.ledger.wasted.bytes_down == MB // 2


def test_of_an_exchange_that_one_breaks_off_the_other_says_so(tmp_path: Path) -> None:
    """As before, but only device 1 leaves."""

    class Leaves(Gap):
        def is_on(self, device: int, t_ns: int) -> bool:
            return device == 0 or super().is_on(device, t_ns)

        def next_change_ns(self, device: int, t_ns: int) -> int | None:
            return None if device == 0 else super().next_change_ns(device, t_ns)

        def on_ns_many(self, devices: Any, t_ns: int, since_ns: int = 0) -> Any:
            return np.where(devices == 0, t_ns - since_ns, super().on_ns_many(devices, t_ns, since_ns))

    devices = fleet([1.0, 1.0], availability=Leaves(2_500_000_000, 9_000_000_000))
    made, _ = run(tmp_path, devices, SyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1))
    failed = [(row[1], row[11]) for row in made.state()["recorder"]["events"] if row[10] == "failed"]
    assert failed == [(0, "peer"), (1, "off-line")]


def test_asynchronous_pairs_do_not_wait_for_the_slow(tmp_path: Path) -> None:
    """Three devices all connected, 1, 1 and 12 s. 0 and 1 exchange from 1 to 3 and, trained again at 4, to 6, to 9 and
    to 12, each time the mean of two; 2 is trained at 12, when 0 and 1 begin anew, and meets one of them at 13."""
    made, learning = run(
        tmp_path, fleet([1.0, 1.0, 12.0]), AsyncGossip(neighbours=TRIANGLE), Stop(time_ns=15_000_000_000)
    )
    assert [[mix.client for mix in mixes] for mixes in learning.mixes[:4]] == [[0, 1]] * 4
    assert learning.mixes[0] == (Mix(0, (0, 1), (0.5, 0.5)), Mix(1, (0, 1), (0.5, 0.5)))
    starts = [(row[0], row[1], row[2]) for row in events(made) if row[0] == 2 or row[2] >= 12]
    assert (2, "train", 0.0) in starts
    assert {start for client, phase, start in starts if client == 2 and phase != "train"} == {13.0, 14.0}


def test_a_client_that_left_while_it_waited_is_met_when_it_is_back(tmp_path: Path) -> None:
    """1 is trained at 1 s and waits, off line from 2 to 6 s; 0 is trained at 5 s, and both are off line: at 6 s they
    exchange."""
    devices = fleet([5.0, 1.0], availability=Gap(2_000_000_000, 6_000_000_000))
    learning = Meeting(2)
    made, _ = ended(
        tmp_path, devices, AsyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1), learning=learning,
        rules=Rules(training="resume"),
    )  # fmt: skip
    # 0 trained from 0 to 2 and from 6 to 9
    assert made.now_ns == 11_000_000_000


def test_a_client_without_neighbours_goes_on_alone(tmp_path: Path) -> None:
    _, learning = run(tmp_path, fleet([1.0, 1.0, 1.0]), AsyncGossip(neighbours=((1,), (0,), ())), Stop(aggregations=3))
    assert (Mix(2, (2,), (1.0,)),) in learning.mixes


def test_who_can_only_wait_for_one_that_never_trains_is_told(tmp_path: Path) -> None:
    """Client 1 is the only neighbour of all others, and its memory takes no job."""
    devices = fleet([1.0, 1.0, 1.0])
    devices.memory_bytes[1] = 10
    made, _ = run(tmp_path, devices, AsyncGossip(neighbours=PATH), Stop(aggregations=9))
    told = "from 1 s on nobody works: 2 clients have trained (client 0, say) and wait for neighbours, none of which"
    assert (made.stopped, made.now_ns, made.server.deserted[: len(told)]) == ("fleet", 1_000_000_000, told)


@pytest.mark.parametrize("kind", [SyncGossip, AsyncGossip])
def test_both_sides_of_an_exchange_count_the_same_bytes(tmp_path: Path, kind: Callable[..., Gossip]) -> None:
    made, _ = run(tmp_path, fleet([1.0, 2.0, 3.3]), kind(neighbours=TRIANGLE), Stop(time_ns=33_400_000_000))
    assert made.ledger.total.bytes_up == made.ledger.total.bytes_down > 0
    assert made.last["bytes_up"] == made.last["bytes_down"] == made.ledger.total.bytes_up


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────
def neighbours(clients: int, seed: int) -> Sequence[Sequence[int]]:
    graph = nx.gnp_random_graph(clients, 0.6, seed=seed)
    return [sorted(graph[client]) for client in range(clients)]


def world(
    folder: Path, kind: Callable[..., Gossip], speeds: list[float], seed: int, process: Process | None,
    rule: Any, stop: Stop, recorder: Any = None,
) -> tuple[Simulation, Counting]:  # fmt: skip
    devices = fleet(
        speeds, availability=process, seed=seed, tail_s=1.5, promotion_s=0.2, latency_s=0.05,
        connection=(seed % 2, 3e4 * (seed % 5 > 2)),
    )  # fmt: skip
    return simulation(
        folder, devices, kind(neighbours=neighbours(len(speeds), seed)), stop, rules=Rules(training=rule),
        evaluate=Evaluate(every_ns=7_000_000_000), seed=seed, recorder=recorder, learning=Meeting(len(speeds)),
    )  # fmt: skip


@given(
    st.sampled_from([SyncGossip, AsyncGossip]),
    st.lists(st.floats(0.1, 8.0), min_size=4, max_size=8),
    st.integers(0, 1000),
    st.sampled_from([None, Markov(mean_on_s=9.0, mean_off_s=3.0)]),
    st.sampled_from(["abort", "resume"]),
    st.sampled_from([Stop(time_ns=90_000_000_000), Stop(time_ns=90_000_000_000, bytes=30 * MB)]),
    st.data(),
)
@settings(max_examples=60)
def test_books_balance_and_a_pause_changes_nothing(
    kind: Callable[..., Gossip],
    speeds: list[float],
    seed: int,
    process: Process | None,
    rule: str,
    stop: Stop,
    data: Any,
) -> None:
    pauses = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    with TemporaryDirectory() as folder:
        whole, learned = world(Path(folder) / "whole", kind, speeds, seed, process, rule, stop)
        whole.begin()
        whole.run()
        assert set(whole.finish().values()) == {"holds"}

        broken, _ = world(Path(folder) / "broken", kind, speeds, seed, process, rule, stop)
        broken.begin()
        for instants in pauses:
            broken.run(after(instants), events=0)
            state = copy.deepcopy(broken.state())
            recorder = Recorder.restore(Path(folder) / "broken", state["recorder"])
            broken, again = world(Path(folder) / "broken", kind, speeds, seed, process, rule, stop, recorder)
            broken.restore(state)
        broken.run()
        broken.finish()
    assert broken.state()["recorder"] == whole.state()["recorder"]
    assert again.aggregations == learned.aggregations
    total = whole.ledger.total
    assert total.bytes_up == total.bytes_down
    assert whole.last["energy_j"] <= total.energy_j * (1 + 1e-12)
    check_mixing(learned.mergings)
    check_turns(whole)


def check_mixing(mergings: Sequence[Merging | None]) -> None:
    """Weights are symmetric and those of a client add to 1: the mean of all models stays what it is."""
    for merging in mergings:
        assert merging is not None
        weight = {
            (mix.client, peer): w for mix in merging.mixes for peer, w in zip(mix.peers, mix.weights, strict=True)
        }
        assert all(w == weight[peer, client] >= 0 for (client, peer), w in weight.items())
        for mix in merging.mixes:
            assert sum(mix.weights) == pytest.approx(1.0)
            assert list(mix.peers) == sorted(mix.peers)
            assert mix.client in mix.peers


def check_turns(run: Simulation) -> None:
    """A device does one thing at a time."""
    last: dict[int, int] = {}
    for row in sorted(run.state()["recorder"]["events"], key=lambda row: (row[1], row[4], row[5])):
        assert row[4] >= last.get(row[1], 0)
        last[row[1]] = row[5]
