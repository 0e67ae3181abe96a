"""Home: where jobs report."""

from typing import Protocol

from edgesim.engine.job import Job, SmoothJobs


class Home(Protocol):
    """Who is told what becomes of jobs."""

    @property
    def waits_for_all(self) -> bool:
        """Whether nothing is done while any job is in flight, whatever arrives."""
        ...

    def size_upload(self, job: Job) -> int:
        """Bytes of a trained job's update."""
        ...

    def arrived(self, job: Job) -> None:
        """The upload is complete."""
        ...

    def arrived_together(self, jobs: SmoothJobs) -> None:
        """The same of jobs that were dispatched together, each at its own end, in the order of these."""
        ...

    def lost(self, job: Job) -> None:
        """The job is given up, as its last stretch says."""
        ...

    def phase_ended(self) -> None:
        """`Accounts.so_far` has grown."""
        ...
