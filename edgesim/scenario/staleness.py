"""Staleness weights of a scenario: what a stale update counts for."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from edgesim.scenario.section import OrWord, Section


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


class Threshold(Section):
    """Full weight up to `cutoff` versions, then `value`."""

    kind: Literal["threshold"]
    cutoff: int = Field(ge=0)
    """how stale an update may be without losing weight"""
    value: float = Field(ge=0, le=1)
    """the weight of a staler one"""


class DelayAdaptive(Section):
    """n / max(n, τ), n the clients at work: delay-adaptive asynchronous SGD (Mishchenko et al. 2022)."""

    kind: Literal["delay-adaptive"] = "delay-adaptive"


class Capped(Section):
    """Full weight up to as many versions as clients work, then min(1, 1 / (4 L η τ)) (Koloskova et al. 2022)."""

    kind: Literal["capped"]
    smoothness: float | None = Field(default=None, gt=0)
    """L; η is training.lr; without it a staler update is discarded"""


Staleness: TypeAlias = Annotated[
    Constant | Polynomial | Hinge | Threshold | DelayAdaptive | Capped,
    Field(discriminator="kind"),
    OrWord("constant", "polynomial", "hinge", "delay-adaptive", "capped"),
]
