"""Choice: something picked by name, with its parameters: `fedavg`, or `{name: fedspa, density: 0.5}`.

What there is to pick from is known to registries in rooms that import torch, so each is asked only
when a scenario is read, never when its schema is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from edgesim.errors import EdgesimError
from edgesim.explain import wrong
from edgesim.references import unnamed
from edgesim.scenario.parameters import arguments, model_of
from edgesim.scenario.paths import folder_of
from edgesim.spelling import advice, shown

Target: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Attributes: name; parameters, as Python values with all defaults; written, the same as YAML."""

    name: str
    parameters: Mapping[str, Any]
    written: Mapping[str, Any] = field(repr=False)


def table(where: str) -> Callable[[], Mapping[str, Target]]:
    """What gives the table `package.module:NAME`, and imports its module only then."""
    return partial(resolve_name, where)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """What a choice is made from; as pydantic metadata, `Annotated[Choice, Registry(...)]`.

    Attributes: key, `name` or `kind`, under which a mapping says what is chosen; what, the word for
    messages; skip, how many arguments of a target are not the file's to give; builtins, name → target;
    own, finds what the user brings: (text, folder, task.data_dir) → target, None if `text` means nothing.
    """

    key: str
    what: str
    skip: int
    builtins: Callable[[], Mapping[str, Target]]
    own: Callable[[str, Path, str | None], Target | None] | None = None

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self._write, when_used="json")
        return core_schema.with_info_plain_validator_function(self._read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        known = self.builtins()
        options: list[dict[str, Any]] = [{"enum": list(known)}]
        options += [_mapping(self.key, name, target, self.skip) for name, target in known.items()]
        if self.own:
            text = {"type": "string", "pattern": r"[:/.]"}
            options += [text, {"type": "object", "properties": {self.key: text}, "required": [self.key]}]
        return {"anyOf": options}

    def _read(self, value: Any, info: ValidationInfo) -> Choice:
        given = {self.key: value} if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise wrong(f"got {shown(value)}; write a name, or {{{self.key}: …}} with its parameters")
        name = given.get(self.key)
        if not isinstance(name, str):
            raise wrong(f"missing {self.key}; {advice('', self.builtins())}")
        target = self._target(name, folder_of(info), info.data.get("data_dir"), given is value)
        params = {key: item for key, item in given.items() if key != self.key}
        checked = arguments(target, params, skip=self.skip)
        return Choice(name=name, parameters=checked.values, written=checked.written)

    def _target(self, name: str, folder: Path, data_dir: str | None, is_mapping: bool) -> Target:
        at = (self.key,) if is_mapping else ()
        known = self.builtins()
        if name in known:
            return known[name]
        try:
            found = self.own(name, folder, data_dir) if self.own else None
        except EdgesimError as error:
            raise wrong(str(error), *at) from None
        if found is None:
            raise wrong(unnamed(name, self.what) or f"unknown {self.what} '{name}'; {advice(name, known)}", *at)
        return found

    def _write(self, choice: Choice) -> str | dict[str, Any]:
        return {self.key: choice.name, **choice.written} if choice.written else choice.name


def _mapping(key: str, name: str, target: Target, skip: int) -> dict[str, Any]:
    """JSON Schema of one built-in written as a mapping."""
    schema = model_of(target, skip).model_json_schema()
    schema["properties"] = {key: {"const": name}, **schema.get("properties", {})}
    schema["required"] = [key, *schema.get("required", [])]
    return schema
