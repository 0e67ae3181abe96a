"""Loading: from a scenario file to the runs that it asks for, or to everything that is wrong with it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesim.document import Document, check, dotted
from edgesim.errors import ScenarioError
from edgesim.scenario import labels
from edgesim.scenario.schema import Scenario
from edgesim.scenario.sweeps import Axis, Point, axes, overlap, points

_ABOUT = {"data set ": "task.dataset: ", "model ": "task.model: "}
"""What begins a problem of a part that is made without knowing of scenarios, and the key that it is about."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run. Attributes: scenario; document, that says so; label, its directory's name; variant, the label without
    the seed."""

    scenario: Scenario
    document: Document = field(repr=False, compare=False)
    label: str
    variant: str

    def placed(self, problem: str) -> str:
        """What is wrong with the run, after the place in the file that it is about."""
        about = next((key for words, key in _ABOUT.items() if problem.startswith(words)), "")
        return self.document.placed(about + problem)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a file asks for. Attributes: name; document; scenarios, one for each run, in the sweep's order."""

    name: str
    document: Document
    scenarios: tuple[Planned, ...]

    @property
    def folder(self) -> Path:
        """What relative paths in the scenarios count from."""
        return self.document.folder


def load(path: Path | str, overrides: Sequence[str] = ()) -> Plan:
    """The runs that a file asks for, with each override `key.path=value` in force.

    Raises ScenarioError with every mistake, one a line: `file:line:col: path: what was got; what would do`.
    """
    document = Document.read(path)
    if document.data is None:
        raise ScenarioError(f"{path}: the file is empty; `edgesim scenarios` lists some to begin with")
    if isinstance(document.data, dict) and {"scenario", "hash", "label"} <= document.data.keys():
        raise ScenarioError(
            f"{path}: the record of a run; `edgesim resume {document.folder}` goes on with it; to run it anew, give "
            "what it has under `scenario` a file of its own"
        )
    for override in filter(_is_of_sweep, overrides):
        document = _override(document, override)
    found = axes(document)
    for override in (override for override in overrides if not _is_of_sweep(override)):
        _check_unswept(override, found)
        document = _override(document, override)
    made = list(points(document, found))
    scenarios = _checked(made)
    return Plan(
        name=scenarios[0].name,
        document=document,
        scenarios=tuple(
            Planned(scenario=scenario, document=point.document, label=label, variant=variant)
            for point, scenario, (label, variant) in zip(made, scenarios, _names(found, made, scenarios), strict=True)
        ),
    )


def restore(path: Path | str, folder: Path) -> Scenario:
    """The scenario that a run's own file has under `scenario`, as `resolved` gave it.

    Relative paths count from `folder`, where the user's file lay. Raises ScenarioError as `load` does.
    """
    document = Document.read(path)
    if not isinstance(document.data, dict) or "scenario" not in document.data:
        raise ScenarioError(f"{path}: has no scenario in it; name the scenario.yaml of a run's directory")
    return _check(document.part(("scenario",)), folder)


def _check(document: Document, folder: Path) -> Scenario:
    """The scenario in a document; its parts look names up in the user's `profiles`, which only the whole knows."""
    profiles = document.data.get("profiles") if isinstance(document.data, dict) else None
    return check(document, Scenario, {"folder": folder, "profiles": profiles})


def resolved(scenario: Scenario) -> dict[str, Any]:
    """The scenario with all defaults filled in, as a file would say it; loading it gives an equal one."""
    return scenario.model_dump(mode="json")


def scenario_hash(scenario: Scenario) -> str:
    """16 hexadecimal digits of what is simulated: name and execution do not count, but that nothing is trained."""
    content = {key: part for key, part in resolved(scenario).items() if key not in ("name", "execution")}
    if scenario.execution.backend == "none":
        content["training"] = None
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _override(document: Document, override: str) -> Document:
    key, equals, value = override.partition("=")
    if not key.strip() or not equals:
        raise ScenarioError(f"--set {override}: write key=value, e.g. --set training.lr=0.1")
    name = key.strip()
    # the keys in a sweep have dots of their own
    path = ("sweep", name.removeprefix("sweep.")) if name.startswith("sweep.") else dotted(name)
    return document.set(path, value, f"--set {override}")


def _is_of_sweep(override: str) -> bool:
    return override.partition("=")[0].strip().split(".")[0] == "sweep"


def _check_unswept(override: str, found: Sequence[Axis]) -> None:
    """What is swept cannot also be set: one of the two would go unheeded."""
    path = dotted(override.partition("=")[0].strip())
    for axis in found:
        if overlap(path, axis.path):
            raise ScenarioError(
                f"--set {override}: {axis.name} is swept ({axis.place}); "
                f"write --set sweep.{axis.name}=[…], or --set sweep=null for no sweep"
            )


def _checked(made: Sequence[Point]) -> list[Scenario]:
    """All combinations as scenarios, or every mistake in any of them once."""
    scenarios, problems = [], dict[str, None]()
    for point in made:
        try:
            scenarios.append(_check(point.document, point.document.folder))
        except ScenarioError as error:
            problems.update(dict.fromkeys(str(error).split("\n")))
    if problems:
        raise ScenarioError("\n".join(problems))
    return scenarios


def _names(found: Sequence[Axis], made: Sequence[Point], scenarios: Sequence[Scenario]) -> list[tuple[str, str]]:
    """(label, variant) of each combination."""
    texts = labels.parts(found)
    names = []
    for point, scenario in zip(made, scenarios, strict=True):
        chosen = [(axis.name, texts[row][point.entry[row]]) for row, axis in enumerate(found)]
        variant = [text for name, text in chosen if name != "seed"]
        seed = [text for name, text in chosen if name == "seed"]
        variant = variant or [labels.safe(scenario.algorithm.name.rpartition(":")[2])]
        names.append((labels.join([*variant, *seed]), labels.join(variant)))
    return names
