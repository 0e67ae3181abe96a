"""The schedule of a scenario: when the server dispatches jobs, and when it aggregates updates."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from edgesim.explain import wrong
from edgesim.scenario.section import Count, OrWord, Section


class Constant(Section):
    """A stale update counts like a fresh one."""

    kind: Literal["constant"] = "constant"


class Polynomial(Section):
    """An update τ versions old has weight (1 + τ)^−exponent."""

    kind: Literal["polynomial"]
    exponent: float = Field(default=0.5, ge=0)
    """0 ignores staleness"""


class Hinge(Section):
    """Full weight up to `grace` versions, then 1 / (1 + slope · (τ − grace))."""

    kind: Literal["hinge"]
    slope: float = Field(default=10.0, ge=0)
    """how fast the weight falls"""
    grace: int = Field(default=4, ge=0)
    """how stale an update may be without losing weight"""


Staleness: TypeAlias = Annotated[
    Constant | Polynomial | Hinge,
    Field(discriminator="kind"),
    OrWord("constant", "polynomial", "hinge"),
]


class Sync(Section):
    """Rounds: a cohort is dispatched, and all of it that survives is waited for."""

    kind: Literal["sync"]
    cohort: Count
    """clients in a round"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "cohort", self.cohort


class Buffered(Section):
    """FedBuff: so many clients always work; every so many updates are aggregated (1: asynchronous)."""

    kind: Literal["buffered"]
    concurrency: Count
    """clients that work at once"""
    buffer: Count
    """updates in an aggregation"""
    staleness: Staleness = Constant()
    """the weight of an update by how many aggregations it is behind"""
    max_staleness: int | None = Field(default=None, ge=0)
    """an update staler than this is discarded"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "concurrency", self.concurrency

    @model_validator(mode="after")
    def _buffer_fills(self) -> Self:
        if self.buffer > self.concurrency:
            raise wrong(
                f"a buffer of {self.buffer} with {self.concurrency} clients at work; "
                f"write at most {self.concurrency}, or more concurrency",
                "buffer",
            )
        return self


Schedule: TypeAlias = Annotated[Sync | Buffered, Field(discriminator="kind"), OrWord()]
