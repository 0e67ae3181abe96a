"""The JSON Schema that editors use: it offers what loading accepts."""

import json
import re
from typing import Any

from edgesim.algorithms import registry
from edgesim.scenario.editor import json_schema


def test_the_schema_is_json_and_complete() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["additionalProperties"] is False
    assert {"task", "fleet", "schedule", "algorithm", "sweep"} <= set(schema["properties"])
    assert schema["else"]["required"] == [
        "name", "task", "training", "fleet", "schedule", "algorithm", "evaluate", "stop",
    ]  # fmt: skip
    assert schema["properties"]["seed"]["description"] == "everything random follows from it"


def test_algorithms_come_with_their_hyper_parameters() -> None:
    options: list[dict[str, Any]] = json_schema()["properties"]["algorithm"]["anyOf"]
    assert options[0] == {"enum": list(registry.names())}
    fedspa = next(o for o in options if o.get("properties", {}).get("name") == {"const": "fedspa"})
    assert fedspa["additionalProperties"] is False
    assert fedspa["properties"]["prune_rate"]["maximum"] == 1
    assert "share replaced" in fedspa["properties"]["prune_rate"]["description"]
    assert fedspa["required"] == ["name"]


def test_quantities_are_text_with_a_unit() -> None:
    every = json_schema()["$defs"]["Execution"]["properties"]["checkpoint_every"]
    assert every["default"] == "1 min"
    assert re.search(every["pattern"], "1.5 min")
    assert not re.search(every["pattern"], "300")
    assert not re.search(every["pattern"], "2 W")
    assert json_schema()["$defs"]["Task"]["properties"]["test_share"]["default"] == "25 %"


def test_every_key_is_described() -> None:
    schema = json_schema()
    sections = {"Scenario": schema, **schema["$defs"]}
    bare = [
        f"{title}.{key}"
        for title, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if "const" not in field and "description" not in field
    ]
    assert bare == []
