"""The scenarios that ship with edgesim."""

from importlib.resources import files
from pathlib import Path

from edgesim.errors import ScenarioError
from edgesim.spelling import advice, nearest


def scenarios() -> dict[str, Path]:
    """Shipped scenario files by name, those in a folder as folder/name; the ones outside folders first."""
    top, inner = _yaml("edgesim.scenarios"), _yaml("edgesim.scenarios.papers")
    return {**{path.stem: path for path in top}, **{f"papers/{path.stem}": path for path in inner}}


def _yaml(package: str) -> list[Path]:
    found = (Path(str(entry)) for entry in files(package).iterdir())
    return sorted(path for path in found if path.suffix == ".yaml")


def find(scenario: Path) -> Path:
    """A scenario file: that path, or the shipped scenario of that name.

    Raises ScenarioError where there is neither.
    """
    known = scenarios()
    if scenario.suffix == ".py":
        raise ScenarioError(f"{scenario}: a Python file; a scenario is a YAML file, which may name it: {scenario}:NAME")
    if scenario.is_file():
        return scenario
    if str(scenario) in known:
        return known[str(scenario)]
    if scenario.is_dir():
        inside = ", ".join(sorted(path.name for path in scenario.glob("*.yaml"))) or "there is none"
        raise ScenarioError(f"{scenario}: a folder; name a scenario file in it ({inside})")
    if near := nearest(scenario.name, (path.name for path in scenario.parent.glob("*.y*ml")), 0.8):
        raise ScenarioError(f"{scenario}: no such scenario file; did you mean {scenario.parent / near}?")
    raise ScenarioError(f"{scenario}: no such scenario file; shipped ones: {advice(str(scenario), known)}")
