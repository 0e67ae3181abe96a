"""Small worlds for engine tests: a fleet given by numbers, and learning that only counts."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Process, Trajectories
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Network
from edgesim.devices.workload import Workload
from edgesim.engine.emissions import Emissions
from edgesim.engine.learning import USUAL, Assignment, Loss, Merging, Received, Terms
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.power import Power
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Schedule
from edgesim.engine.selection import Uniform
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

MB = 1_000_000


def fleet(
    train_s: Sequence[float],
    *,
    rate_bps: float = 8e6,
    memory_bytes: int = 10**9,
    availability: Process | None = None,
    tail_s: float = 0.0,
    promotion_s: float = 0.0,
    connection: tuple[float, float] = (0.0, 0.0),
    jitter: tuple[float, float] = (0.0, 0.0),
    latency_s: float = 0.0,
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
        battery_j=one * 0,
        down_bps=one * rate_bps,
        up_bps=one * rate_bps,
        latency_s=one * latency_s,
        receive_w=one * 0.75,
        send_w=one * 0.75,
        tail_s=one * tail_s,
        tail_w=one * 0.5,
        promotion_s=one * promotion_s,
        round_trips=one * connection[0],
        window_bytes=one * connection[1],
        compute_jitter=one * jitter[0],
        link_jitter=one * jitter[1],
        availability=FleetAvailability([availability or AlwaysOn()], group, seed),
        class_traits=(None,),
    )


def workload(flops: float) -> Workload:
    return Workload(
        layer_flops=np.array([flops]), layer_density=np.array([1.0]), other_flops=0.0,
        traffic_bytes=0.0, steps=1, memory_bytes=1000,
    )  # fmt: skip


class Gap(Trajectories):
    """On line but for one gap [start, end); end None: for ever."""

    def __init__(self, start_ns: int, end_ns: int | None) -> None:
        self.start_ns, self.end_ns = start_ns, end_ns

    def start(self, seed: int) -> "Gap":
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        return t_ns < self.start_ns or (self.end_ns is not None and t_ns >= self.end_ns)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        return next((at for at in (self.start_ns, self.end_ns) if at is not None and at > t_ns), None)

    def on_ns_many(self, devices: Any, t_ns: int, since_ns: int = 0) -> Any:
        def on_ns(until_ns: int) -> int:
            end_ns = until_ns if self.end_ns is None else min(until_ns, self.end_ns)
            return until_ns - max(end_ns - self.start_ns, 0)

        return np.full(len(devices), on_ns(t_ns) - on_ns(since_ns), np.int64)


class Scores:
    def __init__(self, clients: int) -> None:
        self.accuracy: NDArray[np.float64] = np.zeros(clients)


@cache
def assignment(epochs: int, part: float) -> Assignment:
    """Of so many epochs of a part of the model; jobs of one kind share theirs."""
    return Assignment(download_bytes=MB, workload=workload(1e9 * epochs * part), upload_bytes=round(MB * part))


class Counting:
    """Learning without learning: every payload is 1 MB, every training 1 GFLOP; it notes what it is told.

    With `late` the size of an upload comes out after training; `server_work` is what an aggregation takes.
    """

    def __init__(self, clients: int, *, late: bool = False, server_work: Workload | None = None) -> None:
        self.clients, self.late, self.server_work = clients, late, server_work
        self.aggregations: list[list[Received]] = []
        self.open: dict[int, int] = {}
        self.terms: dict[int, Terms] = {}
        self.mergings: list[Merging | None] = []

    backend = "none"

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        every = terms or [USUAL] * len(clients)
        return [self.dispatch(first_job + place, client, every[place]) for place, client in enumerate(clients)]

    def dispatch(self, job: int, client: int, terms: Terms) -> Assignment:
        assert client not in self.open.values(), "a client in flight twice"
        self.open[job] = client
        self.terms[job] = terms
        assigned = self.cost(client, terms)
        return replace(assigned, upload_bytes=None) if self.late else assigned

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        """An epoch of all four layers is 1 GFLOP; each layer is a quarter of that, and of the upload."""
        layers, epochs = terms.layers or self.layers, terms.epochs or 1
        return assignment(epochs, layers / self.layers)

    layers = 4
    model_bytes = MB

    def upload_bytes(self, job: int) -> int:
        assert self.late, "asked for a size that was given"
        return MB

    def loss(self, job: int) -> Loss | None:
        return Loss(1.0 + job % 7, (1.0 + job % 7) ** 2)

    def arrive(self, job: int, client: int) -> None:
        del self.open[job]

    def drop(self, job: int) -> None:
        self.open.pop(job, None)

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        self.mergings.append(merging)
        self.aggregations.append(list(received))
        return self.server_work

    def evaluate(self) -> dict[str, float]:
        names = ("accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled", "loss", "density")
        return dict.fromkeys(names, 0.0)

    def scores(self) -> Scores:
        return Scores(self.clients)

    @property
    def samples(self) -> NDArray[np.int64]:
        return np.ones(self.clients, np.int64)

    @property
    def participants(self) -> NDArray[np.int64]:
        return np.arange(self.clients)

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
    learning: Counting | None = None,
    server: Device | None = None,
    network: Network | None = None,
    power: Power | None = None,
    emissions: Emissions | None = None,
) -> tuple[Simulation, Counting]:
    """A run of counting learners on these devices, not begun."""
    learning = learning or Counting(len(devices))
    run = Simulation(
        fleet=devices,
        learning=learning,
        schedule=schedule,
        selector=Uniform(seed),
        rules=rules or Rules(),
        recorder=recorder or Recorder(folder, devices.class_names),
        evaluate=evaluate or Evaluate(every_aggregations=10**9),
        stop=stop,
        server=server,
        network=network,
        power=power,
        emissions=emissions,
    )
    return run, learning


def ended(*where: Any, **given: Any) -> tuple[Simulation, Counting]:
    """A `simulation`, run to its end."""
    run, learning = simulation(*where, **given)
    run.begin()
    run.run()
    run.finish()
    return run, learning


def received(learning: Counting) -> list[list[tuple[int, int]]]:
    """(client, staleness) of each aggregation."""
    return [[(update.client, update.staleness) for update in each] for each in learning.aggregations]


def events(run: Simulation) -> list[tuple[Any, ...]]:
    """What was recorded so far: (client, phase, start_s, end_s, outcome)."""
    rows = run.state()["recorder"]["events"]
    return [(row[1], row[3], row[4] / 1e9, row[5] / 1e9, row[10]) for row in rows]
