"""The command line as a person meets it: what it prints, where, and with which exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import Server, files, refused, unlike
from tiny import SWEEP, sets, write

import edgesim
from edgesim.errors import RunError, ScenarioError
from edgesim.execution import checkpoint
from edgesim.results.store import Results

PLANTED = """\
name: planted
seed: -1
sed: 3
task:
  dataset: digitz
  data_dir: nowhere
  partition: {kind: dirichlet, alpha: 0.3, alhpa: 2}
  clients: 10
  model: mlpp
training: {lr: 0, batchsize: 5}
fleet:
  - {device: rasberry-pi-4, share: 1, link: wifi-home, availability: {kind: markov, on: 30, off: 10 Mbit/s}}
failures: {transfer: retrie}
schedule: {kind: sync, cohort: 20}
algorithm: {name: fedspa, density: 2, mask: rsm}
evaluate: {every: 5 mins}
stop: {energy: 3 W}
"""
TOLD = (  # one a mistake: where it stands, what it is about, what would do
    ("2:7", "seed", "greater than or equal to 0"),
    ("3:1", "sed", "did you mean seed?"),
    ("5:12", "task.dataset", "did you mean digits?"),
    ("6:13", "task.data_dir", "no folder"),
    ("7:44", "task.partition.alhpa", "did you mean alpha?"),
    ("9:10", "task.model", "did you mean mlp?"),
    ("10:16", "training.lr", "greater than 0"),
    ("10:19", "training.batchsize", "did you mean batch_size?"),
    ("12:14", "fleet.0.device", "did you mean raspberry-pi-4?"),
    ("12:89", "fleet.0.availability.on", "missing unit in 30; write e.g. 5 min"),
    ("12:98", "fleet.0.availability.off", "is a rate; a time is wanted"),
    ("13:22", "failures.transfer", "did you mean retry? (abort, resume, retry)"),
    ("15:36", "algorithm.density", "less than or equal to 1"),
    ("15:39", "algorithm.mask", "did you mean masking?"),
    ("16:19", "evaluate.every", "did you mean min?"),
    ("17:16", "stop.energy", "is a power; an energy is wanted"),
)


def test_brackets_in_a_path_are_no_mark_up(server: Server, tmp_path: Path) -> None:
    """As they are where edgesim colours its own words."""
    path, out = write(tmp_path).rename(tmp_path / "my[red].yaml"), tmp_path / "out[red]"
    assert f"{path}: fine; 1 run" in server.run("validate", path).out
    few = ["--workers", "1", *sets("stop.updates=10")]
    assert server.run("run", path, "--out", out, *few).code == 0
    assert f"{out} holds the finished results" in server.run("run", path, "--out", out, *few).err


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "edgesim", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pydantic", "pyarrow", "matplotlib", "sklearn", "scipy", "simpy"}
    for verb in ("run", "resume", "validate", "plot", "analyze", "devices", "algorithms", "scenarios", "schema"):
        assert re.search(rf"\b{verb}\b", ended.stdout)


def test_it_says_which_edgesim_runs_and_from_where() -> None:
    """In the folder of a checkout that one is meant, elsewhere the installed one: which of them is easily mistaken."""
    command = [sys.executable, "-m", "edgesim", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    where = Path(edgesim.__file__).parent
    assert re.fullmatch(rf"edgesim [\d.]+, {re.escape(str(where))}, Python 3\.\d+\.\S+\n", ended.stdout)


def test_every_mistake_of_a_file_is_told_at_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "planted.yaml"
    path.write_text(PLANTED)
    for command in (("run", path, "--out", tmp_path / "out"), ("validate", path)):
        ended = server.run(*command)
        refused(ended)
        lines = ended.err.removeprefix("edgesim: ").splitlines()
        assert len(lines) == len(TOLD)
        for place, what, advice in TOLD:
            assert any(f"{path}:{place}: {what}" in line and advice in line for line in lines), (place, what, ended.err)
    assert not (tmp_path / "out").exists()
    path.write_text(PLANTED + "seed: 1\nstop: {time: 1 h}\n")
    ended = server.run("validate", path)
    refused(ended, f"{path}:18:1: duplicate key 'seed'", f"{path}:19:1: duplicate key 'stop'")
    assert len(ended.err.splitlines()) == len(TOLD) + 2


def test_wrong_usage(server: Server, tmp_path: Path) -> None:
    scenario = write(tmp_path)
    refused(server.run("frobnicate"), "frobnicate")
    refused(server.run("run", tmp_path / "none.yaml"), "no such scenario file")
    refused(server.run("run", tmp_path / "tiny.yml"), f"no such scenario file; did you mean {scenario}?")
    refused(server.run("run", tmp_path), f"{tmp_path}: a folder; name a scenario file in it (tiny.yaml)")
    refused(server.run("run", tmp_path / "own.py"), "a Python file; a scenario is a YAML file")
    refused(server.run("run", scenario, "--set", "task.clients"), "--set task.clients: write key=value")
    refused(server.run("run", scenario, "--set", "task.client=5"), "--set task.client=5", "did you mean clients?")
    refused(server.run("run", scenario, "--workers", "0"), "--workers")
    refused(server.run("run", scenario, "--out", scenario), f"--out {scenario}")
    refused(server.run("resume", tmp_path), "holds no run")
    refused(server.run("devices", "rasberry-pi-4"), "did you mean raspberry-pi-4?")
    refused(server.run("algorithms", "fedpsa"), "did you mean fedspa?")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the tiny scenario, made through the Python API."""
    folder = tmp_path_factory.mktemp("finished")
    edgesim.run(write(folder), out=folder / "out")
    return folder / "out"


def test_plot(server: Server, finished: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    ended = server.run("plot", "frontier", finished, "--cost", "energy", "--out", picture)
    assert (ended.code, ended.out.strip(), ended.err) == (0, str(picture), "")
    assert picture.stat().st_size > 0
    refused(server.run("plot", "fronteir", finished), "did you mean frontier?")
    refused(server.run("plot", "frontier", finished, "--cost", "enrgy"), "did you mean energy?")
    refused(server.run("plot", "timeline", finished, "--cost", "energy"), "no cost to choose")
    ended = server.run("plot", "timeline", finished, "--from", "100 ms", "--to", "1 s", "--out", picture)
    assert (ended.code, ended.err) == (0, "")
    assert "0.1 s to 1 s of" in picture.read_text()
    refused(server.run("plot", "frontier", finished, "--to", "1 s"), "no time to choose")
    refused(server.run("plot", "timeline", finished, "--to", "1"), "missing unit")
    refused(server.run("plot", "frontier", finished, "--out", tmp_path / "a.pgn"), "did you mean png?")
    refused(server.run("plot", "frontier", finished, "--out", tmp_path / "none" / "a.png"), "cannot be written")
    refused(server.run("plot", "frontier", tmp_path / "none"), "no such results folder")


def test_listings(server: Server, tmp_path: Path) -> None:
    for command, told in (
        (("devices",), "raspberry-pi-4"),
        (("devices", "wifi-home"), "sources"),
        (("algorithms",), "fedspa"),
        (("algorithms", "fedspa"), "density"),
        (("scenarios",), "quickstart"),
        (("validate", write(tmp_path)), "1 run"),
        (("validate", "quickstart"), "12 runs"),
    ):
        ended = server.run(*command)
        assert (ended.code, ended.err) == (0, "")
        assert told in ended.out
    ended = server.run("schema")
    assert ended.code == 0
    assert "stop" in json.loads(ended.out)["properties"]


def test_finished_results_are_neither_run_again_nor_overwritten(server: Server, finished: Path, tmp_path: Path) -> None:
    scenario, before = write(finished.parent), files(finished)
    ended = server.run("run", scenario, "--out", finished)
    assert ended.code == 0
    assert "holds the finished results of this very scenario" in ended.err
    assert "fedavg" in ended.out
    refused(server.run("run", scenario, "--out", finished, *sets("seed=7")), "results of another scenario", "--replace")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\n")
    refused(server.run("run", broken, "--out", finished, "--replace"), "task: missing")
    assert unlike(before, files(finished)) == []
    assert "nothing to resume" in server.run("resume", finished).err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_what_there_is_and_resume_goes_on(
    server: Server, finished: Path, tmp_path: Path, number: signal.Signals
) -> None:
    scenario, out = finished.parent / "tiny.yaml", tmp_path / "out"
    process = server.start("run", scenario, "--out", out)
    process.wait_for((out / "fedavg" / checkpoint.FILE).exists)
    process.send(number)
    ended = process.wait()
    assert ended.code == 128 + number, ended.err
    assert f"edgesim resume {out}" in ended.err
    assert "Traceback" not in ended.err
    (run,) = Results.read(out).runs
    assert not run.finished
    assert len(run.metrics()["time_s"]) > 0
    assert len(run.events()["job"]) > 0

    refused(server.run("run", scenario, "--out", out), "unfinished run", f"edgesim resume {out}", "--replace")
    with pytest.raises(ScenarioError, match="unfinished run"):
        edgesim.run(scenario, out=out)
    assert server.run("resume", out).code == 0
    assert unlike(files(finished), files(out)) == []


@pytest.mark.parametrize(
    ("when", "number"),
    [
        ("while workers start", signal.SIGINT),
        ("while they run", signal.SIGINT),
        ("while they run", signal.SIGTERM),
    ],
)
def test_ctrl_c_with_two_workers(server: Server, tmp_path: Path, when: str, number: signal.Signals) -> None:
    scenario, out = write(tmp_path), tmp_path / "out"
    chosen = sets(SWEEP, "stop.updates=500")
    process = server.start("run", scenario, "--out", out, "--workers", "2", *chosen)
    early = when == "while workers start"
    if early:  # all directories are there, and the workers are busy importing
        process.wait_for(lambda: len([*out.glob("*/scenario.yaml")]) == 4)
        time.sleep(0.5)
    else:
        process.wait_for(lambda: any(out.glob(f"*/{checkpoint.FILE}")))
    os.killpg(process.pid, number)  # as a terminal does, or a scheduler: to everyone
    ended = process.wait()
    assert ended.code == 128 + number, ended.err
    assert "Traceback" not in ended.err
    assert not all((run / "summary.json").exists() for run in out.iterdir())
    if not early:
        assert Results.read(out).runs[0].metrics()["time_s"].size > 0
    whole = server.start("run", scenario, "--out", tmp_path / "whole", "--workers", "1", *chosen)
    assert server.run("resume", out, "--workers", "1").code == 0
    assert whole.wait().code == 0
    assert unlike(files(tmp_path / "whole"), files(out)) == []


def test_what_another_process_is_at_work_on_is_left_alone(server: Server, finished: Path, tmp_path: Path) -> None:
    scenario, out = finished.parent / "tiny.yaml", tmp_path / "out"
    process = server.start("run", scenario, "--out", out)
    process.wait_for((out / "fedavg" / checkpoint.FILE).exists)
    process.send(signal.SIGSTOP)  # so that it is still at work below
    for again in ((), ("--replace",)):
        ended = server.run("run", scenario, "--out", out, *again)
        assert (ended.code, ended.err) == (
            1, f"edgesim: {out}/fedavg: another process is at work here; wait for it or stop it\n"
        )  # fmt: skip
    process.send(signal.SIGCONT)
    assert process.wait().code == 0
    assert unlike(files(finished), files(out)) == []


def test_what_is_at_work_is_not_resumed_besides_nor_is_its_next_run_begun(server: Server, tmp_path: Path) -> None:
    """Or the first of two commands would find that other busy, and fail in its turn."""
    out = tmp_path / "out"
    two = sets("sweep={training.epochs: [1, 2]}")
    process = server.start("run", write(tmp_path), "--out", out, "--workers", "1", *two)
    process.wait_for((out / "epochs=1" / checkpoint.FILE).exists)
    process.send(signal.SIGSTOP)
    ended = server.run("resume", out, "--workers", "1")
    busy = "another process is at work here; wait for it or stop it"
    assert (ended.code, ended.err) == (1, f"edgesim: {out}/epochs=1: {busy}\n")
    assert not (out / "epochs=2" / "summary.json").exists()
    process.send(signal.SIGCONT)
    assert process.wait().code == 0


def test_what_is_not_there_cannot_be_resumed(server: Server, tmp_path: Path) -> None:
    refused(server.run("resume", tmp_path / "nope"), "nope: no such results folder; edgesim run SCENARIO makes one")


def test_of_two_commands_at_once_one_does_the_work(server: Server, finished: Path, tmp_path: Path) -> None:
    scenario, out = finished.parent / "tiny.yaml", tmp_path / "out"
    one, other = (server.start("run", scenario, "--out", out) for _ in range(2))
    failed = [ended for ended in (one.wait(), other.wait()) if ended.code]
    assert len(failed) == 1
    told = (f"{out}: another process has begun runs here", "another process is at", f"{out} holds an unfinished run")
    assert any(words in failed[0].err for words in told)  # by how far the other one has come
    assert unlike(files(finished), files(out)) == []


def test_replace_removes_pictures_of_what_it_discards_and_nothing_else(server: Server, tmp_path: Path) -> None:
    scenario, out = write(tmp_path), tmp_path / "out"
    chosen = sets("stop.updates=20")
    assert server.run("run", scenario, "--out", out, *chosen).code == 0
    assert server.run("plot", "frontier", out).code == 0
    assert server.run("plot", "frontier", out, "--cost", "energy").code == 0
    assert server.run("plot", "curves", out, "--metric", "loss", "--cost", "bytes").code == 0
    assert server.run("plot", "frontier", out, "--cost", "0.3 EUR/kWh + 2 EUR/GB").code == 0
    assert (out / "frontier-price.png").is_file()
    assert server.run("report", out, "--price", "2/GB").code == 0
    for own in ("mine.png", "frontier-mine.png", "frontier.svg"):
        (out / own).touch()
    assert server.run("run", scenario, "--out", out, "--replace", *chosen).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["fedavg", "frontier-mine.png", "frontier.svg", "mine.png"]


def test_a_run_that_cannot_go_on_fails_with_one_message(server: Server, tmp_path: Path) -> None:
    scenario, out = write(tmp_path), tmp_path / "out"
    chosen = ["task.model={name: mlp, hidden: [4000]}", "task.clients=2", "schedule={kind: sync, cohort: 2}"]
    board = "fleet=[{device: stm32h7, share: 1, link: wifi-iot}]"  # a megabyte of memory: no job ever fits
    ended = server.run("run", scenario, "--out", out, *sets(*chosen, board))
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert "out-of-memory" in ended.err
    assert not (out / "fedavg" / "summary.json").exists()
    with pytest.raises(RunError, match="out-of-memory"):
        edgesim.run(scenario, out=tmp_path / "again", overrides=[*chosen, board])


def test_the_python_function_does_what_the_command_does(server: Server, finished: Path, tmp_path: Path) -> None:
    ended = server.run("run", finished.parent / "tiny.yaml", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert unlike(files(finished), files(tmp_path / "out")) == []
    again = edgesim.run(finished.parent / "tiny.yaml", out=finished)
    assert [run.label for run in again.runs] == ["fedavg"]
    with pytest.raises(ScenarioError, match="another scenario"):
        edgesim.run(finished.parent / "tiny.yaml", out=finished, overrides=["seed=7"])
