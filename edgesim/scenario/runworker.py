"""A worker process that carries out runs: seen from its parent, and what it does."""

import contextlib
import select
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from edgesim.errors import EdgesimError
from edgesim.execution import workers
from edgesim.execution.claims import Claims, take
from edgesim.execution.poolworker import Failure, sendable
from edgesim.scenario.group import Group, Run, run_group
from edgesim.scenario.progress import Interrupted, Progress


class Worker(workers.Child):
    """A process that claims groups of runs. Attributes: up, it may have claimed some; ended,
    it is done, with these errors, or failed with something else."""

    def __init__(self, run: Run, bundles: Sequence[Sequence[Group]], claims: Claims, processes: int) -> None:
        super().__init__(_work, claims.reader, run, bundles, processes, daemon=False)  # for it may have some of its own
        self.up = self.ended = self._stopping = False
        self.failure: Exception | None = None
        self.errors: list[EdgesimError] = []

    def heard(self) -> Iterator[Progress]:
        """How far its runs are; what it says of itself is noted. Raises EOFError or OSError where it is dead."""
        while not self.ended and self.wire.poll():
            said = self.wire.recv()
            if isinstance(said, Progress):
                yield said
            elif said is None:
                self.up = True
            elif isinstance(said, Failure):
                self.ended, self.failure = True, said.error
            else:
                self.ended, self.errors = True, said

    def stop(self) -> None:
        """Ask it to leave its runs as they are."""
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):  # it is dead, as its wire will tell
                self.wire.send(None)


def not_begun(group: Group) -> Interrupted:
    """The error of runs that the user's wish to stop came before."""
    return Interrupted("\n".join(f"{directory}: not begun" for directory in group))


# ── in the worker ───────────────────────────────────────────────────────────────────────────────────────
def _work(wire: Connection, claims: Connection, run: Run, bundles: Sequence[Sequence[Group]], processes: int) -> None:
    workers.begin()
    wire.send(None)  # before the first claim: a worker that has not said so has none
    errors: list[EdgesimError] = []

    def notify(progress: Progress) -> None:
        if select.select([], [wire], [], 0)[1]:  # a parent that is busy need not hear everything
            wire.send(progress)

    try:
        while (claim := take(claims)) is not None:
            for group in bundles[claim.piece]:
                if wire.poll():  # all that is ever sent here is the wish to stop
                    errors.append(not_begun(group))
                else:
                    errors += run_group(run, group, processes=processes, notify=notify, asked_to_stop=wire.poll)
        wire.send(errors)
    except Exception as error:
        wire.send(Failure(sendable(error)))
