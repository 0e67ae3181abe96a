"""Hours of a day as people write them: `12:30`, and time zones: `+01:00`."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.spelling import shown

_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_ZONE = re.compile(r"([+-])(0?[0-9]|1[0-4]):([0-5][0-9])")


@dataclass(frozen=True)
class Hours:
    """pydantic metadata: reads `12:30` as seconds after midnight, or `+01:00` as seconds ahead of UTC."""

    zone: bool

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self._write, when_used="json")
        return core_schema.no_info_before_validator_function(self._read, handler(source), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({(_ZONE if self.zone else _CLOCK).pattern})$"}

    def _read(self, text: object) -> float:
        if self.zone:
            match = _ZONE.fullmatch(text.strip()) if isinstance(text, str) else None
            if match is None:
                raise ValueError(f"{shown(text)} is not a time zone; write how far it is ahead of UTC, e.g. +01:00")
            return (-1 if match[1] == "-" else 1) * (3600.0 * int(match[2]) + 60.0 * int(match[3]))
        match = _CLOCK.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{shown(text)} is not an hour of the day; write hours:minutes of 24 h, e.g. 02:00")
        return 3600.0 * int(match[1]) + 60.0 * int(match[2])

    def _write(self, value: float) -> str:
        hours, minutes = divmod(round(abs(value) / 60), 60)
        sign = ("-" if value < 0 else "+") if self.zone else ""
        return f"{sign}{hours:02d}:{minutes:02d}"


ClockTime = Annotated[float, Hours(zone=False)]
TimeZone = Annotated[float, Hours(zone=True)]
