"""Failures: what becomes of a job when its device goes off line, and what else can go wrong."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from edgesim.devices.cost import SparseSpeedup
from edgesim.engine import outages, rules
from edgesim.explain import wrong
from edgesim.scenario.section import OrWord, Section
from edgesim.units import Seconds, Share, format

Attempts: TypeAlias = Annotated[int, Field(ge=1, le=100)]


class Abort(Section):
    """The job is lost."""

    kind: Literal["abort"] = "abort"


class Resume(Section):
    """It goes on where it was broken off, as soon as it can."""

    kind: Literal["resume"]


class Retry(Section):
    """It begins anew after a pause that grows from try to try (exponential backoff)."""

    kind: Literal["retry"]
    backoff: Seconds = 1.0
    """the first pause; the job then waits for its device, too"""
    factor: float = Field(default=2.0, ge=1, le=10)
    """by which the pause grows each time"""
    longest: Seconds = 300.0
    """no pause is longer"""
    jitter: Share = 0.0
    """by how much a pause may be shorter, at random"""
    attempts: Attempts = 5
    """how often it is tried in all; then the job is lost"""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.longest < self.backoff:
            told = f"{format(self.longest, 'time')} is shorter than the first pause, {format(self.backoff, 'time')}"
            raise wrong(f"{told}; write at least that", "longest")
        return self


class Restart(Section):
    """It begins anew; what was done is wasted."""

    kind: Literal["restart"]
    attempts: Attempts = 5
    """how often it is tried in all; then the job is lost"""


class Corruption(Section):
    """Messages that arrive damaged: the receiver sees it by their checksum and asks for them again at once."""

    share: Share = Field(gt=0, lt=1)
    """which part of all messages"""
    attempts: Attempts = 5
    """how often a message is sent in all; then the job is lost"""


class OutageWindow(Section):
    """A time in which the server cannot be reached."""

    at: Seconds
    """when it begins"""
    lasts: Seconds = Field(gt=0)
    """how long it lasts"""


class RegularOutages(Section):
    """Outages of the server that come back regularly, as for maintenance."""

    every: Seconds = Field(gt=0)
    """how long a turn is, e.g. 24 h; the first begins with the run"""
    at: Seconds
    """when in each turn an outage begins"""
    lasts: Seconds = Field(gt=0)
    """how long each lasts"""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.at + self.lasts >= self.every:
            raise wrong(f"an outage must be over before its turn of {format(self.every, 'time')} is", "lasts")
        return self


def _form(value: Any) -> str:
    return "regular" if isinstance(value, RegularOutages | dict) else "list"


ServerOutages: TypeAlias = Annotated[
    Annotated[tuple[OutageWindow, ...], Field(strict=False), Tag("list")] | Annotated[RegularOutages, Tag("regular")],
    Discriminator(_form),
]


class Failures(Section):
    """What becomes of a job when its device goes off line or has too little memory, and what else can go wrong."""

    transfer: Annotated[Abort | Resume | Retry, Field(discriminator="kind"), OrWord("abort", "resume", "retry")] = (
        Abort()
    )
    """of a download or an upload: the job is lost, or the transfer goes on from the same byte, or begins anew"""
    training: Annotated[Abort | Resume | Restart, Field(discriminator="kind"), OrWord("abort", "resume", "restart")] = (
        Abort()
    )
    """of the training: the job is lost, or the training goes on where it stopped, or begins anew"""
    crash_every: Seconds | None = Field(default=None, ge=1e-3)
    """mean time at work between two crashes of the client's program (exponential); it starts again at once, and the
    phase goes on as after an absence"""
    corruption: Corruption | None = None
    """messages that arrive damaged"""
    server_outages: ServerOutages | None = None
    """when the server cannot be reached: a list of {at, lasts}, or {every, at, lasts}; nothing is dispatched then, and
    transfers fare as if their devices were off line"""
    out_of_memory: Literal["fail", "shrink-batch", "skip"] = "fail"
    """of a job that needs more memory than its device has; fail: it is lost after its download; shrink-batch: it
    trains with the largest batch that fits, and is lost if none does; skip: the client is not chosen for it"""

    @model_validator(mode="after")
    def _follow_one_another(self) -> Self:
        windows = self.server_outages
        if isinstance(windows, tuple):
            if not windows:
                raise wrong("no outage; write at least one, or leave it out", "server_outages")
            for place, (one, next_one) in enumerate(pairwise(windows), 1):
                if next_one.at <= one.at + one.lasts:
                    what = "begins before the one before it is over; write them in order, as one if they touch"
                    raise wrong(what, "server_outages", place, "at")
        return self

    def windows(self) -> outages.ServerOutages:
        """When the server cannot be reached."""
        windows = self.server_outages
        if windows is None:
            return outages.NO_OUTAGES
        period_ns = round(1e9 * windows.every) if isinstance(windows, RegularOutages) else None
        every = (windows,) if isinstance(windows, RegularOutages) else windows
        return outages.ServerOutages(
            starts_ns=tuple(round(1e9 * window.at) for window in every),
            ends_ns=tuple(round(1e9 * (window.at + window.lasts)) for window in every),
            period_ns=period_ns,
        )

    def rules(self, *, sparse_speedup: SparseSpeedup, seed: int) -> rules.Rules:
        """What the engine makes of it."""
        corruption = self.corruption
        return rules.Rules(
            transfer=_transfer(self.transfer),
            training=_training(self.training),
            corruption=None if corruption is None else rules.Corruption(**corruption.model_dump()),
            crash_s=self.crash_every,
            outages=self.windows(),
            out_of_memory=self.out_of_memory,
            seed=seed,
            sparse_speedup=sparse_speedup,
        )


def _transfer(choice: Abort | Resume | Retry) -> Literal["abort", "resume"] | rules.Retry:
    if not isinstance(choice, Retry):
        return choice.kind
    return rules.Retry(
        first_s=choice.backoff,
        factor=choice.factor,
        longest_s=choice.longest,
        jitter=choice.jitter,
        attempts=choice.attempts,
    )


def _training(choice: Abort | Resume | Restart) -> Literal["abort", "resume"] | rules.Restart:
    return rules.Restart(attempts=choice.attempts) if isinstance(choice, Restart) else choice.kind
