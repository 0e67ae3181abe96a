"""The schedule of a scenario: when the server dispatches jobs, and when it aggregates updates."""

from math import ceil
from typing import Literal, Self

from pydantic import Field, model_validator

from edgesim.explain import wrong
from edgesim.scenario.section import Count, Section
from edgesim.scenario.staleness import Constant, Staleness
from edgesim.units import Seconds


class Sync(Section):
    """Rounds: a cohort is dispatched, and all of it that survives is waited for."""

    kind: Literal["sync"]
    cohort: Count
    """clients in a round"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "cohort", self.cohort


class Deadline(Section):
    """Rounds that end with enough updates, or when their time is over."""

    kind: Literal["deadline"]
    cohort: Count
    """updates that end a round before its time; those that arrive at the same instant count as well"""
    over_selection: float = Field(default=1.3, ge=1)
    """so many times as many clients are dispatched"""
    limit: Seconds = Field(ge=1e-9)
    """time of a round"""
    late: Literal["dropped", "kept"] = "dropped"
    """dropped: jobs that are late are cancelled when the round ends, and what they have spent is wasted; kept: they
    go on, and are merged as stale at the end of the round in which they arrive"""
    staleness: Staleness = Constant()
    """of updates that are kept: their weight by how many aggregations they are behind"""
    max_staleness: int | None = Field(default=None, ge=0)
    """of updates that are kept: a staler one is discarded"""

    @property
    def selected(self) -> int:
        """Clients dispatched in a round."""
        return ceil(round(self.cohort * self.over_selection, 9))

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "cohort" if self.over_selection == 1 else "over_selection", self.selected

    @property
    def reckoned(self) -> str:
        """How many clients work at once, and why so many."""
        return f"{self.cohort} × over_selection {self.over_selection:g}, rounded up, = {self.selected}"

    @model_validator(mode="after")
    def _only_of_kept(self) -> Self:
        for key in ("staleness", "max_staleness"):
            if self.late == "dropped" and getattr(self, key) != type(self).model_fields[key].default:
                raise wrong("late updates are dropped, so none is stale; write late: kept, or leave this out", key)
        return self


class _Concurrent(Section):
    kind: str
    concurrency: Count
    """clients that work at once"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "concurrency", self.concurrency


class Async(_Concurrent):
    """Fully asynchronous: so many clients always work; each update is merged when it arrives."""

    kind: Literal["async"]
    staleness: Staleness = Constant()
    """the weight of an update by how many aggregations it is behind"""
    max_staleness: int | None = Field(default=None, ge=0)
    """an update staler than this is discarded"""


class Buffered(_Concurrent):
    """FedBuff: so many clients always work; every so many updates are aggregated (1: asynchronous)."""

    kind: Literal["buffered"]
    buffer: Count
    """updates in an aggregation"""
    staleness: Staleness = Constant()
    """the weight of an update by how many aggregations it is behind"""
    max_staleness: int | None = Field(default=None, ge=0)
    """an update staler than this is discarded"""

    @model_validator(mode="after")
    def _buffer_fills(self) -> Self:
        if self.buffer > self.concurrency:
            raise wrong(
                f"a buffer of {self.buffer} with {self.concurrency} clients at work; "
                f"write at most {self.concurrency}, or more concurrency",
                "buffer",
            )
        return self


class Periodic(_Concurrent):
    """So many clients work; whatever has arrived is aggregated every so many seconds."""

    kind: Literal["periodic"]
    every: Seconds = Field(ge=1e-9)
    """time from one aggregation to the next"""
    replace: Literal["at-once", "at-tick"] = "at-once"
    """when a client that has finished is replaced: at once, or at the next tick, even if there is nothing to aggregate;
    where nobody works and nobody is on line then, by the first who comes on line, without waiting for another tick"""
    staleness: Staleness = Constant()
    """the weight of an update by how many aggregations it is behind"""
    max_staleness: int | None = Field(default=None, ge=0)
    """an update staler than this is discarded"""


class Tiered(Section):
    """FedAT: tiers of devices of like speed, each in rounds of its own; slow tiers weigh as fast ones do."""

    kind: Literal["tiered"]
    tiers: Count
    """how many there are, of equal size"""
    cohort: Count
    """clients in a round of a tier"""
    retier: Count | None = None
    """aggregations after which clients are sorted into tiers anew, by how long their last job took"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "cohort", self.tiers * self.cohort

    @property
    def reckoned(self) -> str:
        """How many clients work at once, and why so many."""
        return f"{self.tiers} tiers × {self.cohort} = {self.tiers * self.cohort}"


class Safa(Section):
    """SAFA, semi-synchronous: every client works, the first to arrive are merged, slow ones may lag behind."""

    kind: Literal["safa"]
    quota: Count
    """updates that end a round before its time"""
    lag: Count = 5
    """rounds that a client's model may be behind before it has to start from the newest"""
    limit: Seconds = Field(ge=1e-9)
    """time of a round"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at least, and its value."""
        return "quota", self.quota


class TimelyFl(_Concurrent):
    """TimelyFL, semi-synchronous: rounds as long as the k-th fastest needs, in which everybody does what fits."""

    kind: Literal["timelyfl"]
    concurrency: Count
    """clients chosen for a round"""
    wait_for: Count
    """k: a round lasts as long as the k-th fastest of them takes for one epoch and both transfers"""
    partial: bool = True
    """whether clients that cannot train an epoch in time train only their last layers; else they are left out"""
    max_epochs: Count | None = None
    """the most that a fast client trains"""
    slack: float = Field(default=1.0, ge=1)
    """the round waits so many times that long for those that are late, on a shared network for instance"""

    @model_validator(mode="after")
    def _can_wait(self) -> Self:
        if self.wait_for > self.concurrency:
            raise wrong(
                f"wait for {self.wait_for} of {self.concurrency} clients; write at most {self.concurrency}, or more "
                "concurrency",
                "wait_for",
            )
        return self
