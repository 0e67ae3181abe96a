"""The server: what it computes itself takes its time, and what a schedule may ask of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import MB, Counting, events, fleet, simulation, workload

from edgesim.devices.device import Device
from edgesim.engine.job import PHASE_NAMES
from edgesim.engine.limits import Stop
from edgesim.engine.schedules import Buffered, Schedule, Server, Sync, constant
from edgesim.engine.server_work import ServerWork
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError
from edgesim.results.recorder import Recorder

S = 1_000_000_000
MACHINE = Device(
    name="small", device_class="server", compute_flops=1e9, bandwidth_bytes_per_s=1e12, step_overhead_s=0,
    sparse_efficiency=1, ram_bytes=2000, usable=1, idle_w=10, training_w=50,
)  # fmt: skip


def begun(folder: Path, schedule: Schedule, flops: float, stop: Stop, **given: Any) -> tuple[Simulation, Counting]:
    """Two clients, 3 s and 8 s a job, and a server of 1 GFLOP/s that computes so much at each aggregation."""
    learning = Counting(2, server_work=workload(flops))
    run, _ = simulation(folder, fleet([1.0, 6.0]), schedule, stop, learning=learning, **{"server": MACHINE} | given)
    run.begin()
    return run, learning


def test_a_round_begins_when_the_server_is_done(tmp_path: Path) -> None:
    """Rounds of 8 s, the server computes for 2 s: rounds begin at 0, 10 and 20; three aggregations by 28 s."""
    run, learning = begun(tmp_path, Sync(2), 2e9, Stop(aggregations=3))
    run.run()
    run.finish()
    assert run.now_ns == 28 * S
    assert [row[2] for row in events(run) if row[:2] == (0, "download")] == [0, 10, 20]
    assert len(learning.aggregations) == 3


def test_what_arrives_meanwhile_is_received_and_aggregations_queue_up(tmp_path: Path) -> None:
    """Fully asynchronous, 6 s an aggregation. The fast client arrives at 3: the server computes until 9. The slow
    one arrives at 8, one version late, and is aggregated at once: the server goes on until 15. At 15 both are
    dispatched, and arrive at 18 and 23, aggregated at once: until 24 and 30."""
    run, learning = begun(tmp_path, Buffered(2, 1, constant), 6e9, Stop(time_ns=29 * S))
    run.run()
    run.finish()
    assert [(u.client, u.staleness) for a in learning.aggregations for u in a] == [(0, 0), (1, 1), (0, 0), (1, 1)]
    assert [row[2] for row in events(run) if row[1] == "download"] == [0, 0, 15, 15]
    server = run.server.work.summary(run.now_ns)
    assert (server["busy_s"], server["energy_j"], server["flops"]) == (24, 24 * 50, 24e9)
    assert server["idle_j"] == pytest.approx((29 - 24) * 10)
    assert server["peak_memory_bytes"] == 1000
    assert (run.last["server_s"], run.last["server_j"], run.last["server_flops"]) == (24, 24 * 50, 24e9)
    assert run.last["energy_j"] == run.ledger.total.energy_j  # the devices' alone


def test_a_run_taken_up_while_the_server_computes_waits_for_it(tmp_path: Path) -> None:
    whole, _ = begun(tmp_path / "whole", Sync(2), 2e9, Stop(aggregations=3))
    whole.run()
    part, _ = begun(tmp_path / "part", Sync(2), 2e9, Stop(aggregations=3))
    assert not part.run(lambda run: run.now_ns == 8 * S, events=0)
    state = part.state()
    assert state["timers"] == {"server": 10 * S}
    rest, _ = simulation(
        tmp_path / "part",
        fleet([1.0, 6.0]),
        Sync(2),
        Stop(aggregations=3),
        server=MACHINE,
        learning=Counting(2, server_work=workload(2e9)),
        recorder=Recorder.restore(tmp_path / "part", state["recorder"]),
    )
    rest.restore(state)
    rest.run()
    assert rest.state()["recorder"] == whole.state()["recorder"]
    assert rest.server.work.state() == whole.server.work.state()


def test_a_server_that_is_not_named_takes_no_time_and_its_work_is_counted(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, Sync(2), 2e9, Stop(aggregations=3), server=None)
    run.run()
    assert run.now_ns == 24 * S
    summary = run.server.work.summary(run.now_ns)
    assert (summary["busy_s"], summary["flops"], summary["device"], summary["idle_j"]) == (0, 6e9, None, 0)


def test_work_is_booked_when_it_is_asked_for_and_the_largest_counts() -> None:
    """3 s of work asked for at 1 s: by 2 s the server has not been idle. The second piece fits exactly, and waits."""
    exact = Device(**{**vars(MACHINE), "ram_bytes": 1000})
    server = ServerWork(exact, "ideal")
    assert server.summary(2 * S)["idle_j"] == 20
    server.ask(replace(workload(3e9), memory_bytes=10), 1 * S)
    assert server.summary(2 * S) == {
        "device": "small", "busy_s": 3, "flops": 3e9, "energy_j": 150, "idle_j": 0, "peak_memory_bytes": 10
    }  # fmt: skip
    server.ask(workload(2e9), 2 * S)
    server.ask(replace(workload(1e9), memory_bytes=10), 8 * S)
    assert (server.until_ns, server.peak_bytes, server.summary(9 * S)["idle_j"]) == (9 * S, 1000, 30)


def test_an_aggregation_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    tiny = Device(**{**vars(MACHINE), "ram_bytes": 999})
    run, _ = begun(tmp_path, Sync(2), 1.0, Stop(aggregations=1), server=tiny)
    with pytest.raises(RunError, match="takes 1000 bytes of memory, and the server small has 999"):
        run.run()


@dataclass
class Deadline(Schedule):
    """Rounds that end when their time is up; who is not there by then is cancelled."""

    length_ns: int
    rounds: list[dict[int, tuple[int, int, int]]] = field(default_factory=list)

    def proceed(self, server: Server) -> None:
        if not server.in_flight:
            server.dispatch(2)
            server.set_timer("deadline", server.now_ns + self.length_ns)

    def on_timer(self, server: Server, name: str) -> None:
        assert name == "deadline"
        self.rounds.append({n: (job.client, job.version, job.dispatched_ns) for n, job in server.jobs.items()})
        for job in list(server.jobs):
            server.cancel(job, "deadline")
        server.aggregate(self.take())


@pytest.mark.parametrize(("length_s", "slow"), [(3, ("train", 1.0, 3.0)), (7.5, ("upload", 7.0, 7.5))])
def test_a_cancelled_job_is_waste_up_to_that_instant(
    tmp_path: Path, length_s: float, slow: tuple[str, float, float]
) -> None:
    """The fast client arrives at 3 s, which is in time for a deadline at 3 s; the slow one is cut where it is."""
    schedule = Deadline(length_ns=round(length_s * S))
    run, learning = begun(tmp_path, schedule, 0.0, Stop(time_ns=round((length_s + 0.5) * S)))
    run.run()
    run.finish()
    assert schedule.rounds == [{1: (1, 0, 0)}]
    assert (1, *slow, "cancelled") in events(run)
    assert [update.client for update in learning.aggregations[0]] == [0]
    assert run.ledger.wasted.ns == length_s * S
    assert run.ledger.wasted.energy_j == pytest.approx(length_s)
    assert run.ledger.wasted.bytes_up == (MB // 2 if slow[0] == "upload" else 0)
    assert run.ledger.jobs() == {"dispatched": 4, "aggregated": 1, "lost": 0, "discarded": 1}
    assert 1 not in learning.open  # its result was dropped


def test_a_cancelled_transfer_pays_its_radio_tail_and_the_next_job_knows(tmp_path: Path) -> None:
    """Cut at 0.5 s of its download: 0.5 J and a tail of 2 s at 0.5 W. The next job's download begins at once, so
    there was no such tail; it was paid, and stands for that after this download: 1 J, and no tail."""
    schedule = Deadline(length_ns=S // 2)
    run, _ = simulation(tmp_path, fleet([2.0], tail_s=2.0), schedule, Stop(time_ns=2 * S))
    run.begin()
    run.step()
    run.step()
    assert run.now_ns == S // 2
    assert run.ledger.wasted.energy_j == pytest.approx(0.5 + 1.0)
    schedule.length_ns = 100 * S
    run.run()
    run.finish()
    assert run.ledger.total.energy_j == pytest.approx(1.5 + 1.0 + 0.5)  # and half a second of training


@dataclass
class Alarms(Schedule):
    """Notes its timers."""

    rung: list[tuple[str, float]] = field(default_factory=list)

    def proceed(self, server: Server) -> None:
        if server.now_ns == 0:
            for name, due_s in (("a", 5), ("b", 3), ("c", 4), ("stop", 5), ("a", 6), ("c", 3)):
                server.set_timer(name, due_s * S)
            server.clear_timer("b")

    def on_timer(self, server: Server, name: str) -> None:
        self.rung.append((name, server.now_ns / 1e9))


def test_a_timer_is_the_one_set_last_and_its_name_is_the_schedules_own(tmp_path: Path) -> None:
    schedule = Alarms()
    run, _ = simulation(tmp_path, fleet([1.0]), schedule, Stop(time_ns=8 * S))
    run.begin()
    run.run()
    assert schedule.rung == [("c", 3), ("stop", 5), ("a", 6)]


def test_a_selector_may_look_at_what_was(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, Sync(2), 0.0, Stop(aggregations=2))
    run.run()
    assert run.server.history.duration_ns.tolist() == [3 * S, 8 * S]
    assert run.server.history.last_version.tolist() == [1, 1]
    assert run.server.history.aggregated.tolist() == [2, 2]
    assert run.server.history.dispatched.dtype == np.int32


def test_rows_of_a_job_stand_together_in_the_order_in_which_jobs_end(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, Buffered(2, 1, constant), 0.0, Stop(time_ns=7 * S), server=None)
    run.run()
    run.finish()
    rows = [(row[0], row[3]) for row in run.state()["recorder"]["events"]]
    assert rows == [(job, phase) for job in (0, 2) for phase in PHASE_NAMES] + [
        (1, "download"), (1, "train"), (3, "download"),
    ]  # fmt: skip
