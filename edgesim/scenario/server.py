"""The server of a scenario: what it computes on, and how updates become a step of its model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from edgesim.devices.profiles import find_device
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.references import is_reference, resolve
from edgesim.scenario.choice import Choice, Registry, Target, table
from edgesim.scenario.paths import folder_of, profiles_of
from edgesim.scenario.section import Section


def _rules() -> Mapping[str, Target]:
    from edgesim.algorithms.async_rules import RULES

    return {"average": _average, **RULES}


def _average() -> None:
    """By the aggregator and the optimizer below: no parameters of its own."""


def _own(text: str, folder: Path, data_dir: str | None) -> Target | None:
    found = resolve(text, folder) if is_reference(text) else None
    if found is not None and not callable(found):
        raise ScenarioError(f"'{text}' is a {type(found).__name__}; name a class")
    return found


def _registry(what: str, builtins: Callable[[], Mapping[str, Target]]) -> Registry:
    return Registry(key="name", what=what, skip=0, builtins=builtins, own=_own)


AggregatorChoice = Annotated[Choice, _registry("aggregator", table("edgesim.algorithms.aggregators:AGGREGATORS"))]
PreparationChoice = Annotated[Choice, _registry("preparation", table("edgesim.algorithms.aggregators:PREPARATIONS"))]
OptimizerChoice = Annotated[Choice, _registry("optimizer", table("edgesim.algorithms.optimizers:OPTIMIZERS"))]
RuleChoice = Annotated[Choice, _registry("rule", _rules)]


class Server(Section):
    """The server. Robust aggregators and optimisers compose with every algorithm that averages updates."""

    device: str = "server-xeon"
    """what it computes on, as in the fleet; counts where an algorithm's aggregation is more than adding up"""
    rule: RuleChoice = Field(default="average", validate_default=True)
    """how updates become a step: average, by the keys below; or an asynchronous method's own way"""
    aggregator: AggregatorChoice = Field(default="mean", validate_default=True)
    """how a set of updates becomes one"""
    before: PreparationChoice | None = None
    """what is done to the set before"""
    optimizer: OptimizerChoice = Field(default="sgd", validate_default=True)
    """what the server does with the merged update; sgd with lr 1 adds it"""
    worker_momentum: float = Field(default=0.0, ge=0, lt=1)
    """each client's updates are smoothed by this momentum before they are combined"""

    @field_validator("device")
    @classmethod
    def _device_exists(cls, text: str, info: ValidationInfo) -> str:
        find_device(text, folder_of(info), profiles_of(info))
        return text

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        for key in self.merging if self.rule.name != "average" else ():
            if key != "rule":
                raise wrong(f"rule {self.rule.name} merges updates its own way; leave this out, or rule: average", key)
        return self

    @property
    def merging(self) -> list[str]:
        """The keys that say how updates are merged, as far as they are not as by default."""
        plain, keys = type(self)(), ("rule", "aggregator", "before", "optimizer", "worker_momentum")
        return [key for key in keys if getattr(self, key) != getattr(plain, key)]
