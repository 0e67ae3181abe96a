"""Parameters: a signature becomes the YAML keys, with the limits and texts in its annotations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pytest
from annotated_types import Gt, Le
from pydantic import ValidationError
from typing_extensions import Doc

from edgesim.scenario.parameters import arguments, model_of
from edgesim.units import Seconds


@dataclass(frozen=True, kw_only=True)
class Method:
    """A made-up algorithm."""

    title: ClassVar[str] = "no parameter"
    rate: Annotated[float, Gt(0), Le(1), Doc("how much")]
    pause: Seconds = 60.0
    layers: tuple[int, ...] = field(default_factory=lambda: (1, 2))


def factory(shape: tuple[int, ...], classes: int, *, hidden: Sequence[int] = (64,), copy: bool = False) -> None: ...


def test_a_dataclass_gives_its_fields() -> None:
    given = arguments(Method, {"rate": 1, "layers": [3]})
    assert given.values == {"rate": 1.0, "pause": 60.0, "layers": (3,)}
    assert given.written == {"rate": 1.0, "pause": "1 min", "layers": [3]}
    assert Method(**given.values) == Method(rate=1.0, layers=(3,))


def test_a_function_gives_what_its_caller_does_not_supply() -> None:
    assert arguments(factory, {}, skip=2).values == {"hidden": (64,), "copy": False}
    assert arguments(factory, {"hidden": [8, 8]}, skip=2).values["hidden"] == (8, 8)


def test_a_function_with_open_arguments_takes_what_comes() -> None:
    def anything(x: int, **rest: Any) -> None: ...

    assert arguments(anything, {"depth": [1, {"a": [2]}]}, skip=1).values == {"depth": (1, {"a": (2,)})}


def test_annotations_become_texts_and_limits() -> None:
    rate = model_of(Method).model_json_schema()["properties"]["rate"]
    assert (rate["description"], rate["exclusiveMinimum"], rate["maximum"]) == ("how much", 0, 1)


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({}, {"missing (how much)"}),
        ({"rate": 2}, {"got 2; should be less than or equal to 1"}),
        ({"rate": "1"}, {"got '1'; drop the quotes: 1"}),
        ({"rate": 1, "pause": 3}, {"missing unit in 3; write e.g. 5 min (ns, us, ms, s, min, h, d)"}),
        ({"rate": 1, "title": "x", "layer": 1},
         {"unknown key; choose one of layers, pause, rate", "unknown key; did you mean layers? (layers, pause, rate)"}),
    ],
)  # fmt: skip
def test_mistakes_speak_edgesims_words(given: dict[str, object], messages: set[str]) -> None:
    with pytest.raises(ValidationError, match=r".") as refusal:
        arguments(Method, given)
    assert {error["msg"] for error in refusal.value.errors()} == messages
