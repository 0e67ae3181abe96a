"""Selectors in whole runs that train, and what a scenario may say of them."""

import copy
from pathlib import Path

import pytest
from whole import assembled, begun, written

import edgesim
from edgesim.engine.selection import SELECTORS
from edgesim.errors import RunError, ScenarioError
from edgesim.results.store import Run

SCENARIO = """\
name: choosing
task: {dataset: digits, partition: {kind: dirichlet, alpha: 0.5}, clients: 30, model: {name: mlp, hidden: [16]}}
training: {lr: 0.1, batch_size: 10}
fleet:
  - {device: raspberry-pi-4, share: 0.5, link: wifi-home, availability: {kind: markov, on: 2 s, off: 1 s}}
  - {device: pixel-6, share: 0.5, link: lte}
schedule: {kind: buffered, concurrency: 8, buffer: 4}
algorithm: fedavg
evaluate: {every: 25 aggregations}
stop: {aggregations: 25}
"""


def ran(folder: Path, *overrides: str) -> Run:
    (run,) = edgesim.run(written(SCENARIO, folder), out=folder / "out", overrides=overrides).runs
    return run


def refused(folder: Path, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        ran(folder, *overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_run_learns_under_every_selector(tmp_path: Path, name: str) -> None:
    summary = ran(tmp_path, f"selector={name}").summary
    assert summary is not None
    assert summary["final"]["accuracy"] > 0.3  # by chance: 0.1


@pytest.mark.parametrize("name", ["oort", "power-of-choice"])
def test_a_run_that_goes_by_losses_and_pauses_is_the_run_without(tmp_path: Path, name: str) -> None:
    """Also where a loss is read before the update is merged, and where training still waits at the pause."""
    settings = [f"selector={name}", "stop.aggregations=12", "evaluate.every=6 aggregations"]
    whole = begun(written(SCENARIO, tmp_path / "whole"), *settings)
    whole.run()
    path = written(SCENARIO, tmp_path / "part")
    part = begun(path, *settings)
    while not part.run(lambda _: True, events=29):
        part = assembled(path, *settings, state=copy.deepcopy(part.state()))
    assert part.state()["recorder"]["metrics"] == whole.state()["recorder"]["metrics"]
    assert part.state()["recorder"]["events"] == whole.state()["recorder"]["events"]


def test_a_selector_of_ones_own_is_found_by_its_file(tmp_path: Path) -> None:
    """The one that the documentation shows."""
    page = (Path(__file__).parents[2] / "docs" / "selection.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    run = ran(tmp_path, "selector={kind: ./mine.py:Longest, most: 20}", "stop.aggregations=4")
    assert run.finished
    assert run.scenario["selector"] == {"kind": "./mine.py:Longest", "most": 20}


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("None", "returned None; return a list of the numbers of clients"),
        ("candidates.all()[:count]", "returned array\\(.*; return a list of the numbers of clients"),
        ("candidates.all().tolist()[:1] * count", "returned 3 clients, of whom 1 differ, where 3 were asked for"),
        ("candidates.all().tolist()[: count + 1]", "returned 4 clients, of whom 4 differ, where 3 were asked for"),
        ("[10**6]", "chose client 1000000, which cannot get a job now; choose among the candidates"),
        ("[-1]", "chose client -1, which cannot get a job now"),
        ("[0]", "chose client 0, which cannot get a job now"),
    ],
)
def test_what_a_selector_of_ones_own_must_not_return_is_told(tmp_path: Path, chosen: str, told: str) -> None:
    """Where nobody looked, a client that was chosen twice broke the laws of conservation at the end of the run."""
    code = (
        "from edgesim.engine.selection import Selector\n\n\nclass Mine(Selector):\n"
        f"    def select(self, count, draw, candidates, history):\n        return {chosen}\n"
    )
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    schedule = "schedule={kind: buffered, concurrency: 3, buffer: 1}"
    with pytest.raises(RunError, match=rf"Mine\.select {told}"):
        ran(tmp_path, "selector=./mine.py:Mine", schedule, "stop.aggregations=4")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "selector=ort",
            "unknown selector 'ort'; did you mean oort? (data-size, energy-aware, fastest-available, oort, ",
        ),
        ("selector={kind: oort, exploraton: 0.5}", "selector.exploraton: unknown key; did you mean exploration? ("),
        ("selector={kind: oort, exploration: 2}", "selector.exploration: got 2; should be less than or equal to 1"),
        ("selector={kind: uniform, seed: 1}", "selector.seed: unknown key"),
        ("selector=./nowhere.py:Mine", "./nowhere.py:Mine"),
    ],
)
def test_what_is_wrong_with_a_selector_is_told(tmp_path: Path, override: str, told: str) -> None:
    assert told in refused(tmp_path, override)


def test_a_selector_that_goes_by_losses_is_refused_where_nothing_is_trained(tmp_path: Path) -> None:
    told = refused(tmp_path, "execution.backend=none", "selector=oort")
    assert "selector: oort goes by the losses of trained models, and an estimate" in told
    assert "estimate it with one of uniform, data-size, round-robin, fastest-available, refl, energy-aware" in told


def test_the_rule_of_refl_is_the_servers(tmp_path: Path) -> None:
    run = ran(tmp_path, "selector={kind: refl, accuracy: 1.0}", "server={rule: {name: refl, scale: 10.0}}")
    assert run.scenario["server"]["rule"] == {"name": "refl", "beta": 0.35, "scale": 10.0}
