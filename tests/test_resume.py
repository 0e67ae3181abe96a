"""Killed, not lost (P8): a run that SIGKILL hit at any instant, once or several times, and that was then
resumed leaves the same files, byte for byte, as one that nobody touched."""

import os
import random
import signal
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from processes import Process, Server, files, unlike, wait_until
from tiny import ALGORITHMS, FAILURES, SCHEDULES, SWEEP, sets, write

from edgesim.engine.job import Job, Phase
from edgesim.execution import checkpoint
from edgesim.results.store import Results
from edgesim.scenario import closing, running
from edgesim.scenario.assembly import assemble
from edgesim.scenario.loading import load
from edgesim.scenario.record import Record

CASES = [*product(SCHEDULES, ("fedavg", "fedspa-dst"), FAILURES)]


def overrides(schedule: str, algorithm: str, failures: str) -> tuple[str, str, str]:
    return SCHEDULES[schedule], ALGORITHMS[algorithm], FAILURES[failures]


def version(run: Path) -> object:
    """Changes whenever a new checkpoint takes the place of the last."""
    try:
        found = os.stat(run / checkpoint.FILE)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def kill_after(process: Process, run: Path, checkpoints: int, delay_s: float) -> bool:
    """Kill the process a moment after so many checkpoints; False if it came to its end before that."""
    for _ in range(checkpoints):
        last = version(run)
        wait_until(lambda last=last: version(run) not in (last, None) or not process.running())  # type: ignore[misc]
    time.sleep(delay_s)
    return process.kill().code == -signal.SIGKILL


@pytest.mark.parametrize(("schedule", "algorithm", "failures"), CASES)
def test_killed_several_times_and_resumed_leaves_the_same_files(
    server: Server, tmp_path: Path, schedule: str, algorithm: str, failures: str
) -> None:
    scenario, out = write(tmp_path), tmp_path / "killed"
    chosen = sets(*overrides(schedule, algorithm, failures))
    whole = server.start("run", scenario, "--out", tmp_path / "whole", *chosen)
    rng = random.Random(f"{schedule} {algorithm} {failures}")
    kills = 0
    command: tuple[str | Path, ...] = ("run", scenario, "--out", out, *chosen)
    for _ in range(3):
        process = server.start(*command)
        killed = kill_after(process, out / algorithm.split("-")[0], rng.randint(1, 3), rng.uniform(0, 0.05))
        if not killed:
            break
        kills, command = kills + 1, ("resume", out)
    assert server.run("resume", out).code == 0
    assert whole.wait().code == 0
    assert kills >= 2, "the run was too short for this test"
    assert unlike(files(tmp_path / "whole"), files(out)) == []


def test_killed_before_the_first_checkpoint_starts_again(server: Server, tmp_path: Path) -> None:
    scenario, out = write(tmp_path), tmp_path / "killed"
    chosen = sets("execution.checkpoint_every=1 h")
    whole = server.start("run", scenario, "--out", tmp_path / "whole", *chosen)
    process = server.start("run", scenario, "--out", out, *chosen)
    process.wait_for((out / "fedavg" / "checkpoint").is_dir)  # the run has begun
    time.sleep(0.1)
    assert process.kill().code == -signal.SIGKILL
    assert not (out / "fedavg" / checkpoint.FILE).exists()
    assert server.run("resume", out).code == 0
    assert whole.wait().code == 0
    assert unlike(files(tmp_path / "whole"), files(out)) == []


@pytest.mark.parametrize("everyone", [True, False], ids=["the whole group", "the parent alone"])
def test_a_sweep_on_two_workers_killed_and_resumed(server: Server, tmp_path: Path, everyone: bool) -> None:
    scenario, out = write(tmp_path), tmp_path / "killed"
    whole = server.start("run", scenario, "--out", tmp_path / "whole", "--workers", "1", *sets(SWEEP))
    process = server.start("run", scenario, "--out", out, "--workers", "2", *sets(SWEEP))
    process.wait_for(lambda: any(out.glob(f"*/{checkpoint.FILE}")))
    if everyone:
        process.kill()
    else:  # its workers must see that, and let go of their runs
        process.send(signal.SIGKILL)
        process.wait()
        assert wait_until(lambda: not alive(process.pid), every_s=0.05)
    assert not all((run / "summary.json").exists() for run in out.iterdir())
    assert server.run("resume", out, "--workers", "1").code == 0
    assert whole.wait().code == 0
    assert unlike(files(tmp_path / "whole"), files(out)) == []


def alive(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_sweep_killed_while_its_directories_are_made_is_taken_up_by_run(server: Server, tmp_path: Path) -> None:
    scenario, out = write(tmp_path), tmp_path / "killed"
    swept = sets("sweep={seed: [0, 1]}")
    assert server.run("run", scenario, "--out", out, "--workers", "1", *swept).code == 0
    whole = files(out)
    for path in (out / "fedavg_seed=1").iterdir():  # as if the command had never got to the second directory
        path.unlink()
    assert server.run("run", scenario, "--out", out, "--workers", "1", *swept).code == 0
    assert unlike(whole, files(out)) == []


def test_killed_between_the_last_file_and_tidying_up(server: Server, tmp_path: Path) -> None:
    scenario, out = write(tmp_path), tmp_path / "killed"
    assert server.run("run", scenario, "--out", out).code == 0
    whole = files(out)
    for command in (("resume", out), ("run", scenario, "--out", out)):
        (out / "fedavg" / "checkpoint").mkdir()
        (out / "fedavg" / checkpoint.FILE).write_bytes(b"left behind")
        (out / "fedavg" / ".lock").touch()
        assert server.run(*command).code == 0
        assert unlike(whole, files(out)) == []


@pytest.mark.parametrize(("schedule", "algorithm", "failures"), CASES)
def test_a_checkpoint_every_twenty_events_holds_all_there_is(
    tmp_path: Path, schedule: str, algorithm: str, failures: str
) -> None:
    """In one process, and so at instants that are always the same: transfers in flight, devices away, orders
    not trained yet and updates that wait for others are all among what was written down."""
    states = taken_up_every_twenty_events(tmp_path, *overrides(schedule, algorithm, failures), "stop.updates=240")
    assert len(states) > 20
    standing = {standing_in(Job.restored(fields), state["now_ns"]) for state in states for fields in flying(state)}
    assert standing - {None} == set(Phase)
    assert (None in standing) == (failures == "resume")
    assert any(state["learning"]["training"]["waiting"] for state in states)
    assert any(state["server"]["schedule"]["received"] for state in states)


@pytest.mark.parametrize(
    "chosen",
    [
        ("schedule={kind: timelyfl, concurrency: 8, wait_for: 4, slack: 1.2}",),
        ("algorithm={name: flash, warm_up_share: 1}", SCHEDULES["sync"]),
        ("algorithm=prunefl", SCHEDULES["sync"]),
        (
            "failures.out_of_memory=shrink-batch",
            "fleet=[{device: stm32h7, share: 1, link: wifi-iot}]",
            "training.batch_size=32",
            "task.model.hidden=[2500]",
        ),
    ],
    ids=["timelyfl", "flash", "prunefl", "shrink-batch"],
)
def test_jobs_with_a_solver_of_their_own_are_taken_up(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    states = taken_up_every_twenty_events(tmp_path, *chosen, "stop.updates=60")
    assert any(order[-1] for state in states for order in state["learning"]["training"]["waiting"])


@pytest.mark.parametrize(
    ("schedule", "stop", "by"),
    [
        (SCHEDULES["sync"], "{updates: 100000}", "fleet"),
        (SCHEDULES["buffered"], "{time: 9 s}", "time"),
        ("schedule={kind: gossip, graph: ring}", "{time: 9 s}", "time"),
    ],
)
def test_a_fleet_that_leaves_for_good_ends_the_run(tmp_path: Path, schedule: str, stop: str, by: str) -> None:
    (tmp_path / "once.csv").write_text("device,start_s,end_s\na,0,2\nb,0.5,3\n")
    availability = "fleet.0.availability={kind: trace, path: once.csv, loop: false}"
    fleet = "fleet=[{device: raspberry-pi-4, share: 1, link: lte}]"
    taken_up_every_twenty_events(tmp_path, schedule, fleet, availability, f"stop={stop}")
    (run,) = Results.read(tmp_path / "taken-up").runs
    assert run.summary is not None
    assert run.summary["stopped_by"] == by
    assert run.summary["final"]["updates"] > 0
    (note,) = run.summary["notes"]
    assert note.startswith("from ")
    assert "s on nobody works: " in note
    times = run.metrics()["time_s"]
    if by == "time":
        assert times.tolist() == [0.5 * number for number in range(19)]
    else:
        assert times[-1] <= 3


def taken_up_every_twenty_events(folder: Path, *chosen: str) -> list[dict[str, Any]]:
    """The states in which a run was written down and taken up again; it leaves the files of one that was not."""
    plan = load(write(folder), list(chosen))
    whole, taken_up = (running.prepare(plan, folder / name, replace=False)[0] for name in ("whole", "taken-up"))
    made = Record.read(whole)
    states: list[dict[str, Any]] = []

    simulation = assemble(made.scenario, made.folder, whole)
    simulation.begin()
    assert simulation.run()
    closing.close(simulation, made)

    simulation = assemble(made.scenario, made.folder, taken_up)
    simulation.begin()
    while not simulation.run(lambda _: True, events=20):
        checkpoint.save(taken_up, simulation.state(), made.hash)
        state = checkpoint.load(taken_up, made.hash)
        assert state is not None
        states.append(state)
        simulation = assemble(made.scenario, made.folder, taken_up, state)
    closing.close(simulation, made)
    (taken_up / checkpoint.FILE).unlink()
    assert unlike(files(whole), files(taken_up)) == []
    return states


def flying(state: dict[str, Any]) -> list[tuple[Any, ...]]:
    jobs: list[tuple[Any, ...]] = state["server"]["flight"]["jobs"]
    return jobs


def standing_in(job: Job, now_ns: int) -> int | None:
    """The phase that a job is in; None while its device is away."""
    inside = (stretch.phase for stretch in job.stretches if stretch.start_ns <= now_ns < stretch.end_ns)
    return next(inside, None)
