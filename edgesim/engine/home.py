"""Home: where jobs report."""

from typing import Protocol

from edgesim.engine.job import Job


class Home(Protocol):
    """Who is told what becomes of jobs."""

    def size_upload(self, job: Job) -> int:
        """Bytes of a trained job's update."""
        ...

    def arrived(self, job: Job) -> None:
        """The upload is complete."""
        ...

    def lost(self, job: Job) -> None:
        """The job is given up, as its last stretch says."""
        ...

    def phase_ended(self) -> None:
        """`Accounts.so_far` has grown."""
        ...
