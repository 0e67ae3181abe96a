"""Interval: how often something happens, in simulated time or in aggregations."""

import re
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim import units
from edgesim.spelling import shown

_AGGREGATIONS = re.compile(r"\s*([0-9]{1,18})\s+aggregations?\s*")

_LEAST_S = 1e-6  # with less the run would spend the host's days on what takes the devices seconds


@dataclass(frozen=True, kw_only=True)
class Interval:
    """`5 min` or `10 aggregations`. Attributes: time_s or aggregations; the other is None."""

    time_s: float | None = None
    aggregations: int | None = None

    @classmethod
    def read(cls, text: object) -> Self:
        """Raises ValueError for what is neither, and for nothing at all."""
        match = _AGGREGATIONS.fullmatch(text) if isinstance(text, str) else None
        try:
            made = cls(aggregations=int(match[1])) if match else cls(time_s=units.parse(text, "time"))
        except ValueError as error:
            raise ValueError(f"{error}, or 10 aggregations") from None
        if not (made.time_s or made.aggregations):
            raise ValueError(f"got {shown(text)}; write more than nothing, e.g. 5 min or 10 aggregations")
        if made.time_s is not None and made.time_s < _LEAST_S:
            raise ValueError(f"got {shown(text)}; write {units.format(_LEAST_S, 'time')} or more, e.g. 5 min")
        return made

    def __str__(self) -> str:
        if self.time_s is not None:
            return units.format(self.time_s, "time")
        return f"{self.aggregations} aggregation{'' if self.aggregations == 1 else 's'}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        return core_schema.no_info_plain_validator_function(cls.read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "examples": ["5 min", "10 aggregations"]}
