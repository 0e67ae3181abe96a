"""Small worlds for engine tests: a fleet given by numbers, and learning that only counts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Process
from edgesim.devices.fleet import Fleet
from edgesim.devices.workload import Workload
from edgesim.engine.jobs import Rules
from edgesim.engine.learning import Assignment, Received
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.schedules import Schedule
from edgesim.engine.selection import Uniform
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder


def fleet(
    train_s: Sequence[float],
    *,
    rate_bps: float = 8e6,
    memory_bytes: int = 10**9,
    availability: Process | None = None,
    tail_s: float = 0.0,
    seed: int = 0,
) -> Fleet:
    """One device per entry: a job of 1 GFLOP trains `train_s`; 1 MB takes 1 s either way; 1 W in every state."""
    n = len(train_s)
    one, group = np.ones(n), np.zeros(n, np.int32)
    return Fleet(
        class_names=("board",),
        device_class=group,
        compute_flops=1e9 / np.array(train_s, float),
        bandwidth=one * 1e12,
        step_overhead_s=one * 0,
        sparse_efficiency=one,
        memory_bytes=np.full(n, memory_bytes, np.int64),
        idle_w=one * 0.25,
        training_w=one,
        down_bps=one * rate_bps,
        up_bps=one * rate_bps,
        latency_s=one * 0,
        receive_w=one * 0.75,
        send_w=one * 0.75,
        tail_s=one * tail_s,
        tail_w=one * 0.5,
        availability=FleetAvailability([availability or AlwaysOn()], group, seed),
    )


class Scores:
    def __init__(self, clients: int) -> None:
        self.accuracy: NDArray[np.float64] = np.zeros(clients)


class Counting:
    """Learning without learning: every payload is 1 MB, every training 1 GFLOP; it notes what it is told."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.aggregations: list[list[Received]] = []
        self.open: dict[int, int] = {}

    backend = "none"

    def dispatch(self, job: int, client: int, version: int) -> Assignment:
        assert client not in self.open.values(), "a client in flight twice"
        self.open[job] = client
        work = Workload(
            layer_flops=np.array([1e9]), layer_density=np.array([1.0]), other_flops=0.0,
            traffic_bytes=0.0, steps=1, memory_bytes=1000,
        )  # fmt: skip
        return Assignment(download_bytes=1_000_000, workload=work, upload_bytes=1_000_000)

    def upload_bytes(self, job: int) -> int:
        raise AssertionError("asked for a size that was given")

    def arrive(self, job: int, client: int) -> None:
        del self.open[job]

    def drop(self, job: int) -> None:
        self.open.pop(job, None)

    def aggregate(self, received: Sequence[Received]) -> None:
        self.aggregations.append(list(received))

    def evaluate(self) -> dict[str, float]:
        names = ("accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled", "loss", "density")
        return dict.fromkeys(names, 0.0)

    def scores(self) -> Scores:
        return Scores(self.clients)

    @property
    def samples(self) -> NDArray[np.int64]:
        return np.ones(self.clients, np.int64)

    def close(self) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"aggregations": [[tuple(u) for u in a] for a in self.aggregations], "open": dict(self.open)}

    def restore(self, state: dict[str, Any]) -> None:
        self.aggregations = [[Received(*u) for u in a] for a in state["aggregations"]]
        self.open = dict(state["open"])


def simulation(
    folder: Path,
    devices: Fleet,
    schedule: Schedule,
    stop: Stop,
    *,
    rules: Rules | None = None,
    evaluate: Evaluate | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> tuple[Simulation, Counting]:
    """A run of counting learners on these devices, not begun."""
    learning = Counting(len(devices))
    run = Simulation(
        fleet=devices,
        learning=learning,
        schedule=schedule,
        selector=Uniform(seed),
        rules=rules or Rules(),
        recorder=recorder or Recorder(folder, devices.class_names),
        evaluate=evaluate or Evaluate(every_aggregations=10**9),
        stop=stop,
    )
    return run, learning


def events(run: Simulation) -> list[tuple[Any, ...]]:
    """What was recorded so far: (client, phase, start_s, end_s, outcome)."""
    rows = run.recorder.state()["events"]
    return [(row[1], row[3], row[4] / 1e9, row[5] / 1e9, row[10]) for row in rows]
