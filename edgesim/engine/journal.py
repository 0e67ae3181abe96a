"""The journal: jobs that went smoothly, entered together, which takes a fraction of what one by one does.

Nobody looks at a device's account, or at rows of events, while a run goes on. So jobs wait here until somebody does,
and then go into the ledger and the record as columns, in the order in which they ended. Sums are formed in that
order, too: neither books nor rows depend on when they were entered.
"""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from edgesim.devices.arrays import IndexArray
from edgesim.engine.job import Job, Spent
from edgesim.engine.ledger import Ledger
from edgesim.engine.recording import Recorder, SmoothJobs

_MOST = 4096  # jobs that wait
_FEW = 16  # up to about here one by one is quicker
_whole_figures = attrgetter("id", "client", "version", "batch_size", "dispatched_ns", "download_bytes", "upload_bytes")


class Journal:
    """Where smooth jobs wait for their entry."""

    def __init__(self, ledger: Ledger, recorder: Recorder, device_class: IndexArray) -> None:
        self._ledger, self._recorder, self._device_class = ledger, recorder, device_class
        self._jobs: list[Job] = []
        self._staleness: list[int] = []

    def enter(self, jobs: Sequence[Job], staleness: int | None) -> list[Spent]:
        """Smooth jobs have ended, in this order; what each has spent."""
        self._jobs += jobs
        self._staleness += [-1 if staleness is None else staleness] * len(jobs)
        if len(self._jobs) >= _MOST:
            self.settle()
        spent = []
        for job in jobs:
            _, _, end_ns, download_j, training_j, upload_j = job.smooth  # type: ignore[misc]
            ns, energy_j = end_ns - job.dispatched_ns, download_j + training_j + upload_j
            spent.append(Spent(ns, job.download_bytes, job.upload_bytes, job.flops, energy_j))
        return spent

    def book(self, job: Job, staleness: int | None) -> Spent:
        """Any job has ended, and is entered at once, after all that wait; what it has spent."""
        self.settle()
        return self._book(job, staleness)

    def settle(self) -> None:
        """Enter all that wait."""
        if len(self._jobs) > _FEW:
            jobs = self._columns()
            self._recorder.smooth(jobs, self._device_class[jobs.client])
            self._ledger.book_smooth(jobs)
        else:
            for job, staleness in zip(self._jobs, self._staleness, strict=True):
                self._book(job, None if staleness < 0 else staleness)
        self._jobs.clear()
        self._staleness.clear()

    def _book(self, job: Job, staleness: int | None) -> Spent:
        device_class = int(self._device_class[job.client])
        self._recorder.job(
            job.id, job.client, device_class, job.version, job.planned(), staleness, job.batch_size
        )  # fmt: skip
        return self._ledger.book(job)

    def _columns(self) -> SmoothJobs:
        whole = np.array([_whole_figures(job) for job in self._jobs], np.int64).T
        number, client, version, batch_size, dispatched_ns, down, up = np.ascontiguousarray(whole)
        plans = list(zip(*(job.smooth for job in self._jobs if job.smooth is not None), strict=True))
        return SmoothJobs(
            number=number,
            client=client,
            version=version,
            batch_size=batch_size,
            staleness=np.array(self._staleness, np.int64),
            edges_ns=np.array([dispatched_ns, *(np.array(edge, np.int64) for edge in plans[:3])]),
            sizes=np.array([down, np.zeros_like(down), up]),
            flops=np.array([job.flops for job in self._jobs]),
            energy_j=np.array(plans[3:]),
        )
