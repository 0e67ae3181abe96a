"""What the engine asks of a recorder (results/recorder.py), and what running asks of it through the engine."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgesim.devices.arrays import IndexArray
from edgesim.engine.job import SmoothJobs


class Recorder(Protocol):
    """Takes rows while the run goes on, and writes its files."""

    def job(
        self,
        number: int,
        client: int,
        device_class: int,
        version: int,
        stretches: Sequence[tuple[int, int, int, int, float, float, str, str]],
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

    def metric(self, row: Mapping[str, float | int], *, anew: bool = False) -> None:
        """Record one evaluation; `anew`: in place of the last."""
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
        unseen: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Write the final files."""
        ...

    def flush_partial(self, availability: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Write what there is of a run that is left early."""
        ...
