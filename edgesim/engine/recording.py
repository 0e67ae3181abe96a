"""What the engine asks of a recorder (results/recorder.py), and what running asks of it through the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothJobs:
    """Jobs that nothing came in the way of, in the order in which they ended: columns [job].

    Attributes:
        number, client, version: as of `engine.job.Job`; batch_size, 0 where it is the training's; staleness, -1
            where there is none.
        edges_ns: int64 [phase + 1, job]; a phase lasts from its own edge to the next.
        sizes: bytes moved, int64 [phase, job]; energy_j, [phase, job]; flops, of the training, [job].
    """

    number: IntArray
    client: IntArray
    version: IntArray
    batch_size: IntArray
    staleness: IntArray
    edges_ns: IntArray
    sizes: IntArray
    flops: FloatArray
    energy_j: FloatArray


class Recorder(Protocol):
    """Takes rows while the run goes on, and writes its files."""

    def job(
        self,
        number: int,
        client: int,
        device_class: int,
        version: int,
        stretches: Sequence[tuple[int, int, int, int, float, float, str]],
        staleness: int | None,
        batch_size: int = 0,
    ) -> None:
        """A job has ended, or the run has: record its stretches (engine/job.py); `batch_size` where that had to be
        made smaller."""
        ...

    def smooth(self, jobs: SmoothJobs, device_class: IndexArray) -> None:
        """The same of many jobs at once; `device_class` [job]."""
        ...

    def aggregation(self, version: int, time_ns: int, done_ns: int, updates: int, cause: str, job: int | None) -> None:
        """The server's model has become this version, of so many updates, and is computed by `done_ns`.

        `cause`, what happened last before: the arrival or loss of `job`, a timer of the schedule, or that the
        server had done its computing or a client came on line.
        """
        ...

    def metric(self, row: Mapping[str, float | int]) -> None:
        """Record one evaluation."""
        ...

    def state(self) -> dict[str, Any]:
        """What it takes to go on from here, as plain data."""
        ...

    def finish(
        self,
        *,
        clients: Mapping[str, Sequence[Any]],
        summary: Mapping[str, Any],
        availability: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Write the final files."""
        ...

    def flush_partial(self, availability: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Write what there is of a run that is left early."""
        ...
