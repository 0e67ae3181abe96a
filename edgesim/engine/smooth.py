"""Smooth plans: those of jobs that nothing comes in the way of, one at a time or of many that begin together.

Both give the same, to the nanosecond and the last bit of a joule: the arithmetic is the same, in numbers or in columns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from edgesim.devices.arrays import BoolArray, IntArray
from edgesim.engine.job import Job, Smooth, SmoothJobs
from edgesim.engine.learning import Assignment
from edgesim.engine.outlines import Outline, Outlines, asked
from edgesim.engine.presence import Presence
from edgesim.engine.radio import Radio


class SmoothPlans:
    """Makes jobs, and plans those that it can."""

    def __init__(self, outlines: Outlines, radio: Radio, presence: Presence) -> None:
        self._outlines, self._radio, self._presence = outlines, radio, presence

    def one(
        self, number: int, client: int, version: int, now_ns: int, assigned: Assignment, *, planned: bool = True
    ) -> Job:
        """A job that begins now; `planned` where nothing comes in its way."""
        takes = self._outlines.one(number, client, assigned)
        work, upload_bytes = assigned.workload, assigned.upload_bytes
        job = Job(
            number, client, version, now_ns, assigned.download_bytes, -1 if upload_bytes is None else upload_bytes,
            takes.train_ns, work.flops, work.memory_bytes, assigned.batch_size,
        )  # fmt: skip
        if planned and takes.fits:
            self._plan(job, takes)
        return job

    def _plan(self, job: Job, takes: Outline) -> None:
        download_ns, train_ns, up_ns, _, download_j, training_j, upload_j, download_w, upload_w = takes
        radio, client, start_ns = self._radio, job.client, job.dispatched_ns
        if radio.any:
            until_ns = radio.until_ns(client)
            download_ns, download_j, until_ns = radio.one(
                client, until_ns, start_ns, download_ns, download_j, download_w
            )
            upload_ns = start_ns + download_ns + train_ns
            up_ns, upload_j, _ = radio.one(client, until_ns, upload_ns, up_ns, upload_j, upload_w)
        training_ns = start_ns + download_ns
        upload_ns = training_ns + train_ns
        end_ns = upload_ns + up_ns
        if not self._presence.stays(client, start_ns, end_ns):
            return
        job.smooth = Smooth(training_ns, upload_ns, end_ns, download_j, training_j, upload_j)

    def many(
        self, first: int, clients: Sequence[int], version: int, now_ns: int, assignments: Sequence[Assignment]
    ) -> "Plans":
        """Jobs, numbered from `first`, that begin now."""
        who, jobs = np.array(clients), len(clients)
        numbers = np.arange(first, first + jobs)
        takes = self._outlines.many(numbers, who, assignments)
        start_ns = np.full(jobs, now_ns)
        down_ns, up_ns, download_j, upload_j = takes.download_ns, takes.upload_ns, takes.download_j, takes.upload_j
        radio = self._radio
        if radio.any:
            until_ns = radio.untils_ns(who)
            down_ns, download_j, until_ns = radio.many(who, until_ns, start_ns, down_ns, download_j, takes.download_w)
            upload_ns = start_ns + down_ns + takes.train_ns
            up_ns, upload_j, _ = radio.many(who, until_ns, upload_ns, up_ns, upload_j, takes.upload_w)
        training_ns = start_ns + down_ns
        upload_ns = training_ns + takes.train_ns
        end_ns = upload_ns + up_ns
        want = asked(assignments)
        columns = SmoothJobs(
            number=numbers,
            client=who,
            version=np.full(jobs, version),
            batch_size=want.batch_size,
            staleness=np.full(jobs, -1),
            edges_ns=np.array([start_ns, training_ns, upload_ns, end_ns]),
            sizes=np.array([want.down, np.zeros_like(want.down), want.up]),
            flops=want.flops,
            energy_j=np.array([download_j, takes.training_j, upload_j]),
        )
        fits = (takes.fits > 0) & self._presence.stay(who, now_ns, end_ns)
        return Plans(columns, fits, assignments)


@dataclass(frozen=True, slots=True)
class Plans:
    """Jobs that begin together, and how they go where nothing comes in their way.

    Attributes: columns, of all of them; fits, of whom nothing does [job]; assignments, one a job.
    """

    columns: SmoothJobs
    fits: BoolArray
    assignments: Sequence[Assignment]

    def jobs(self, places: IntArray | None = None) -> list[Job]:
        """One by one, those at these places, or all: planned where nothing comes in their way."""
        columns, fits, assignments = self.columns, self.fits, self.assignments
        if places is not None:
            columns, fits = columns.some(places), fits[places]
            assignments = [assignments[place] for place in places.tolist()]
        start_ns, training_ns, upload_ns, _ = columns.edges_ns
        plans = map(_smooth, zip(*(c.tolist() for c in (*columns.edges_ns[1:], *columns.energy_j)), strict=True))
        return list(map(
            Job, columns.number.tolist(), columns.client.tolist(), columns.version.tolist(), start_ns.tolist(),
            [assigned.download_bytes for assigned in assignments],
            [-1 if assigned.upload_bytes is None else assigned.upload_bytes for assigned in assignments],
            (upload_ns - training_ns).tolist(), columns.flops.tolist(),
            [assigned.workload.memory_bytes for assigned in assignments], columns.batch_size.tolist(),
            repeat(-1), repeat(-1), repeat(0),
            plans if fits.all() else [plan if fit else None for plan, fit in zip(plans, fits.tolist(), strict=True)],
        ))  # fmt: skip


_smooth: Callable[[Iterable[Any]], Smooth] = partial(tuple.__new__, Smooth)  # a third of the time of `_make`
