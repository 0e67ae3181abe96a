"""Smooth jobs: planned and booked together, they come out to the last bit as planned and booked one at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import fleet, simulation

from edgesim.devices.availability import AlwaysOn, Markov, Process
from edgesim.devices.cost import compute_ns, computes_ns
from edgesim.devices.traits import Traits
from edgesim.devices.workload import Workload
from edgesim.engine import history, journal, ledger, outlines, planning
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.outages import ServerOutages
from edgesim.engine.rules import Rules
from edgesim.engine.scalars import MANY
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

S = 1_000_000_000


@dataclass(frozen=True)
class Sizes:
    """What is done together: plans, and notes of a dispatch, from so many on, books from more than these, up to these;
    outlines of the whole fleet, once so many jobs are so few times less; arrivals of a round."""

    many: int
    few: int
    most: int
    worth: int
    waves: bool


SINGLY = Sizes(many=10**9, few=10**9, most=10**9, worth=0, waves=False)
TOGETHER = [
    Sizes(many=1, few=0, most=5, worth=1, waves=True),
    Sizes(many=1, few=0, most=10**6, worth=10**9, waves=True),
    Sizes(many=16, few=16, most=50, worth=4, waves=False),
    Sizes(many=10**9, few=10**9, most=10**9, worth=10**9, waves=True),
]


@contextmanager
def doing(sizes: Sizes) -> Iterator[None]:
    with (
        mock.patch.object(planning, "MANY", sizes.many),
        mock.patch.object(history, "MANY", sizes.many),
        mock.patch.object(ledger, "MANY", sizes.many),
        mock.patch.object(journal, "_FEW", sizes.few),
        mock.patch.object(journal, "_MOST", sizes.most),
        mock.patch.object(outlines, "_WORTH", sizes.worth),
        mock.patch.object(Sync, "waits_for_all", sizes.waves),
    ):
        yield


def seen(
    sizes: Sizes, speeds: list[float], availability: Process, rules: Rules, schedule: Schedule,
    radio: Sequence[float], stop: Stop, evaluate: Evaluate, broken_off_after: int,
) -> tuple[Any, ...]:  # fmt: skip
    """Everything that a run leaves: rows, books, laws. It is broken off once, and goes on from what it had written
    down."""
    tail_s, promotion_s, round_trips, window, *jitter = radio
    devices = fleet(
        speeds, availability=availability, tail_s=tail_s, promotion_s=promotion_s, latency_s=0.013,
        connection=(round_trips, window), jitter=(jitter[0], jitter[1]),
    )  # fmt: skip

    def make(folder: Path, recorder: Recorder | None = None) -> Simulation:
        kind, options = type(schedule), {k: v for k, v in vars(schedule).items() if k != "received"}
        run, _ = simulation(
            folder, devices, kind(**options), stop, rules=rules, evaluate=evaluate, recorder=recorder
        )  # fmt: skip
        return run

    with TemporaryDirectory() as folder, doing(sizes):
        run = make(Path(folder))
        run.begin()
        left = [broken_off_after]

        def pause(_: Simulation) -> bool:
            left[0] -= 1
            return left[0] == 0

        if not run.run(pause, events=1):
            state = run.state()
            run = make(Path(folder), Recorder.restore(Path(folder), state["recorder"]))
            run.restore(state)
            run.run()
        laws = run.finish()
        end = run.state()
    return end["recorder"], {name: repr(value) for name, value in end["ledger"].items()}, laws, run.now_ns


OUTAGE = ServerOutages(starts_ns=(3 * S,), ends_ns=(5 * S,), period_ns=20 * S)
WORLDS: dict[str, tuple[Process, Rules]] = {
    "always": (AlwaysOn(), Rules()),
    "absences": (Markov(mean_on_s=12.0, mean_off_s=3.0), Rules()),
    "absences, resumed": (Markov(mean_on_s=4.0, mean_off_s=3.0), Rules(transfer="resume", training="resume")),
    "outages": (AlwaysOn(), Rules(outages=OUTAGE)),
    "both": (Markov(mean_on_s=9.0, mean_off_s=3.0), Rules(outages=OUTAGE)),
}


UNLIKE = np.exp(np.random.default_rng(1).normal(size=40)).tolist()
ALIKE = [1.0, 2.0] * 20  # arrivals at one instant, and at those of timers

RADIOS = [  # tail and promotion; round trips and window; jitter of training and link
    (0.0, 0.0, 0, 0, 0.0, 0.0), (0.7, 0.0, 0, 5e3, 0.0, 0.0), (0.0, 0.3, 2, 0, 0.0, 0.0), (4.0, 0.3, 0, 0, 0.0, 0.0),
    (1.1, 0.3, 3, 2e3, 0.2, 0.4),
]  # fmt: skip


@given(
    st.sampled_from(TOGETHER),
    st.sampled_from([UNLIKE, ALIKE]),
    st.sampled_from(list(WORLDS)),
    st.sampled_from([Sync(20), Buffered(30, 7, Polynomial(0.5))]),
    st.sampled_from(RADIOS),
    st.sampled_from([Stop(updates=150), Stop(time_ns=25 * S)]),
    st.sampled_from([Evaluate(every_aggregations=3), Evaluate(every_ns=S + 13 * S // 500), Evaluate(every_ns=S // 3)]),
    st.integers(1, 200),
)
@settings(max_examples=100)
def test_together_is_one_at_a_time(
    sizes: Sizes, speeds: list[float], world: str, schedule: Schedule, radio: Sequence[float],
    stop: Stop, evaluate: Evaluate, broken_off_after: int,
) -> None:  # fmt: skip
    rest = speeds, *WORLDS[world], schedule, radio, stop, evaluate
    singly = seen(SINGLY, *rest, 0)
    assert seen(sizes, *rest, broken_off_after) == singly
    assert len(singly[0]["events"]) > 50


def test_a_round_of_an_untroubled_fleet_arrives_at_once(tmp_path: Path) -> None:
    clients = MANY
    run, learning = simulation(tmp_path, fleet([3.0, 1.0, *[2.0] * (clients - 2)]), Sync(clients), Stop(aggregations=1))
    run.begin()
    steps = []
    while not run.stopped:
        steps.append(run.step())
    assert steps == [1, clients, 1]  # the schedule dispatches, all arrive, the schedule aggregates
    order = [update.client for update in learning.aggregations[0]]
    assert (order[0], order[-1], sorted(order)) == (1, 0, list(range(clients)))


def test_most_jobs_of_an_untroubled_fleet_go_smoothly(tmp_path: Path) -> None:
    run, _ = simulation(tmp_path, fleet([1.0, 2.0, 3.0]), Sync(3), Stop(aggregations=1))
    run.begin()
    run.server.proceed()
    assert [job.smooth is not None for job in run.server.jobs.values()] == [True] * 3


def test_to_look_at_a_plan_leaves_it_smooth_and_to_change_it_does_not(tmp_path: Path) -> None:
    run, _ = simulation(tmp_path, fleet([1.0]), Sync(1), Stop(aggregations=1))
    run.begin()
    run.server.proceed()
    (job,) = run.server.jobs.values()
    plan = job.planned()
    assert job.smooth is not None
    assert [stretch.end_ns for stretch in plan] == [1 * S, 2 * S, 3 * S]
    job.stretches[-1] = job.stretches[-1]._replace(outcome="stale")
    assert job.smooth is None
    assert job.planned()[-1].outcome == "stale"


# ── training times ──────────────────────────────────────────────────────────────────────────────────────
TRAITS = [
    None,
    Traits(compute_flops=2e9, bandwidth=1e9, burst=2.0, burst_s=0.5),
    Traits(
        compute_flops=3e9, bandwidth=1e9, convolution_flops=1e9, layer_overhead_s=1e-5, activation_bandwidth=2e9,
        overlap=False, convolution_bandwidth=1e9, sparse_curve=((0.1, 4.0), (0.5, 1.5)),
    ),
]  # fmt: skip


def work(rng: np.random.Generator) -> Workload:
    return Workload(
        layer_flops=rng.uniform(1e7, 1e9, 3), layer_density=rng.uniform(0, 1, 3),
        other_flops=float(rng.uniform(0, 1e8)),
        traffic_bytes=float(rng.uniform(1e6, 1e9)), steps=int(rng.integers(1, 90)), memory_bytes=1,
        layer_convolution=rng.uniform(size=3) < 0.5, layer_calls=int(rng.integers(0, 200)),
        activation_bytes=float(rng.uniform(0, 1e6)), convolution_bytes=float(rng.uniform(0, 1e6)),
    )  # fmt: skip


@pytest.mark.parametrize("sparse_speedup", ["ideal", "realised"])
def test_training_times_together_are_those_of_single_jobs(sparse_speedup: Any) -> None:
    """Of three classes, each with traits of its own, in company of workloads that some share."""
    rng = np.random.default_rng(0)
    kinds, n = [work(rng) for _ in range(20)], 200
    works = [kinds[i] for i in rng.integers(0, len(kinds), n)]
    of_class = rng.integers(0, 3, n).astype(np.int32)
    rates = {
        "compute_flops": rng.uniform(1e8, 1e10, n), "bandwidth": rng.uniform(1e8, 1e10, n),
        "step_overhead_s": rng.uniform(0, 1e-3, n), "sparse_efficiency": rng.choice([0.3, 0.7], n),
    }  # fmt: skip
    found = computes_ns(works, **rates, sparse_speedup=sparse_speedup, class_traits=TRAITS, device_class=of_class)
    for i, one in enumerate(works):
        own = {name: float(column[i]) for name, column in rates.items()}
        assert found[i] == compute_ns(one, **own, sparse_speedup=sparse_speedup, traits=TRAITS[of_class[i]])
