"""The scenarios that ship with edgesim."""

from importlib.resources import files
from pathlib import Path

from edgesim.errors import ScenarioError
from edgesim.spelling import advice


def scenarios() -> dict[str, Path]:
    """Shipped scenario files by name."""
    found = (Path(str(entry)) for entry in files("edgesim.scenarios").iterdir())
    return {path.stem: path for path in sorted(found) if path.suffix == ".yaml"}


def find(scenario: Path) -> Path:
    """A scenario file: that path, or the shipped scenario of that name.

    Raises ScenarioError where there is neither.
    """
    known = scenarios()
    if scenario.is_file():
        return scenario
    if str(scenario) in known:
        return known[str(scenario)]
    raise ScenarioError(f"{scenario}: no such scenario file; shipped ones: {advice(str(scenario), known)}")
