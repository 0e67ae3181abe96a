"""A short walk through the package as it is installed; `.ci/run` takes it against the wheel, from another folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import sets, write

import edgesim
from edgesim import shipped
from edgesim.algorithms import registry
from edgesim.devices import profiles
from edgesim.errors import ScenarioError

pytestmark = pytest.mark.smoke


def test_the_parts_that_are_data_are_there() -> None:
    assert len(profiles.devices()) >= 8
    assert len(profiles.links()) >= 6
    assert {"fedavg", "fedspa"} <= registry.names().keys()
    assert "quickstart" in shipped.scenarios()


def test_run_plot_and_read(tmp_path: Path) -> None:
    results = edgesim.run(write(tmp_path), out=tmp_path / "out", overrides=["stop.updates=50"])
    (run,) = results.runs
    assert run.summary is not None
    assert run.summary["final"]["updates"] >= 50
    command = [sys.executable, "-m", "edgesim"]
    subprocess.run([*command, "plot", "frontier", str(tmp_path / "out")], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "frontier.png").stat().st_size > 0
    schema = subprocess.run([*command, "schema"], cwd=tmp_path, check=True, capture_output=True)
    assert json.loads(schema.stdout)["type"] == "object"
    told = subprocess.run(
        [*command, "validate", "quickstart", *sets("seed=many")], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 2
    assert "seed" in told.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"overrides": "stop.updates=50"}, r"overrides='stop.updates=50': write a list of such texts, \['stop"),
        ({"workers": 0}, "workers=0: write a number from 1"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        edgesim.run(write(tmp_path), out=tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
