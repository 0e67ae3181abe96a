"""Section: the base of every part of a scenario, and the words that several parts share."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

Count: TypeAlias = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A mapping with known keys only; a number is a number and text is text; never changed once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class OrWord:
    """pydantic metadata: a bare word stands for a mapping, `always` for `{kind: always}`."""

    def __init__(self, *words: str) -> None:
        self._words = list(words)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_spelt_out, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": self._words}, handler(schema)]} if self._words else dict(handler(schema))


def _spelt_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value
