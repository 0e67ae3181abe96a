"""`edgesim estimate`: the events of the real run without its training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from processes import files, unlike
from tiny import ALGORITHMS, SCHEDULES, sets, write
from typer.testing import CliRunner, Result

from edgesim import cli, printing
from edgesim.errors import ScenarioError
from edgesim.execution.timing import TimingOnly
from edgesim.results.estimate import estimate_table
from edgesim.results.store import Results, Run
from edgesim.scenario import progress, running
from edgesim.scenario.loading import load

SHORT = "stop={updates: 100}"


def edgesim(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def estimated(folder: Path, *overrides: str, name: str = "estimate") -> Run:
    edgesim("estimate", write(folder), "--out", folder / name, *sets(*overrides), "--workers", "1")
    (run,) = Results.read(folder / name).runs
    return run


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("algorithm", ["fedavg", "fedspa-rsm"])
def test_its_events_are_those_of_the_real_run(tmp_path: Path, schedule: str, algorithm: str) -> None:
    """To the byte, and so are all costs at every evaluation and of every client."""
    overrides = (SHORT, SCHEDULES[schedule], ALGORITHMS[algorithm])
    edgesim("run", write(tmp_path), "--out", tmp_path / "run", *sets(*overrides), "--workers", "1")
    (real,) = Results.read(tmp_path / "run").runs
    made = estimated(tmp_path, *overrides)
    for name in ("events.parquet", "availability.parquet"):
        assert (made.path / name).read_bytes() == (real.path / name).read_bytes()
    learned = {"accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled", "loss", "density"}
    for table, truth in ((made.metrics(), real.metrics()), (made.clients(), real.clients())):
        for column in truth:
            if column in learned:
                assert np.isnan(table[column]).all()
            else:
                np.testing.assert_array_equal(table[column], truth[column], err_msg=column)
    assert made.summary is not None
    assert made.summary["backend"] == "none (timing only)"
    assert made.summary["final"]["accuracy"] is None


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_knows_from_which_version_on_masks_rest(tmp_path: Path, schedule: str) -> None:
    """With T = 1 FedSpa takes dense gradients and sends new masks for its first version only."""
    overrides = (SHORT, SCHEDULES[schedule], "algorithm={name: fedspa, density: 0.3, rounds: 1}")
    edgesim("run", write(tmp_path), "--out", tmp_path / "run", *sets(*overrides), "--workers", "1")
    (real,) = Results.read(tmp_path / "run").runs
    made = estimated(tmp_path, *overrides)
    for column in ("flops", "bytes_up"):
        assert made.clients()[column].sum() == pytest.approx(real.clients()[column].sum(), rel=0.02)


def test_bounds_are_told_in_the_summary_and_on_the_console(tmp_path: Path) -> None:
    """And they are bounds: a client's first jobs up are no longer in the real run."""
    overrides = (SHORT, ALGORITHMS["fedspa-dst"])
    shown = edgesim("estimate", write(tmp_path), "--out", tmp_path / "out", *sets(*overrides))
    (run,) = Results.read(tmp_path / "out").runs
    assert run.summary is not None
    (note,) = (note for note in run.summary["notes"] if "upper bounds" in note)
    assert " ".join(note.split()[1:]) in " ".join(shown.stdout.split())
    edgesim("run", write(tmp_path), "--out", tmp_path / "run", *sets(*overrides), "--workers", "1")
    (real,) = Results.read(tmp_path / "run").runs
    assert 0 < longest(real) <= longest(run)


def longest(of: Run) -> int:
    """Bytes of an upload."""
    events = of.events(["phase", "bytes"])
    return int(events["bytes"][events["phase"] == "upload"].max())


def test_an_estimate_knows_how_much_a_codec_sends(tmp_path: Path) -> None:
    """k values of four bytes and their places, of each tensor; and not all values, as if nothing were left out."""
    overrides = (SHORT, ALGORITHMS["fedavg"], "codec={name: top-k, share: 0.05}")
    made = estimated(tmp_path, *overrides)
    edgesim("run", write(tmp_path), "--out", tmp_path / "run", *sets(*overrides), "--workers", "1")
    (real,) = Results.read(tmp_path / "run").runs
    assert longest(real) <= longest(made) < 1.5 * longest(real)


def test_the_table_adds_up(tmp_path: Path) -> None:
    """By hand from clients.parquet: devices, jobs, bytes and most memory of each class, and of all."""
    run = estimated(tmp_path, SHORT)
    clients = run.clients()
    moved = clients["bytes_down"] + clients["bytes_up"]
    rows = {row[1]: row for row in estimate_table(Results.read(run.path)).rows}
    assert list(rows) == ["raspberry-pi-4", "raspberry-pi-zero-2w", "all"]
    for name, row in rows.items():
        here = np.ones(16, bool) if name == "all" else clients["device_class"] == name
        jobs = clients["jobs_dispatched"][here].sum()
        assert row[2:4] == (str(here.sum()), str(jobs))
        assert row[4] == f"{clients['download_s'][here].sum() / jobs:.3g} s"
        assert row[7] == f"{moved[here].sum() / jobs / 1e3:.3g} kB"
        assert row[9] == f"{clients['memory_bytes'][here].max() / 1e3:.3g} kB"
        assert row[11] == f"{clients['energy_j'][here].sum():.3g} J"


def test_it_goes_to_a_folder_of_its_own_and_is_never_taken_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(printing.out, "width", 200)
    scenario = write(tmp_path)
    shown = edgesim("estimate", scenario, *sets(SHORT), "--workers", "1").stdout
    assert "raspberry-pi-zero-2w" in shown
    assert "Nothing was trained" in shown
    (run,) = Results.read("results/tiny-estimate").runs
    assert run.finished
    before = files(Path("results"))
    with pytest.raises(ScenarioError, match="holds results of another scenario"):
        edgesim("run", scenario, "--out", "results/tiny-estimate", *sets(SHORT))
    edgesim("estimate", scenario, *sets(SHORT))  # finished already: shown again
    assert unlike(files(Path("results")), before) == []


def test_an_accuracy_cannot_end_it(tmp_path: Path) -> None:
    """Alone or beside another limit; the message stands where the file says it."""
    scenario = write(tmp_path)
    text = scenario.read_text().replace("stop: {updates: 700}", "stop: {updates: 700, accuracy: 90 %}")
    scenario.write_text(text)
    with pytest.raises(ScenarioError, match=r"tiny\.yaml:\d+:\d+: stop\.accuracy: an estimate trains nothing"):
        edgesim("estimate", scenario)
    load(scenario)


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files end up as those of an estimate that nobody interrupted, notes included."""
    overrides = (SHORT, ALGORITHMS["fedspa-dst"])
    whole = estimated(tmp_path, *overrides, name="whole")
    plan = load(write(tmp_path), [*overrides, "execution.backend=none"])
    (directory,) = running.prepare(plan, tmp_path / "cut", replace=False)
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.0)
    with pytest.raises(progress.Interrupted):
        running.run(directory, notify=lambda _: None, asked_to_stop=lambda: True)
    assert (directory / "checkpoint" / "state.pt").exists()
    shown = edgesim("resume", tmp_path / "cut").stdout
    assert "upper bounds" in " ".join(shown.split())
    assert unlike(files(whole.path), files(directory)) == []


def test_no_model_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FedAvg's estimate asks torch for no gradient at all."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a gradient was asked for")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr("edgesim.execution.example.local_update", refuse)
    assert estimated(tmp_path, SHORT).finished
    assert TimingOnly.backend == "none (timing only)"
