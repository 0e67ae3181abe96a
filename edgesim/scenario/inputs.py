"""Inputs: the user's own files that a run's numbers depend on, and a digest of each.

They are what the scenario names, from its folder: code and what it imports, data, traces, profiles, maps. Published
data sets, which are found by name in a data folder, are not among them.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from edgesim import references
from edgesim.learning.data import DATASETS
from edgesim.scenario.loading import resolved
from edgesim.scenario.schema import Scenario


def named(scenario: Scenario, folder: Path) -> Iterator[str]:
    """Files, and folders of files, from `folder`; some more than once."""
    profiles, said = scenario.profiles, {key: part for key, part in resolved(scenario).items() if key != "name"}
    for text in _texts(said):
        where, _, name = text.rpartition(":")
        if where.endswith(".py") and name.isidentifier():
            yield where
            yield from (os.path.relpath(path, folder) for path in references.beside(folder / where))
        elif ("." in text or "/" in text) and (folder / text).is_file():
            yield text
        elif profiles and "/" not in text and (folder / profiles / f"{text}.yaml").is_file():
            yield f"{profiles}/{text}.yaml"
    data, home = scenario.task.dataset.name, scenario.task.data_dir
    for path in [] if data in DATASETS else [data, *([f"{home}/{data}"] if home else [])]:
        if (folder / path).exists():
            yield path


def digests(names: Iterable[str], folder: Path) -> dict[str, str]:
    """Of each, where it is at hand."""
    paths = {name: folder / name for name in sorted(set(names))}
    return {name: _of_all(within(path)) for name, path in paths.items() if path.exists()}


def within(path: Path) -> list[tuple[str, Path]]:
    """The file itself, or all files in a folder, by their names from it."""
    if path.is_file():
        return [("", path)]
    return sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())


def _of_all(files: list[tuple[str, Path]]) -> str:
    whole = hashlib.blake2b(digest_size=6)
    for name, path in files:
        known = path.stat()
        whole.update(name.encode() + b"\0" + _of(path, known.st_mtime_ns, known.st_size))
    return whole.hexdigest()


@lru_cache(maxsize=1 << 16)
def _of(path: Path, changed_ns: int, size: int) -> bytes:
    """Read once for all runs of a sweep, as long as it stays as it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
