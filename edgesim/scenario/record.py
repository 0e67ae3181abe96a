"""What a run is, as its own directory says it: scenario.yaml."""

import hashlib
import os
import platform
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from edgesim import references
from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.store import SCENARIO, Run
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
            versions={
                "python": platform.python_version(),
                **{name: version(name) for name in _PACKAGES},
                **_digests(folder, _own_files(planned.scenario, folder)),
            },
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

        Raises RunError where other versions are installed now, or a file of the user's own code has changed: the run
        would not end as it began.
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
            if folder == Path(document["folder"]):
                _keep(path, found)
        own = [name for name in found.versions if name.endswith(".py")]
        installed = {name: version(name) for name in _PACKAGES} | _digests(found.folder, own)
        changed = [f"{n} {v} → {installed[n]}" for n, v in found.versions.items() if installed.get(n, v) != v]
        if changed:
            raise RunError(
                f"{directory}: begun with other versions ({', '.join(changed)}), so its numbers could not be the same; "
                "go back to those, or start again with --replace"
            )
        return found


def _digests(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """A digest of each of these files of the user's own code, where it is at hand."""
    paths = {where: folder / where for where in files}
    return {
        where: hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
        for where, path in sorted(paths.items())
        if path.is_file()
    }


def _own_files(scenario: Scenario, folder: Path) -> Iterator[str]:
    """The files of the user's own code that a scenario names, and those that these import; from `folder`."""
    for where in _files_named(resolved(scenario)):
        yield where
        for path in references.beside(folder / where):
            yield os.path.relpath(path, folder)


def _files_named(value: object) -> Iterator[str]:
    if isinstance(value, str):
        where, _, name = value.rpartition(":")
        if where.endswith(".py") and name.isidentifier():
            yield where
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files_named(item)


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


def run_directories(root: Path) -> list[Path]:
    """`root` itself if it is a run's directory, else its sub-folders that are, by name."""
    if (root / SCENARIO).is_file():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{SCENARIO}"))
