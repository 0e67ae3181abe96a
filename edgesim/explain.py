"""Explain: what pydantic found wrong, in the words of the file's author."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from edgesim.spelling import advice, shown, synonym
from edgesim.units import Quantity
from edgesim.units import format as with_unit
from edgesim.yamltext import KeyPath

Complaint: TypeAlias = tuple[KeyPath, bool, str]
"""path, whether the key rather than the value is meant, text"""
_LIMITS = {
    "greater_than": ("gt", "greater than"), "greater_than_equal": ("ge", "greater than or equal to"),
    "less_than": ("lt", "less than"), "less_than_equal": ("le", "less than or equal to"),
}  # fmt: skip
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?")


def wrong(text: str, *at: str | int) -> PydanticCustomError:
    """A mistake that a validator reports about the part `at` of what it validates."""
    # The text travels in the context, for pydantic would read braces in a message as place holders.
    return PydanticCustomError("explained", "{text}", {"text": text, "at": at})


def together(problems: Iterable[PydanticCustomError]) -> ValidationError:
    """Several mistakes that a validator reports at once."""
    lines = [InitErrorDetails(type=problem, loc=(), input=None) for problem in problems]
    return ValidationError.from_exception_data("together", lines)


def complaints(
    error: ValidationError, model: type[BaseModel], known: Callable[[KeyPath], KeyPath]
) -> Iterator[Complaint]:
    """All mistakes, in the order in which pydantic met them; one a place."""
    found: dict[tuple[KeyPath, bool], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        path = known((*detail["loc"], *detail.get("ctx", {}).get("at", ())))
        if detail["type"] == "missing":
            path = (*known(detail["loc"][:-1]), detail["loc"][-1])
        found.setdefault((path, detail["type"] == "extra_forbidden"), []).append(detail)
    for (path, is_key), details in found.items():
        # A union complains once a member: "not a list" is beside the point if a number was out of range or in quotes.
        apt = [detail for detail in details if not detail["type"].endswith("_type")]
        apt = apt or [detail for detail in details if _remedy(detail)] or details
        apt = [detail for detail in apt if detail["type"] == "too_short"] or apt  # what else an empty list is not
        text = "; or ".join(dict.fromkeys(wording(detail, model) for detail in apt))
        yield path, is_key, text + _elsewhere(model, details[0]["loc"]) if is_key else text


def explained(error: ValidationError, model: type[BaseModel]) -> ValidationError:
    """The same error with its texts settled, so that a validator of an outer model can pass it on."""
    lines = [
        InitErrorDetails(type=_settled(detail, model), loc=detail["loc"], input=detail["input"])
        for detail in error.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(error.title, lines)


def _settled(detail: ErrorDetails, model: type[BaseModel]) -> PydanticCustomError:
    at = detail.get("ctx", {}).get("at", ())
    # The error keeps its type, for that decides which place is shown and which of a union's texts are apt.
    context = {"text": wording(detail, model), "at": at}
    return PydanticCustomError(detail["type"], "{text}", context)


def wording(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What was got; what would do."""
    context = detail.get("ctx", {})
    if "text" in context:
        return str(context["text"])
    match detail["type"]:
        case "extra_forbidden":
            around = model_at(model, detail["loc"][:-1])
            return f"unknown key; {advice(str(detail['loc'][-1]), around.model_fields if around else ())}"
        case "missing":
            around = model_at(model, detail["loc"][:-1])
            return f"missing{_described(around, str(detail['loc'][-1]))}"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            return f"got {shown(detail['input'])}; {advice(str(detail['input']), choices)}"
        case "union_tag_invalid":
            choices = re.findall(r"'([^']*)'", context["expected_tags"])
            return f"unknown kind '{context['tag']}'; {advice(context['tag'], choices)}"
        case "string_pattern_mismatch" if context["pattern"].startswith("^[a-z0-9]["):  # a name
            signs = "- and _" if "_" in context["pattern"] else "-"
            return f"got {shown(detail['input'])}; write lower-case letters, digits, {signs}, a letter or digit first"
        case "union_tag_not_found":
            kinds = _kinds(_at(model, detail["loc"]))
            return f"missing kind; write {{kind: …}}; {advice(str(detail['input'].get('name', '')), kinds)}"
        case "too_short" if not detail["input"]:
            return "got an empty list; write at least one entry"
        case limit if limit in _LIMITS and (kind := _kind_of(model, detail["loc"])) not in (None, "share"):
            return _beyond(detail, kind)
    expected = (
        detail["msg"]
        .replace("Input should be", "should be")
        .replace(" array", " list")
        .replace("an object", "a mapping")
    )
    remedy = _remedy(detail) or f"{expected[0].lower()}{expected[1:]}"
    return f"got {shown(detail['input'])}; {remedy}"


def _beyond(detail: ErrorDetails, kind: str) -> str:
    """A quantity beyond its limit, both with units: pydantic knows them as numbers of seconds, bytes and the like."""
    name, words = _LIMITS[detail["type"]]
    got, limit = detail["input"], float(detail["ctx"][name])
    written = shown(got) if isinstance(got, str) else with_unit(got, kind)
    return f"got {written}; should be {words} {with_unit(limit, kind) if limit else 0}"


def _kind_of(model: type[BaseModel], path: Sequence[int | str]) -> str | None:
    """What kind of quantity stands at `path`; None for all else."""
    around = model_at(model, path[:-1])
    field = around.model_fields.get(str(path[-1])) if around else None
    pending = [*field.metadata, field.annotation] if field else []
    while pending:
        part = pending.pop()
        if isinstance(part, Quantity):
            return part.kind
        pending += get_args(part)
    return None


def _remedy(detail: ErrorDetails) -> str | None:
    """What to write instead of a value of another type, where what is meant is beyond doubt."""
    got = detail["input"]
    is_number = isinstance(got, int | float) and not isinstance(got, bool)
    text = got if isinstance(got, str) else ""
    part = text.removesuffix("%").rstrip()
    match detail["type"]:
        case "string_type" if is_number:
            return f'quote it: "{got}"'
        case "int_type" | "float_type" if _NUMBER.fullmatch(text):
            return f"drop the quotes: {text}"
        case "float_type" if _NUMBER.fullmatch(part):
            return f"write {float(part) / 100:g}"
        case "tuple_type" | "list_type" if isinstance(got, dict):
            return "write a list, a '- ' before the first key of each entry"
        case "tuple_type" | "list_type" if is_number:
            return f"write a list: [{shown(got)}]"
    return None


def _described(model: type[BaseModel] | None, name: str) -> str:
    field = model.model_fields.get(name) if model else None
    return f" ({' '.join(field.description.split())})" if field and field.description else ""


def _elsewhere(model: type[BaseModel], path: KeyPath) -> str:
    """Where an unknown key belongs: to another kind of the same part, or else to the nearest parts that know it."""
    *inside, key = path
    around = model_at(model, path[:-1])
    if around and synonym(str(key), around.model_fields):
        return ""
    kinds = _kinds(_at(model, inside[:-1]))
    if inside and inside[-1] in kinds:
        fitting = [tag for tag, kind in kinds.items() if key in kind.model_fields]
        if fitting:
            return f"; {key} belongs to kind: {' or '.join(fitting)}"
    known = dict.fromkeys(found for found in _keys(model, ()) if found[-1] == key)
    least = min(map(len, known), default=0)
    where = [".".join(found) for found in known if len(found) == least]
    under = [f"under {text.rpartition('.')[0]} ({text})" if "." in text else "at the top" for text in where]
    return f"; {key} belongs {' or '.join(under)}" if under else ""


def _keys(kind: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all keys below a part, those in a list by its first entry."""
    kind = _bare(kind)
    if get_origin(kind) in (tuple, list):
        yield from _keys(get_args(kind)[0], (*path, "0"))
    for section in [*_kinds(kind).values(), kind]:
        for name, field in getattr(section, "model_fields", {}).items():
            yield (*path, name)
            yield from _keys(field.annotation, (*path, name))


def _kinds(union: Any) -> dict[str, type[BaseModel]]:
    """The members of a union by their kinds."""
    members = [_bare(member) for member in get_args(union)] if get_origin(union) in (Union, UnionType) else []
    kinds = [(getattr(member, "model_fields", {}).get("kind"), member) for member in members]
    return {tag: member for field, member in kinds if field for tag in get_args(field.annotation)}


def model_at(kind: Any, path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that describes the part of a document at `path`, which may hold the tags of unions."""
    kind = _at(kind, path)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _at(kind: Any, path: Sequence[int | str]) -> Any:
    """The type of the part of a document at `path`."""
    for part in path:
        kind = _step(_bare(kind), part)
    return _bare(kind)


def _step(kind: Any, part: int | str) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(kind) in (tuple, list):
        return get_args(kind)[0]
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) in (Union, UnionType):
        return _kinds(kind).get(str(part))
    return None


def _bare(kind: Any) -> Any:
    """The type without its annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind
