"""Editor: the JSON Schema of scenario files, for completion and checks while one writes.

A file says where it is in its first line: `# yaml-language-server: $schema=…`.
"""

from collections.abc import Iterator
from typing import Any

from edgesim import units
from edgesim.scenario.schema import Scenario
from edgesim.scenario.section import Section
from edgesim.units import Quantity

_SWEEP = {
    "type": ["object", "null"],
    "description": "keys with dots, each with a list of values, or with a mapping of names to values that are lists or "
    "mappings; every combination is a run",
    "additionalProperties": {
        "anyOf": [
            {"type": "array", "minItems": 1},
            {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["array", "object"]}},
        ]
    },
    "examples": [{"algorithm": ["fedavg", {"name": "fedspa", "density": 0.5}], "seed": [0, 1]}],
}


def json_schema() -> dict[str, Any]:
    """The schema, with the parameters of every built-in data set, model, partition and algorithm."""
    schema: dict[str, Any] = _without_limits_of_text(Scenario.model_json_schema())
    required = schema.pop("required")
    parts = {Scenario.__name__: schema, **schema["$defs"]}
    for section in _below(Section):
        if section.__name__ in parts:  # a base of several parts is none itself
            _write_defaults(section, parts[section.__name__])
    schema["properties"]["sweep"] = _SWEEP
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        # what is swept need not stand outside the sweep
        "if": {"required": ["sweep"]},
        "then": {"required": ["name"]},
        "else": {"required": required},
    }


def _below(kind: type[Section]) -> Iterator[type[Section]]:
    for section in kind.__subclasses__():
        yield section
        yield from _below(section)


def _without_limits_of_text(schema: Any) -> Any:
    """Quantities are text to an editor; their limits (pydantic writes "gt": 0) say nothing there."""
    if isinstance(schema, dict):
        text = not {"gt", "ge"}.isdisjoint(schema) and schema.get("type") != "number"
        kept = (key for key in schema if not (text and key in ("gt", "ge")))
        return {key: _without_limits_of_text(schema[key]) for key in kept}
    return [_without_limits_of_text(item) for item in schema] if isinstance(schema, list) else schema


def _write_defaults(section: type[Section], schema: dict[str, Any]) -> None:
    """Quantities' defaults with their units, as a file would say them."""
    for name, field in section.model_fields.items():
        for note in field.metadata:
            if isinstance(note, Quantity) and isinstance(field.default, float):
                schema["properties"][name]["default"] = units.format(field.default, note.kind)
