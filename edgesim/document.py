"""Document: what a YAML file says, and where; `check` makes a model of it or names every mistake."""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgesim.errors import ScenarioError
from edgesim.explain import complaints
from edgesim.spelling import shown
from edgesim.yamltext import KeyPath, Reader

__all__ = ["Document", "KeyPath", "check", "dotted"]
M = TypeVar("M", bound=BaseModel)
_BEGINS = re.compile(r"([a-z_]+(?:\.\w+)*)(?: \([^)]*\))?: ")


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) with the place of each of its parts.

    Attributes: file, where it was read from; data; values and keys, path → "file:line:col" of each
    value and of each mapping key. The root's path is (). repeated, complaints about duplicate keys, for
    `check` to tell with all else that is wrong.
    """

    file: Path
    data: Any
    values: Mapping[KeyPath, str]
    keys: Mapping[KeyPath, str]
    repeated: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path | str) -> "Document":
        """The document in a file; raises ScenarioError naming every place where it cannot be read."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
        return cls.parse(text, str(path), file=Path(path))

    @classmethod
    def parse(cls, text: str, name: str, *, file: Path = Path(), numbered: bool = True) -> "Document":
        """The document in a text; its places start with `name`, and are only that if not numbered."""
        reader = Reader(name, numbered)
        data = reader.read(text)
        if reader.problems:
            raise ScenarioError("\n".join([*reader.problems, *reader.repeated]))
        repeated = tuple(reader.repeated)
        return cls(file=file, data=data, values=reader.values, keys=reader.keys, repeated=repeated)

    @property
    def folder(self) -> Path:
        """What relative paths in the document count from."""
        return self.file.parent

    def known(self, path: KeyPath) -> KeyPath:
        """The longest part of the path that is in the document; parts that lead nowhere are passed over."""
        found: KeyPath = ()
        for part in path:
            if (*found, part) in self.values:
                found = (*found, part)
        return found

    def where(self, path: KeyPath) -> str:
        """Place of the value, or of the nearest value around it."""
        return self.values[self.known(path)]

    def where_key(self, path: KeyPath) -> str:
        """Place of the key that leads to the value."""
        known = self.known(path)
        return self.keys.get(known, self.values[known])

    def placed(self, problem: str) -> str:
        """The problem after the place of what it begins with, `task.model: …` for instance, or of the nearest around
        that; after the file alone where there is no such part."""
        begins = _BEGINS.match(problem)
        path = self.known(dotted(begins[1])) if begins else ()
        return f"{self.where(path) if path else self.file}: {problem}"

    def set(self, at: str | KeyPath, value: str, source: str) -> "Document":
        """A copy where the value at "a.b.0.c", or at that path, is what the YAML text `value` says.

        Its place, and that of what is in it, is `source`. Raises ScenarioError where the path leads
        through something that is neither a mapping nor a list.
        """
        path = dotted(at) if isinstance(at, str) else at
        return self.graft(path, Document.parse(value, source, numbered=False), source=source)

    def part(self, path: KeyPath) -> "Document":
        """The document below a path, which must exist."""
        data = self.data
        for part in path:
            data = data[part]
        below = {key[len(path) :]: place for key, place in self.values.items() if key[: len(path)] == path}
        keys = {key[len(path) :]: place for key, place in self.keys.items() if key[: len(path)] == path}
        return replace(self, data=data, values=below, keys=keys)

    def graft(self, path: KeyPath, other: "Document", *, key: str = "", source: str = "") -> "Document":
        """A copy whose value at `path` is the other document, places included; `key`, of what leads to it if that is
        elsewhere."""
        data, values = copy.deepcopy(self.data), _without(self.values, path)
        keys = _without(self.keys, path)
        holder = {"": data}
        inside: Any = holder
        for depth, part in enumerate(("", *path)):
            _check_step(inside, part, path[: depth - 1], other, source)
            if depth == len(path):
                inside[part] = other.data
            elif isinstance(inside, dict) and inside.get(part) is None:
                inside[part] = {}
                values[path[:depth]] = other.values[()]
                keys[path[:depth]] = key or other.values[()]
            inside = inside[part]
        values |= {(*path, *below): place for below, place in other.values.items()}
        keys |= {(*path, *below): place for below, place in other.keys.items()} | {path: key or other.values[()]}
        return replace(self, data=holder[""], values=values, keys=keys, repeated=self.repeated + other.repeated)


def dotted(text: str) -> KeyPath:
    """ "fleet.0.share" as the path ("fleet", 0, "share")."""
    return tuple(int(part) if part.isdecimal() else part for part in text.split("."))


def _without(places: Mapping[KeyPath, str], path: KeyPath) -> dict[KeyPath, str]:
    return {key: place for key, place in places.items() if key[: len(path)] != path}


def _check_step(inside: Any, part: str | int, at: KeyPath, other: Document, source: str) -> None:
    """Refuse a step into what has no such part."""
    name = ".".join(map(str, at)) or "the file"
    if isinstance(inside, dict):
        return
    if not isinstance(inside, list):
        raise ScenarioError(
            f"{source or other.values[()]}: {name} is {shown(inside)} and has no parts; set {name} as a whole"
        )
    if not isinstance(part, int) or part >= len(inside):
        raise ScenarioError(
            f"{source or other.values[()]}: {name} is a list of {len(inside)}: no entry {part}; count from 0"
        )


def check(document: Document, model: type[M], context: object = None) -> M:
    """The model that the document describes.

    Raises ScenarioError with every mistake in it, one a line, from top to bottom:
    `file:line:col: path: what was got; what would do`.
    """
    lines = [(_order(text.split(": ", 1)[0]), text) for text in document.repeated]
    try:
        # As JSON, for there a strict model takes a list for a tuple, yet no text for a number.
        made = model.model_validate_json(json.dumps(document.data), context=context)
    except ValidationError as error:
        lines += [_line(document, *found) for found in complaints(error, model, document.known)]
    if lines:
        raise ScenarioError("\n".join(line for _, line in sorted(lines)))
    return made


def _line(document: Document, path: KeyPath, is_key: bool, text: str) -> tuple[list[int], str]:
    """Where it stands in the file, for sorting, and the line to print."""
    place = document.where_key(path) if is_key else document.where(path)
    return _order(place), f"{place}: {'.'.join(map(str, path))}: {text}" if path else f"{place}: {text}"


def _order(place: str) -> list[int]:
    """Line and column of "file:line:col"."""
    return [int(part) for part in place.split(":")[-2:] if part.isdecimal()]
