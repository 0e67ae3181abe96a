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
