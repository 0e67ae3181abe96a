"""Faults that simulators of this kind have had, in whole runs from a scenario file: what must come out instead."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import wait_until
from whole import begun, written

import edgesim
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError, ScenarioError
from edgesim.execution import checkpoint
from edgesim.execution.pool import Pool
from edgesim.results.store import Run
from edgesim.scenario import running
from edgesim.scenario.assembly import assemble
from edgesim.scenario.loading import load
from edgesim.scenario.record import Record

SCENARIO = """
name: fault
task:
  dataset: {name: synthetic, samples: 160, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 8
  model: {name: mlp, hidden: [12]}
training: {lr: 0.05, batch_size: 5}
fleet: [{device: raspberry-pi-4, share: 1, link: ./line.yaml}]
schedule: {kind: sync, cohort: 4}
algorithm: fedavg
evaluate: {every: 1 aggregation}
stop: {aggregations: 6}
"""
LINE = """
link: line
rate: {down: 8 Mbit/s, up: 2 Mbit/s}
latency: 0 s
power: {receive: 0.2 W, send: 0.2 W}
confidence: low
sources: [made up]
"""
BUFFERED = "schedule={kind: buffered, concurrency: 6, buffer: 2, staleness: polynomial}"
COMING = "fleet.0.availability={kind: markov, on: 300 ms, off: 50 ms}"
UNEQUAL = "fleet.0.variation={compute: 0.6, link: 0.6}"


def scenario(folder: Path) -> Path:
    path = written(SCENARIO, folder)
    (folder / "line.yaml").write_text(LINE)
    return path


def ran(folder: Path, name: str, *overrides: str) -> Run:
    (run,) = edgesim.run(scenario(folder), out=folder / name, overrides=overrides).runs
    return run


def simulation(folder: Path, name: str, *overrides: str) -> Simulation:
    return begun(scenario(folder / name), *overrides)


def rows(made: Simulation) -> Any:
    made.finish()
    return made.recorder.state()


# ── an ideal world where a name is wrong or a file is missing ───────────────────────────────────────────────
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("schedule=buffred", "did you mean buffered"),
        ("fleet.0.availability=HOMOO-0.5", "unknown kind 'HOMOO-0.5'; choose one of always,"),
        ("fleet.0.device=rasberry-pi-4", "did you mean raspberry-pi-4"),
        ("fleet.0.link=wifi-hom", "did you mean wifi-home"),
        ("failures.transfer=resum", "did you mean resume"),
        ("execution.backend=non", "did you mean none"),
        ("fleet.0.devise=raspberry-pi-4", "unknown key; did you mean device"),
        ("fleet.0.device=./nowhere.yaml", "nowhere.yaml"),
        ("fleet.0.link=./nowhere.yaml", "nowhere.yaml"),
        ("fleet.0.availability={kind: trace, path: ./nowhere.csv}", "nowhere.csv"),
        ("network={sharing: max-min, server_trace: ./nowhere.csv}", "nowhere.csv"),
        ("schedule={kind: gossip, graph: {kind: file, path: nowhere.graphml}}", "nowhere.graphml"),
        ("profiles=./nowhere", "nowhere"),
        ("server.device=./nowhere.yaml", "nowhere.yaml"),
        ("costs.carbon=./nowhere.csv", "nowhere.csv"),
        ("task.dataset=./nowhere.npz", "nowhere.npz"),
        ("task.data_dir=./nowhere", "nowhere"),
        ("task.model=./nowhere.py:net", "nowhere.py"),
        ("algorithm=./nowhere.py:Mine", "nowhere.py"),
        ("selector=./nowhere.py:Mine", "nowhere.py"),
    ],
)
def test_a_wrong_name_or_a_missing_file_is_an_error_before_anything_is_written(
    tmp_path: Path, override: str, told: str
) -> None:
    """Never another world than the one that was asked for: all on line, at no cost, or of equal devices."""
    with pytest.raises(ScenarioError) as error:
        ran(tmp_path, "out", override)
    assert told in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "override",
    [
        "evaluate.every=0 s",
        "stop.time=0 s",
        "execution.checkpoint_every=0 s",
        "schedule={kind: periodic, concurrency: 4, every: 0 s}",
        "schedule={kind: deadline, cohort: 4, limit: 0 s}",
        "schedule={kind: safa, quota: 4, limit: 0 s}",
        "fleet.0.availability={kind: markov, on: 0 s, off: 1 s}",
        "fleet.0.availability={kind: bernoulli, window: 0 s, chance: 0.5}",
        "fleet.0.outages={every: 0 s, lasts: 1 s}",
    ],
)
def test_an_interval_of_nothing_is_refused_and_no_endless_loop(tmp_path: Path, override: str) -> None:
    with pytest.raises(ScenarioError, match=r"greater than|more than nothing"):
        ran(tmp_path, "out", override)


def test_a_run_does_not_begin_anew_where_its_checkpoint_is_damaged(tmp_path: Path) -> None:
    """Cut short, overwritten, or with a single bit that is not as written: it says so, and nothing is run."""
    (directory,) = running.prepare(load(scenario(tmp_path)), tmp_path / "out", replace=False)
    made = Record.read(directory)
    run = assemble(made.scenario, made.folder, directory)
    run.begin()
    run.run(lambda _: True, events=20)
    checkpoint.save(directory, run.state(), made.hash)
    content = (directory / checkpoint.FILE).read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b"", content[:middle], b"something else", flipped):
        (directory / checkpoint.FILE).write_bytes(damaged)
        with pytest.raises(RunError, match=r"state\.pt: this checkpoint is damaged"):
            running.run(directory, notify=lambda _: None, asked_to_stop=lambda: False)
    assert not (directory / "summary.json").exists()
    (directory / checkpoint.FILE).write_bytes(content)
    running.run(directory, notify=lambda _: None, asked_to_stop=lambda: False)
    assert (directory / "summary.json").exists()


# ── units and links ─────────────────────────────────────────────────────────────────────────────────────────
def test_a_transfer_takes_its_bytes_times_eight_over_its_own_direction(tmp_path: Path) -> None:
    """8 Mbit/s down and 2 Mbit/s up are 8·10^6 and 2·10^6 bit a second: 1 µs and 4 µs a byte, to the nanosecond.
    Sizes are those of the message: half as much of a masked model takes half the time but for its header."""
    seen = []
    for name, density in (("dense", 0.8), ("sparse", 0.4)):
        run = ran(tmp_path, name, f"algorithm={{name: fedspa, masking: rsm, density: {density}}}")
        found = run.events()
        taken_ns, size = found["end_ns"] - found["start_ns"], found["bytes"].astype(np.int64)
        for phase, ns in (("download", 1_000), ("upload", 4_000)):
            of = found["phase"] == phase
            assert size[of].min() > 0
            np.testing.assert_array_equal(taken_ns[of], ns * size[of])
        seen.append(taken_ns[found["phase"] == "upload"].mean())
    assert 0.4 < seen[1] / seen[0] < 0.75


def test_a_slow_device_stays_slow(tmp_path: Path) -> None:
    """Its pace is the device's own and no fresh draw for each job: all jobs of a client train equally long."""
    found = ran(tmp_path, "out", UNEQUAL, "schedule.cohort=8", "execution.backend=none").events()
    train = found["phase"] == "train"
    taken_ns, client = (found["end_ns"] - found["start_ns"])[train], found["client"][train]
    paces = [set(taken_ns[client == each].tolist()) for each in range(8)]
    assert {len(pace) for pace in paces} == {1}
    assert len(set.union(*paces)) == 8


# ── simulations that should not know of anything but their scenario ─────────────────────────────────────────
def test_simulations_of_other_settings_in_one_process_do_not_affect_each_other(tmp_path: Path) -> None:
    """Three that differ in nearly everything, trained in turns, a few events each: each as it is alone."""
    settings: list[Sequence[str]] = [
        (BUFFERED, COMING, "algorithm={name: fedspa, density: 0.5}"),
        (UNEQUAL, "algorithm=scaffold", "seed=7", "selector=round-robin"),
        ("schedule={kind: gossip}", "task.model={name: mlp, hidden: [5]}", "failures.training=resume", COMING),
    ]
    alone = []
    for number, overrides in enumerate(settings):
        run = simulation(tmp_path, f"alone-{number}", *overrides)
        run.run()
        alone.append(rows(run))
    together = [simulation(tmp_path, f"together-{number}", *overrides) for number, overrides in enumerate(settings)]
    turns = np.random.default_rng(0)
    while going := [run for run in together if not run.stopped]:
        going[int(turns.integers(len(going)))].run(lambda _: True, events=int(turns.integers(1, 9)))
    assert [rows(run) for run in together] == alone


SLEEPY = """
import os
import time
from dataclasses import dataclass
from pathlib import Path
from edgesim.algorithms.fedavg import FedAvg


@dataclass(frozen=True, kw_only=True)
class Sleepy(FedAvg):
    folder: str

    def local_start(self, payload, client):
        with Path(self.folder, "who").open("a") as file:
            file.write(f"{os.getpid()} ")
        time.sleep(0.02 * os.urandom(1)[0] / 255)
        return super().local_start(payload, client)
"""


def test_workers_that_are_late_at_random_change_nothing(tmp_path: Path) -> None:
    """Trained in one process and in three, each of which loses up to 20 ms a client: the same events and the same
    metrics, to the last bit. A server that took whatever came first would put a later update before an earlier."""
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    given = (
        BUFFERED,
        UNEQUAL,
        COMING,
        f"algorithm={{name: ./sleepy.py:Sleepy, folder: {tmp_path}}}",
        "execution.backend=loop",
        "stop.aggregations=9",
    )
    (planned,) = load(scenario(tmp_path), given).scenarios
    seen, trained = [], []
    for processes in (1, 3):
        run = assemble(planned.scenario, tmp_path, tmp_path / f"{processes}", processes=processes)
        if processes > 1:
            ready(run.learning._backend)  # type: ignore[attr-defined]
        (tmp_path / "who").write_text("")
        run.begin()
        run.run()
        seen.append(rows(run))
        trained.append(len(set((tmp_path / "who").read_text().split())))
        run.learning.close()
    assert seen[1] == seen[0]
    assert trained[0] == 1 < trained[1]


def ready(pool: Pool) -> None:
    """Wait until its workers have imported what they need, or this process would have trained all by then."""
    pool._start(pool._count)
    assert wait_until(lambda: all(worker.asks or worker.busy or worker.wire.poll() for worker in pool._workers))


# ── what modes are worth against one another ────────────────────────────────────────────────────────────────
def test_a_buffer_of_one_without_a_weight_is_fedasync_that_takes_each_model_whole(tmp_path: Path) -> None:
    """FedBuff of one adds the update to the newest model; FedAsync of α = 1 takes the client's whole model. They are
    the same where no update is stale, that is with one client at work."""
    one = "schedule={kind: buffered, concurrency: 1, buffer: 1}"
    buffered = ran(tmp_path, "buffered", one).metrics()
    fedasync = ran(
        tmp_path, "fedasync", "schedule={kind: async, concurrency: 1}", "server.rule={name: fedasync, mixing: 1}"
    ).metrics()
    assert buffered["version"].tolist() == fedasync["version"].tolist() == list(range(7))
    for column in ("time_s", "bytes_up", "energy_j", "jobs_aggregated"):
        assert buffered[column].tolist() == fedasync[column].tolist()
    np.testing.assert_allclose(buffered["loss"], fedasync["loss"], rtol=1e-5)
    assert buffered["loss"][-1] < buffered["loss"][0]


def test_staleness_is_of_updates_that_arrived_and_of_no_others(tmp_path: Path) -> None:
    """Jobs that are lost or in flight have none, rather than −1 or whatever else would spoil a mean; and where a
    buffer holds back, some updates are not stale at all."""
    run = ran(tmp_path, "out", BUFFERED, COMING, UNEQUAL, "stop.aggregations=60", "evaluate.every=30 aggregations")
    found = run.events()
    staleness, has = np.nan_to_num(found["staleness"].astype(float), nan=-1), np.isin(found["outcome"], ["done"])
    arrived = has & (found["phase"] == "upload")
    assert (found["outcome"] == "lost").any()
    assert ((staleness >= 0) == arrived).all()
    assert {0.0, 1.0} <= set(staleness[arrived].tolist())
    assert run.analysis()["staleness"]["all"]["mean"] == pytest.approx(staleness[arrived].mean())


def test_the_worst_tenth_of_three_clients_is_the_worst_of_them(tmp_path: Path) -> None:
    """A tenth of three is not nobody."""
    run = ran(tmp_path, "out", "task.clients=3", "schedule.cohort=3")
    assert run.metrics()["accuracy_worst10"][-1] == run.clients()["accuracy"].min()
