"""W5: the engine alone: a fleet of equal boards always on line, and learning that only counts."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.availability import AlwaysOn, FleetAvailability
from edgesim.devices.fleet import Fleet
from edgesim.devices.shared import Shared
from edgesim.devices.workload import Workload
from edgesim.engine.learning import USUAL, Assignment, Loss, Merging, Received, Terms
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Sync
from edgesim.engine.selection import Uniform
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder
from edgesim.streams import generator

COHORT = 1_000


@dataclass
class Scores:
    accuracy: NDArray[np.float64]


class Counting:
    """Every payload is 1 MB, every training 1 GFLOP, every accuracy 0."""

    backend = "none"

    def __init__(self, clients: int) -> None:
        self._clients = clients
        work = Workload(
            layer_flops=np.array([1e9]), layer_density=np.array([1.0]), other_flops=0.0,
            traffic_bytes=0.0, steps=1, memory_bytes=1000,
        )  # fmt: skip
        self._assignment = Assignment(download_bytes=1_000_000, workload=work, upload_bytes=1_000_000)

    layers = 1
    model_bytes = 1_000_000

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        return [self._assignment] * len(clients)

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        return self._assignment

    def upload_bytes(self, job: int) -> int:
        raise AssertionError("the assignment says it")

    def loss(self, job: int) -> Loss | None:
        return None

    def arrive(self, job: int, client: int) -> None: ...

    def drop(self, job: int) -> None: ...

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> None: ...

    def evaluate(self) -> dict[str, float]:
        names = ("accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled", "loss", "density")
        return dict.fromkeys(names, 0.0)

    def scores(self) -> Scores:
        return Scores(np.zeros(self._clients))

    @property
    def samples(self) -> NDArray[np.int64]:
        return np.ones(self._clients, np.int64)

    @property
    def participants(self) -> NDArray[np.int64]:
        return np.arange(self._clients)

    def close(self) -> None:
        """Nothing to let go of."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


def fleet(devices: int) -> Fleet:
    """Boards of 1 GFLOP/s, give or take a factor e^±0.5, each on a link of 8 Mbit/s, in arrays."""
    one, group = np.ones(devices), np.zeros(devices, np.int32)

    def same(figure: float) -> Shared:
        return Shared(np.array([figure]), group)

    return Fleet(
        class_names=("board",), device_class=group,
        compute_flops=1e9 * np.exp(0.5 * generator(0, "speeds").standard_normal(devices)),
        bandwidth=one * 1e12, step_overhead_s=one * 0, sparse_efficiency=same(1),
        memory_bytes=np.full(devices, 10**9, np.int64), idle_w=same(0.25), training_w=same(1),
        down_bps=one * 8e6, up_bps=one * 8e6, latency_s=one * 0.01,
        receive_w=same(0.75), send_w=same(0.75), tail_s=same(0), tail_w=same(0), promotion_s=same(0),
        round_trips=same(0), window_bytes=same(0), compute_jitter=same(0), link_jitter=same(0),
        availability=FleetAvailability([AlwaysOn()], group, 0), battery_j=same(0), class_traits=(None,),
    )  # fmt: skip


def run(devices: int, jobs: int, around: AbstractContextManager[None] | None = None) -> float:
    """Seconds for so many jobs, in rounds of COHORT, with ledger and Parquet; the fleet is made before."""
    boards = fleet(devices)
    with tempfile.TemporaryDirectory() as folder:
        learning = Counting(devices)
        simulation = Simulation(
            fleet=boards, learning=learning, schedule=Sync(COHORT), selector=Uniform(0), rules=Rules(),
            recorder=Recorder(Path(folder), boards.class_names), evaluate=Evaluate(every_aggregations=10),
            stop=Stop(updates=jobs),
        )  # fmt: skip
        with around or nullcontext():
            begun = time.perf_counter()
            simulation.begin()
            simulation.run()
            simulation.finish()
            simulation.recorder.flush_partial()
            return time.perf_counter() - begun
