"""What a run is, as its own directory says it: scenario.yaml."""

import platform
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.store import SCENARIO, Run
from edgesim.scenario import inputs
from edgesim.scenario.loading import Planned, resolved, restore, scenario_hash
from edgesim.scenario.schema import Scenario

_MOST_KEPT = 256
_PACKAGES = ("edgesim", "torch", "numpy", "simpy", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Attributes: label, tells this run from the others of its sweep; variant, the same without the seed;
    folder, what relative paths in the scenario count from; versions, of what the numbers depend on."""

    scenario: Scenario
    hash: str
    label: str
    variant: str
    folder: Path
    versions: dict[str, str]

    @classmethod
    def of(cls, planned: Planned, folder: Path) -> "Record":
        """The record of a run about to begin, on this machine."""
        return cls(
            scenario=planned.scenario,
            hash=scenario_hash(planned.scenario),
            label=planned.label,
            variant=planned.variant,
            folder=folder.resolve(),
            versions=versions(planned.scenario, folder),
        )

    def write(self, directory: Path) -> None:
        """Write scenario.yaml, whole or not at all."""
        document: dict[str, Any] = {
            **vars(self),
            "scenario": resolved(self.scenario),
            "folder": str(self.folder),
        }
        with atomic.replacing(directory / SCENARIO) as path:
            YAML(typ="safe", pure=True).dump(document, path)
        _keep(directory / SCENARIO, self)

    @classmethod
    def read(cls, directory: Path, folder: Path | None = None) -> "Record":
        """The record of a directory; its relative paths count from `folder` instead, where one is given.

        Raises RunError where other versions are installed now, a file of the user's own has changed, or the record
        itself but for `execution`: the run would not end as it began.
        """
        path = directory / SCENARIO
        found = _kept(path) if folder is None else None
        if found is None:
            document = Run(directory).record
            folder = folder or Path(document["folder"])
            found = cls(
                scenario=restore(path, folder),
                hash=document["hash"],
                label=document["label"],
                variant=document["variant"],
                folder=folder,
                versions=document["versions"],
            )
            if scenario_hash(found.scenario) != found.hash:
                raise RunError(
                    f"{path}: another scenario than the run was begun with; only what stands under execution may be "
                    "changed here; put back the rest, and run another scenario with edgesim run and another --out"
                )
            if folder == Path(document["folder"]):
                _keep(path, found)
        own = found.versions.keys() - {"python", *_PACKAGES}
        now = _packages() | inputs.digests(own, found.folder)
        if told := changed(found.versions, now):
            raise RunError(
                f"{directory}: begun with other versions ({told}), so its numbers could not be the same; "
                "go back to those, or start again with --replace"
            )
        return found


def versions(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Of what a run's numbers depend on, here and now: Python, packages, and the user's own files."""
    return {
        "python": platform.python_version(),
        **_packages(),
        **inputs.digests(inputs.named(scenario, folder), folder),
    }


@cache
def _packages() -> dict[str, str]:
    """Their versions; to ask for them takes as long as a hundred client updates."""
    return {name: version(name) for name in _PACKAGES}


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between the versions of two records, for an error; not Python's, nor what only one of them knows."""
    both = (then.keys() & now.keys()) - {"python"}
    return ", ".join(f"{name} {then[name]} → {now[name]}" for name in sorted(both) if then[name] != now[name])


_KEPT: OrderedDict[Path, tuple[bytes, Record]] = OrderedDict()
"""The last files that this process wrote or read, and what is in them: to parse one takes as long as to make a small
task."""


def _keep(path: Path, made: Record) -> None:
    _KEPT[path.resolve()] = path.read_bytes(), made
    if len(_KEPT) > _MOST_KEPT:
        _KEPT.popitem(last=False)


def _kept(path: Path) -> Record | None:
    """None if the file has changed since."""
    text, made = _KEPT.get(path.resolve(), (None, None))
    return made if path.is_file() and path.read_bytes() == text else None
