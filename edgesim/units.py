"""Quantities with their units: "20 Mbit/s" in a file is 20e6 in the code, and back.

A closed table: what is not in it is refused, never guessed (`Mb/s` might be megabits or
megabytes). k M G T are powers of ten, Ki Mi Gi powers of two; B is a byte, bit a bit. Inside the
code every quantity is a float in the base unit of its kind.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.errors import ScenarioError
from edgesim.spelling import shown

TABLE: dict[str, dict[str, str]] = {
    "time": {"ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1", "min": "60", "h": "3600", "d": "86400"},
    "size": {
        "B": "1",
        "kB": "1e3",
        "MB": "1e6",
        "GB": "1e9",
        "TB": "1e12",
        "KiB": "1024",
        "MiB": "1048576",
        "GiB": "1073741824",
    },
    "rate": {"bit/s": "1", "kbit/s": "1e3", "Mbit/s": "1e6", "Gbit/s": "1e9"},
    "power": {"uW": "1e-6", "mW": "1e-3", "W": "1", "kW": "1e3"},
    "energy": {"mJ": "1e-3", "J": "1", "kJ": "1e3", "MJ": "1e6", "Wh": "3600", "kWh": "3.6e6"},
    "compute": {"FLOP/s": "1", "MFLOP/s": "1e6", "GFLOP/s": "1e9", "TFLOP/s": "1e12"},
    "bandwidth": {"B/s": "1", "MB/s": "1e6", "GB/s": "1e9"},
    "share": {"": "1", "%": "0.01"},
}
"""kind → spelling → how many base units it is; the base unit is the one worth 1."""

EXAMPLES = {
    "time": "5 min",
    "size": "4 GB",
    "rate": "20 Mbit/s",
    "power": "3.7 W",
    "energy": "1 kJ",
    "compute": "9 GFLOP/s",
    "bandwidth": "12.8 GB/s",
    "share": "30 %",
}
_SPELLINGS = {
    **{f"{k}{word}": f"{k}bit/s" for k in ("", "k", "M", "G") for word in ("bps", "b/s", "bits/s")},
    **{f"{k}{word}": f"{k}FLOP/s" for k in ("", "M", "G", "T") for word in ("FLOPS", "FLOPs", "flops", "Flops")},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
}
"""What else people write → the unit that they mean."""
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(.*?)\s*")


def parse(text: object, kind: str) -> float:
    """The quantity in base units: parse("5 min", "time") == 300.0, correctly rounded.

    Raises ValueError where the unit is missing, unknown or of another kind, and where the number is
    negative, not finite or none at all.
    """
    number, unit = _split(text, kind)
    if unit not in TABLE[kind]:
        raise ValueError(_wrong_unit(text, float(number), unit, kind))
    value = float(Decimal(number) * Decimal(TABLE[kind][unit]))
    if value < 0:
        raise ValueError(f"{shown(text)} is negative; {_article(kind)} is 0 or more, e.g. {EXAMPLES[kind]}")
    if math.isinf(value):
        raise ValueError(f"{shown(text)} is beyond what a number can hold; write e.g. {EXAMPLES[kind]}")
    return value


def of_option(option: str, text: str, kind: str) -> float:
    """`parse` of what an option of the command line was given; a ScenarioError names it."""
    try:
        return parse(text, kind)
    except ValueError as error:
        raise ScenarioError(f"{option} {text}: {error}") from error


def format(value: float, kind: str) -> str:
    """The quantity as a person writes it; parse(format(v, kind), kind) == v for every finite v ≥ 0."""
    units = sorted(TABLE[kind].items(), key=lambda item: -Decimal(item[1]))
    for unit, worth in units:
        number = f"{value / float(worth):.6g}"
        text = f"{number} {unit}".rstrip()
        if number[0] in "123456789" and "e" not in number and parse(text, kind) == value:
            return text
    base = next(unit for unit, worth in units if worth == "1")
    return f"{repr(value).removesuffix('.0')} {base}".rstrip()


def short(value: float, kind: str) -> str:
    """The same, rounded to three digits, in the unit that reads best."""
    return format(float(f"{value:.3g}"), kind)


def _split(text: object, kind: str) -> tuple[str, str]:
    if isinstance(text, int | float) and not isinstance(text, bool):
        if kind == "share" and math.isfinite(text):
            return repr(text), ""
        raise ValueError(f"missing unit in {text}; write e.g. {EXAMPLES[kind]} ({_units(kind)})")
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{shown(text)} is not {_article(kind)}; write e.g. {EXAMPLES[kind]}")
    return match[1], re.sub("^[µμ]", "u", match[2])  # the micro sign, and the Greek letter


def _wrong_unit(text: object, number: float, unit: str, kind: str) -> str:
    if not unit:
        return f"missing unit in {shown(text)}; write e.g. {EXAMPLES[kind]} ({_units(kind)})"
    if unit in ("mAh", "Ah") and kind == "energy":
        return f"{shown(text)} is a charge; an energy is wanted: times the volts, e.g. 1000 mAh at 3.7 V are 3.7 Wh"
    meant = _SPELLINGS.get(unit, unit)
    converted = _converted(number, meant, kind)
    for other, table in TABLE.items():
        if unit in table:
            would_do = f": write {converted}" if converted else f", e.g. {EXAMPLES[kind]}"
            return f"{shown(text)} is {_article(other)}; {_article(kind)} is wanted{would_do}"
    # other capitals or a known spelling, no more: what is alike by its letters may be a thousand times as much
    guess = " or ".join(known for known in TABLE[kind] if known.casefold() == meant.casefold())
    hint = f"did you mean {guess}? ({_units(kind)})" if guess else f"write {converted or f'one of {_units(kind)}'}"
    return f"{shown(text)}: unknown unit {unit!r}; {hint}"


def _converted(number: float, unit: str, kind: str) -> str | None:
    """Bytes a second, of any prefix, as bits a second where these are wanted, and the other way round."""
    each_bps = TABLE["rate"].get(unit) or TABLE["size"].get(unit.removesuffix("/s"))
    if kind not in ("rate", "bandwidth") or each_bps is None or not unit.endswith("/s") or not 0 <= number < math.inf:
        return None
    value_bps = number * float(each_bps) * (1 if unit in TABLE["rate"] else 8)
    return format(value_bps if kind == "rate" else value_bps / 8, kind)


def _units(kind: str) -> str:
    return ", ".join(unit for unit in TABLE[kind] if unit) if kind != "share" else "a plain number or %"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


@dataclass(frozen=True)
class Quantity:
    """pydantic metadata: reads text with a unit of this kind, refuses all else, dumps text to JSON."""

    kind: str

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self._write, when_used="json")
        # around the plain float, so that a field's own limits (gt, le) hold for the value
        return core_schema.no_info_before_validator_function(self._read, handler(source), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        units = "|".join(re.escape(unit) for unit in TABLE[self.kind] if unit)
        # no sign: quantities are 0 or more
        number = _NUMBER.removeprefix("[+-]?")
        if self.kind == "share":
            text = {"type": "string", "pattern": rf"^\s*{number}\s*%?\s*$", "examples": [EXAMPLES["share"]]}
            return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, text]}
        return {
            "type": "string",
            "pattern": rf"^\s*{number}\s*({units})\s*$",
            "examples": [EXAMPLES[self.kind]],
        }

    def _read(self, text: object) -> float:
        value = parse(text, self.kind)
        if self.kind == "share" and value > 1:
            raise ValueError(f"{shown(text)} is above 1; a share is between 0 and 1, e.g. {EXAMPLES['share']}")
        return value

    def _write(self, value: float) -> str:
        return format(value, self.kind)


Seconds = Annotated[float, Quantity("time")]
Bytes = Annotated[float, Quantity("size")]
BitsPerSecond = Annotated[float, Quantity("rate")]
Watts = Annotated[float, Quantity("power")]
Joules = Annotated[float, Quantity("energy")]
FlopsPerSecond = Annotated[float, Quantity("compute")]
BytesPerSecond = Annotated[float, Quantity("bandwidth")]
Share = Annotated[float, Quantity("share")]
