"""Sweeps: one document with a `sweep` becomes many without, the cross product of its axes.

    sweep:
      algorithm: [fedavg, {name: fedspa, density: 0.5}]
      training.lr: [0.1, 0.01]
      fleet: {homes: [{device: phone-mid, …}], works: [{device: jetson-nano, …}]}  # values with names
      seed: [0, 1]

Each entry keeps its place in the file, so that a mistake in it is reported where it stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod
from typing import Any

from edgesim.document import Document, KeyPath, dotted
from edgesim.errors import ScenarioError
from edgesim.spelling import shown

LIMIT = 10_000
"""More combinations than this are taken for a mistake."""
_FIXED = ("name", "sweep", "execution")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One key that varies. Attributes: name, dotted; place, of its key; entries, its values; titles, what the file
    calls each of them, none if it does not."""

    name: str
    place: str
    entries: tuple[Document, ...]
    titles: tuple[str, ...] = ()

    @property
    def path(self) -> KeyPath:
        """The key's path."""
        return dotted(self.name)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One combination. Attributes: document, without a sweep; entry, which entry of each axis it has."""

    document: Document
    entry: tuple[int, ...]


def axes(document: Document) -> tuple[Axis, ...]:
    """The axes of a document's sweep, none if it has none. Raises ScenarioError with all that is wrong."""
    sweep = document.data.get("sweep") if isinstance(document.data, dict) else None
    if sweep is None:
        return ()
    if not isinstance(sweep, dict):
        raise ScenarioError(f"{document.where(('sweep',))}: sweep: got {shown(sweep)}; write {{key: [values]}}")
    problems = [line for name in sweep for line in _entry_problems(document, name)]
    problems += [
        f"{document.where_key(('sweep', two))}: sweep: {one} and {two} vary the same part; keep one of them"
        for one, two in combinations(sweep, 2)
        if overlap(dotted(one), dotted(two))
    ]
    if problems:
        raise ScenarioError("\n".join(problems))
    found = tuple(_axis(document, name) for name in sweep)
    count = prod(len(axis.entries) for axis in found)
    if count > LIMIT:
        raise ScenarioError(f"{document.where(('sweep',))}: sweep: {count:,} combinations; at most {LIMIT:,} are run")
    return found


def points(document: Document, found: tuple[Axis, ...]) -> Iterator[Point]:
    """Every combination of the axes' entries, the last axis varying fastest."""
    base = document
    if isinstance(document.data, dict):
        base = replace(document, data={key: part for key, part in document.data.items() if key != "sweep"})
    for entry in product(*(range(len(axis.entries)) for axis in found)):
        swept = base
        for axis, number in zip(found, entry, strict=True):
            swept = swept.graft(axis.path, axis.entries[number], key=axis.place)
        yield Point(document=swept, entry=entry)


def overlap(one: KeyPath, two: KeyPath) -> bool:
    """Whether one path leads through the other."""
    short = min(len(one), len(two))
    return one[:short] == two[:short]


def _entry_problems(document: Document, name: str) -> Iterator[str]:
    path: KeyPath = ("sweep", name)
    given = document.data["sweep"][name]
    if dotted(name)[0] in _FIXED:
        yield f"{document.where_key(path)}: sweep.{name}: cannot be swept; write {name} outside the sweep"
    elif not isinstance(given, list | dict) or not given:
        got = "an empty list" if given == [] else shown(given)
        yield f"{document.where(path)}: sweep.{name}: got {got}; write a list of values, e.g. [0, 1]"
    else:
        entries = _entries(given)
        for number, (key, entry) in enumerate(entries):
            where = f"{document.where((*path, key))}: sweep.{name}"
            if isinstance(given, dict) and not isinstance(entry, list | dict):
                yield (
                    f"{where}: got {shown(entry)} under the name '{key}'; only lists and mappings can have names here, "
                    "write a list of values, e.g. [0, 1]"
                )
            elif isinstance(key, str) and not any(map(str.isalnum, key)):
                yield f"{where}: the name '{key}' has no letter or digit, by which a directory could be called; add one"
            elif any(entry == earlier for _, earlier in entries[:number]):
                yield f"{where}: entry {key} repeats an earlier one; remove it"


def _entries(given: Any) -> list[tuple[int | str, Any]]:
    """Each entry of a list by its number, or of a mapping by its name."""
    return list(given.items() if isinstance(given, dict) else enumerate(given))


def _axis(document: Document, name: str) -> Axis:
    path: KeyPath = ("sweep", name)
    keys = [key for key, _ in _entries(document.data["sweep"][name])]
    return Axis(
        name=name,
        place=document.where_key(path),
        entries=tuple(document.part((*path, key)) for key in keys),
        titles=tuple(key for key in keys if isinstance(key, str)),
    )
