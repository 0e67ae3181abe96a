"""The journal: jobs that went smoothly, entered together, which takes a fraction of what one by one does.

Nobody looks at a device's account, or at rows of events, while a run goes on. So jobs wait here until somebody does,
and then go into the ledger and the record as columns, in the order in which they ended. Sums are formed in that
order, too: neither books nor rows depend on when they were entered.
"""

from edgesim.devices.arrays import IndexArray
from edgesim.engine.job import Job, SmoothJobs, Spent
from edgesim.engine.ledger import Ledger
from edgesim.engine.recording import Recorder

_MOST = 4096  # jobs that wait
_FEW = 16  # up to about here one by one is quicker


class Journal:
    """Where smooth jobs wait for their entry."""

    def __init__(self, ledger: Ledger, recorder: Recorder, device_class: IndexArray) -> None:
        self._ledger, self._recorder, self._device_class = ledger, recorder, device_class
        self._waves: list[SmoothJobs] = []
        self._jobs: list[Job] = []  # that ended after all waves
        self._staleness: list[int] = []
        self._waiting = 0

    def enter(self, job: Job, staleness: int | None) -> Spent:
        """A smooth job has ended; what it has spent."""
        self._jobs.append(job)
        self._staleness.append(-1 if staleness is None else staleness)
        self._count(1)
        _, _, end_ns, download_j, training_j, upload_j = job.smooth  # type: ignore[misc]
        ns, energy_j = end_ns - job.dispatched_ns, download_j + training_j + upload_j
        return Spent(ns, job.download_bytes, job.upload_bytes, job.flops, energy_j)

    def enter_wave(self, jobs: SmoothJobs) -> None:
        """Jobs have ended, in this order."""
        self._gather()
        self._waves.append(jobs)
        self._count(len(jobs.number))

    def book(self, job: Job, staleness: int | None) -> Spent:
        """Any job has ended, and is entered at once, after all that wait; what it has spent."""
        self.settle()
        return self._book(job, staleness)

    def settle(self) -> None:
        """Enter all that wait."""
        if self._waves or len(self._jobs) > _FEW:
            self._gather()
            jobs = SmoothJobs.joined(self._waves)
            self._recorder.smooth(jobs, self._device_class[jobs.client])
            self._ledger.book_smooth(jobs)
            self._waves.clear()
        for job, staleness in zip(self._jobs, self._staleness, strict=True):
            self._book(job, None if staleness < 0 else staleness)
        self._jobs.clear()
        self._staleness.clear()
        self._waiting = 0

    def _count(self, jobs: int) -> None:
        self._waiting += jobs
        if self._waiting >= _MOST:
            self.settle()

    def _gather(self) -> None:
        """Let no job stand by itself."""
        if self._jobs:
            self._waves.append(SmoothJobs.of(self._jobs, self._staleness))
            self._jobs, self._staleness = [], []

    def _book(self, job: Job, staleness: int | None) -> Spent:
        device_class = int(self._device_class[job.client])
        self._recorder.job(
            job.id, job.client, device_class, job.version, job.planned(), staleness, job.batch_size
        )  # fmt: skip
        return self._ledger.book(job)
