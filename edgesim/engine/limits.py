"""When a run is evaluated and when it ends."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Every so many simulated nanoseconds, or every so many aggregations; one of the two is set."""

    every_ns: int | None = None
    every_aggregations: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Whichever comes first; None: no limit.

    Time is exact. Updates and aggregations are counted as they happen, accuracy at each evaluation; energy
    (of jobs) and bytes (down and up) are compared whenever a phase of a job ends.
    """

    time_ns: int | None = None
    updates: int | None = None
    aggregations: int | None = None
    accuracy: float | None = None
    energy_j: float | None = None
    bytes: int | None = None

    @property
    def by_phase(self) -> bool:
        """Whether every phase of a job has to be looked at when it ends."""
        return self.energy_j is not None or self.bytes is not None


@dataclass
class Stopping:
    """Attributes: reached, the limit that ended the run, or "fleet"; "" while it goes on."""

    stop: Stop
    reached: str = ""

    def compare(self, **values: float) -> None:
        """Hold figures against the limits of the same names."""
        for name, value in values.items():
            limit = getattr(self.stop, name)
            if limit is not None and value >= limit and not self.reached:
                self.reached = _WORDS.get(name, name)

    def give_up(self) -> None:
        """Nobody is left who could work: the run is over, unless it goes on, idle, to a time of its own."""
        if self.stop.time_ns is None:
            self.reached = "fleet"

    def share(self, **values: float) -> float:
        """How much of the nearest limit is used up, 0 to 1."""
        limits = {name: getattr(self.stop, name) for name in values}
        return min(1.0, max((values[name] / limit for name, limit in limits.items() if limit is not None), default=0.0))


_WORDS = {"time_ns": "time", "energy_j": "energy"}
