"""When the devices of an entry of the fleet are on line, as a scenario says it; and the processes that it means."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from edgesim.devices import availability as devices
from edgesim.devices import outages, rules, windows
from edgesim.devices.trajectories import BoolArray
from edgesim.explain import wrong
from edgesim.scenario.section import OrWord, Section
from edgesim.scenario.signals import LIST, Bernoulli, Diurnal, Markov, Signal, Trace
from edgesim.spelling import advice
from edgesim.units import Seconds, Share


class Always(Section):
    """On line for ever."""

    kind: Literal["always"] = "always"

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant; paths count from `folder`."""
        return devices.AlwaysOn()


class Part(Section):
    """A part of a rule: exactly one of all, any and none."""

    all: Annotated[tuple[str, ...], LIST] | None = None
    """all of these signals are on"""
    any: Annotated[tuple[str, ...], LIST] | None = None
    """at least one of them is on"""
    none: Annotated[tuple[str, ...], LIST] | None = None
    """not one of them is on"""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _gate(self)
        return self


Parts: TypeAlias = Annotated[tuple[str | Part, ...], LIST]


class Rules(Section):
    """On line while a rule holds, such as `all: [charging, wifi]`; exactly one of all, any and none."""

    kind: Literal["rules"]
    signals: dict[str, Signal]
    """name → what comes and goes under it: any kind of availability but always and rules"""
    all: Parts | None = None
    """all of these hold: names of signals, or parts such as {any: [wifi, ethernet]}"""
    any: Parts | None = None
    """at least one of them holds"""
    none: Parts | None = None
    """not one of them holds"""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        gate, parts = _gate(self)
        for place, name in _names(gate, parts):
            if name not in self.signals:
                raise wrong(f"unknown signal '{name}'; {advice(name, self.signals)}", *place)
        named = {name for _, name in _names(gate, parts)}
        for name in self.signals:
            if name not in named:
                raise wrong("no part of the rule names this signal; name it, or leave it out", "signals", name)
        still = {name: windows.Bernoulli(window_s=1, chance=0.5) for name in self.signals}
        rules.Rule(signals=still, statement=self._statement)
        return self

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant."""
        signals = {name: signal.process(folder) for name, signal in self.signals.items()}
        return rules.Rule(signals=signals, statement=self._statement)

    def _statement(self, on: Mapping[str, BoolArray]) -> BoolArray:
        gate, parts = _gate(self)
        holds, names = dict(on), list[str]()
        for place, part in enumerate(parts):
            names.append(part if isinstance(part, str) else f"{place}.")
            if isinstance(part, Part):
                inner, inner_names = _gate(part)
                holds[names[-1]] = _GATES[inner](*map(str, inner_names))(on)
        return _GATES[gate](*names)(holds)


Availability: TypeAlias = Annotated[
    Always | Bernoulli | Markov | Diurnal | Trace | Rules, Field(discriminator="kind"), OrWord("always")
]


class Outages(Section):
    """Failures that take many devices of an entry off line at once, on top of their own comings and goings."""

    every: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean time from the end of an outage to the beginning of the next (exponential)"""
    lasts: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean length of an outage (exponential)"""
    share: Share = Field(default=1.0, gt=0)
    """which part of the devices an outage strikes, drawn anew each time"""
    groups: int = Field(default=1, ge=1, le=10_000)
    """how many groups (regions, gateways) the devices fall into at random; each has outages of its own"""
    name: str | None = None
    """entries whose outages have the same name, every and lasts go off line at the same times"""


def process(choice: Availability, failing: Outages | None, folder: Path, entry: int) -> devices.Process:
    """The process of the `entry`-th entry of the fleet; paths count from `folder`."""
    own = choice.process(folder)
    if failing is None:
        return own
    striking = outages.Outages(
        every_s=failing.every,
        lasts_s=failing.lasts,
        share=failing.share,
        groups=failing.groups,
        name=f"fleet.{entry}" if failing.name is None else failing.name,
    )
    return striking if isinstance(choice, Always) else rules.Together(processes=(own, striking))


_GATES = {"all": rules.all_of, "any": rules.any_of, "none": rules.none_of}


def _gate(rule: Part | Rules) -> tuple[str, Parts]:
    """Which of all, any and none is given, and what it holds."""
    given = [(name, parts) for name in _GATES if (parts := getattr(rule, name)) is not None]
    if len(given) != 1:
        said = " and ".join(name for name, _ in given) or "none of them"
        raise ValueError(f"got {said}; write exactly one of all, any, none, e.g. all: [charging, wifi]")
    return given[0]


def _names(gate: str, parts: Parts) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each name of a signal, and where in the rule it stands."""
    for place, part in enumerate(parts):
        if isinstance(part, str):
            yield (gate, place), part
        else:
            inner, names = _gate(part)
            yield from (((gate, place, inner, index), str(name)) for index, name in enumerate(names))
