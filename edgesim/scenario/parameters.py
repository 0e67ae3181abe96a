"""Parameters: the keyword arguments of a dataclass or a function as a pydantic model.

So an algorithm, a data set or a model factory says once, in its own signature, which YAML keys it has:

    alpha: Annotated[float, Gt(0), Doc("concentration")] = 0.3
"""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from typing_extensions import Doc

from edgesim.errors import ScenarioError
from edgesim.explain import explained


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checked, with all defaults. Attributes: values, as Python (lists as tuples); written, as YAML."""

    values: Mapping[str, Any]
    written: Mapping[str, Any]


def arguments(target: Callable[..., Any], given: Mapping[str, Any], *, skip: int = 0) -> Arguments:
    """Check `given` against what `target` takes, of which the caller supplies the first `skip` itself.

    Raises pydantic's ValidationError, each text in edgesim's own words.
    """
    model = model_of(target, skip)
    try:
        checked = model.model_validate_json(json.dumps(dict(given)))
    except ValidationError as error:
        raise explained(error, model) from None
    values = {name: _frozen(value) for name, value in checked}
    return Arguments(values=values, written=checked.model_dump(mode="json"))


@cache
def model_of(target: Callable[..., Any], skip: int = 0) -> type[BaseModel]:
    """The model of the arguments that a YAML file may give to `target`."""
    config = ConfigDict(extra=_extra(target), strict=True, allow_inf_nan=False, protected_namespaces=())
    name = getattr(target, "__name__", type(target).__name__)
    made: dict[str, Any] = dict(_dataclass_fields(target, skip) if is_dataclass(target) else _arguments(target, skip))
    with warnings.catch_warnings():
        # `copy` or `json` are methods of a BaseModel, yet good names of parameters
        warnings.filterwarnings("ignore", message=".*shadows an attribute in parent", category=UserWarning)
        try:
            return create_model(name, __config__=config, __doc__=inspect.getdoc(target), **made)
        except PydanticSchemaGenerationError as error:
            kinds = ", ".join(f"{field}: {getattr(kind, '__name__', kind)}" for field, (kind, _) in made.items())
            raise ScenarioError(
                f"{name} has a parameter that YAML cannot give ({kinds}): make it of numbers, words, true or false, "
                "lists or mappings of these"
            ) from error


def _extra(target: Callable[..., Any]) -> Any:
    """A function with **kwargs takes what comes."""
    if is_dataclass(target):
        return "forbid"
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())
    return "allow" if open_ended else "forbid"


def _dataclass_fields(target: Any, skip: int) -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(target, include_extras=True)
    return {
        field.name: (hints[field.name], _described(hints[field.name], _default(field)))
        for field in [field for field in fields(target) if field.init][skip:]
    }


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return ... if field.default is MISSING else field.default


def _arguments(target: Callable[..., Any], skip: int) -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(target, include_extras=True) if hasattr(target, "__annotations__") else {}
    found = list(inspect.signature(target).parameters.values())[skip:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        p.name: (
            hints.get(p.name, Any),
            _described(hints.get(p.name), ... if p.default is p.empty else p.default),
        )
        for p in found
        if p.kind in kinds
    }


def _described(hint: Any, default: Any) -> Any:
    docs = [note.documentation for note in getattr(hint, "__metadata__", ()) if isinstance(note, Doc)]
    return Field(default, description=docs[-1] if docs else None)


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value
