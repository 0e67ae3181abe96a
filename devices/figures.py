"""Figures of profile files: what devices and links have in common, and numbers that may differ between units."""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from annotated_types import Gt
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from edgesim.units import BitsPerSecond, FlopsPerSecond, Seconds

Confidence = Literal["high", "medium", "low"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Sources = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
"""where each figure comes from"""
Q = TypeVar("Q")


# Gt stands beside the type, not in Field: there a quantity's own validator would put it aside unread.
class Section(BaseModel):
    """A part of a file: nothing but what is named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(Section):
    """A figure that differs between units: lognormal with this median."""

    median: float
    sigma: Annotated[float, Field(ge=0, le=3)]


class FlopsSpread(Spread):
    """A rate of arithmetic that differs between units."""

    median: Annotated[FlopsPerSecond, Gt(0)]


class BitsSpread(Spread):
    """A rate of transfer that differs between users."""

    median: Annotated[BitsPerSecond, Gt(0)]


class SecondsSpread(Spread):
    """A time that differs between users."""

    median: Seconds


def _tag(value: Any) -> str:
    return "spread" if isinstance(value, dict | Spread) else "number"


Number: TypeAlias = Annotated[Q, Tag("number")]
Spreading: TypeAlias = Annotated[Q, Tag("spread")]
_either = Discriminator(_tag)
Flops: TypeAlias = Annotated[Number[Annotated[FlopsPerSecond, Gt(0)]] | Spreading[FlopsSpread], _either]
Bits: TypeAlias = Annotated[Number[Annotated[BitsPerSecond, Gt(0)]] | Spreading[BitsSpread], _either]
Delay: TypeAlias = Annotated[Number[Seconds] | Spreading[SecondsSpread], _either]


def median(figure: float | Spread) -> float:
    return figure.median if isinstance(figure, Spread) else figure


def sigma(figure: float | Spread) -> float:
    return figure.sigma if isinstance(figure, Spread) else 0.0
