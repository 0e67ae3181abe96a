"""Whole runs in this process, as simulations to look into; where files are enough, `edgesim.run` leaves them."""

from pathlib import Path
from typing import Any

from edgesim.engine.simulation import Simulation
from edgesim.scenario.assembly import assemble
from edgesim.scenario.loading import load


def written(text: str, folder: Path) -> Path:
    """A scenario as a file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def assembled(path: Path, *overrides: str, state: dict[str, Any] | None = None) -> Simulation:
    """The only run of a scenario, as it is before it begins, or in this state."""
    (planned,) = load(path, overrides).scenarios
    return assemble(planned.scenario, path.parent, path.parent / "run", state)


def begun(path: Path, *overrides: str) -> Simulation:
    """The same just begun."""
    simulation = assembled(path, *overrides)
    simulation.begin()
    return simulation


def ended(simulation: Simulation) -> Simulation:
    """The same, gone on to its end, where all laws hold."""
    simulation.run()
    assert set(simulation.finish().values()) == {"holds"}
    simulation.learning.close()
    return simulation
