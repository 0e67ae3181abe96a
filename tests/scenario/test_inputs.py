"""The user's own files that a run depends on: results of other ones are neither gone on with nor taken for new ones."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from tiny import write

from edgesim.errors import EdgesimError, EdgesimWarning, RunError
from edgesim.scenario import inputs, running
from edgesim.scenario.loading import load

SHIPPED = Path(running.__file__).parents[2] / "devices"
OWN = "from edgesim.algorithms.fedavg import FedAvg\nclass A(FedAvg): pass\n"
SHORT = ["stop.updates=8", "evaluate={every: 1 aggregations}"]


def algorithm(folder: Path, content: str) -> list[str]:
    (folder / "own.py").write_text(OWN + f"# {content}\n")
    return ["algorithm=./own.py:A"]


def archive(folder: Path, content: str) -> list[str]:
    rng = np.random.default_rng(len(content))
    folder.joinpath("data").mkdir(exist_ok=True)
    np.savez(folder / "data" / "own.npz", x=rng.normal(size=(200, 4)), y=np.arange(200) % 4)
    return ["task.dataset=data/own.npz"]


def data(folder: Path, content: str) -> list[str]:
    archive(folder, content)
    return ["task.dataset=data"]


def data_folder(folder: Path, content: str) -> list[str]:
    archive(folder, content)
    return ["task.data_dir=data", "task.dataset=own.npz"]


def board(folder: Path, content: str) -> list[str]:
    copy(SHIPPED / "raspberry-pi-4.yaml", folder / "own.yaml")
    with (folder / "own.yaml").open("a") as file:
        file.write(f"# {content}\n")
    return ["fleet=[{device: ./own.yaml, share: 1, link: lte}]"]


def profiles(folder: Path, content: str) -> list[str]:
    text = (SHIPPED / "raspberry-pi-4.yaml").read_text().replace("device: raspberry-pi-4", "device: own-board")
    folder.joinpath("boards").mkdir(exist_ok=True)
    folder.joinpath("boards", "own-board.yaml").write_text(f"{text}# {content}\n")
    return ["profiles=boards", "fleet=[{device: own-board, share: 1, link: lte}]"]


def trace(folder: Path, content: str) -> list[str]:
    (folder / "own.csv").write_text(f"time_s,factor\n0,{len(content)}\n60,\n")
    return ["network={sharing: max-min, device_trace: own.csv}"]


KINDS = [algorithm, archive, data, data_folder, board, profiles, trace]


@pytest.mark.parametrize("write_own", KINDS)
def test_results_of_other_files_are_neither_gone_on_with_nor_taken_for_new_ones(
    tmp_path: Path, write_own: Callable[[Path, str], list[str]]
) -> None:
    plan = load(write(tmp_path), [*write_own(tmp_path, "one"), *SHORT])
    (begun,) = running.prepare(plan, tmp_path / "begun", replace=False)
    (ended,) = running.prepare(plan, tmp_path / "ended", replace=False)
    running.run_all([ended], workers=1, notify=lambda _: None, asked_to_stop=lambda: False)
    assert running.prepare(plan, tmp_path / "ended", replace=False) == []
    write_own(tmp_path, "three")
    with pytest.raises(EdgesimError, match=r"begun with other versions \(.*→ "):
        running.run_all([begun], workers=1, notify=lambda _: None, asked_to_stop=lambda: False)
    with pytest.raises(EdgesimError, match=r"holds results of this scenario, but of other versions \(.* → "):
        running.prepare(plan, tmp_path / "ended", replace=False)
    assert running.prepare(plan, tmp_path / "ended", replace=True) == [ended]


def test_of_a_records_scenario_only_the_execution_may_be_changed(tmp_path: Path) -> None:
    (begun,) = running.prepare(load(write(tmp_path), SHORT), tmp_path / "begun", replace=False)
    path = begun / "scenario.yaml"
    text = path.read_text()
    path.write_text(text.replace("lr: 0.1", "lr: 0.5"))
    assert path.read_text() != text
    with pytest.raises(RunError, match=r"scenario\.yaml: another scenario than the run was begun with"):
        running.run_all([begun], workers=1, notify=lambda _: None, asked_to_stop=lambda: False)
    path.write_text(text.replace("cohort: 128", "cohort: 3"))
    assert path.read_text() != text
    running.run_all([begun], workers=1, notify=lambda _: None, asked_to_stop=lambda: False)
    assert (begun / "summary.json").exists()


def test_what_is_built_in_is_no_file_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "fedavg").touch()
    plan = load(write(tmp_path), ["task.dataset=digits"])
    assert list(inputs.named(plan.scenarios[0].scenario, tmp_path)) == []


def test_of_profiles_those_in_use_count(tmp_path: Path) -> None:
    """The scenario's own folder may be theirs: it holds results, too."""
    chosen = ["profiles=.", "fleet=[{device: own-board, share: 1, link: lte}]"]
    profiles(tmp_path, "one")
    for path in (tmp_path / "boards").iterdir():
        path.rename(tmp_path / path.name)
    plan = load(write(tmp_path), chosen)
    assert list(inputs.named(plan.scenarios[0].scenario, tmp_path)) == ["./own-board.yaml"]


def test_of_a_folder_every_files_name_and_content_count(tmp_path: Path) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    one = tmp_path / "data" / "cat" / "1.png"

    def digest() -> str:
        return inputs.digests(["data"], tmp_path)["data"]

    one.write_bytes(b"1")
    first = digest()
    assert digest() == first
    one.rename(one.with_name("2.png"))
    assert digest() != first
    one.with_name("2.png").rename(one)
    assert digest() == first
    one.write_bytes(b"12")
    assert digest() != first
    assert inputs.digests(["nothing"], tmp_path) == {}


def test_an_accuracy_alone_may_never_end_a_run(tmp_path: Path) -> None:
    with pytest.warns(EdgesimWarning, match="stop: accuracy alone may never be reached"):
        running.check(load(write(tmp_path), ["stop={accuracy: 99 %}"]))
    running.check(load(write(tmp_path), ["stop={accuracy: 99 %, time: 1 h}"]))
