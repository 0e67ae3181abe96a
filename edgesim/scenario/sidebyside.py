"""Side by side: groups of runs in this process, and in workers beside it if there is enough to do."""

import time
from collections.abc import Iterator, Sequence
from multiprocessing import connection

from edgesim.errors import EdgesimError, RunError
from edgesim.execution.claims import MOST, Claim, Claims, take
from edgesim.execution.process import prepare_process
from edgesim.scenario.group import Group, Run, run_group
from edgesim.scenario.progress import LOOK_EVERY_S, Asked, Notify
from edgesim.scenario.runworker import Worker, not_begun

PATIENCE_S = 2.0
"""Host time for which this process works alone. About what a worker takes to start: of sweeps that last less, none
would have done anything, and of others little is lost."""


def run_side_by_side(
    run: Run, groups: Sequence[Group], processes: int, notify: Notify, asked_to_stop: Asked
) -> list[EdgesimError]:
    """`run` all groups, in so many processes, of which this is one; what went wrong.

    What a worker raises that is no EdgesimError is raised here, once all have ended.
    """
    prepare_process()
    crew = _Crew(run, groups, processes, notify, asked_to_stop)
    try:
        for group in crew.mine():
            crew.errors += run_group(run, group, processes=crew.share, notify=notify, asked_to_stop=crew.asked_to_stop)
        crew.wait()
    finally:
        crew.close()
    return crew.errors


class _Crew:
    """This process and its workers. Each claims the next groups when it is done with the last.

    Attributes: share, processes for each to train in; errors, so far.
    """

    def __init__(self, run: Run, groups: Sequence[Group], processes: int, notify: Notify, asked_to_stop: Asked) -> None:
        size = -(-len(groups) // MOST)
        self._bundles = [groups[start : start + size] for start in range(0, len(groups), size)]
        self._wanted = min(processes, len(groups)) - 1
        self.share = processes // (self._wanted + 1)
        self.errors: list[EdgesimError] = []
        self._failures: list[Exception] = []
        self._run, self._notify, self._asked = run, notify, asked_to_stop
        self._claims, self._workers, self._taken = Claims(), list[Worker](), 0
        self._claims.put([Claim(0, number) for number in range(len(self._bundles))])
        self._begun_s = time.monotonic()

    def mine(self) -> Iterator[Group]:
        """Groups for this process, until none is left."""
        self.asked_to_stop()
        while (claim := take(self._claims.reader)) is not None:
            self._taken += 1
            for group in self._bundles[claim.piece]:
                if self.asked_to_stop():
                    self.errors.append(not_begun(group))
                else:
                    yield group

    def asked_to_stop(self) -> bool:
        """Whether the user has asked; looks after the workers as well, so it is to be called now and then."""
        asked = self._asked()
        if asked:
            for worker in self._workers:
                worker.stop()
        elif self._wanted and time.monotonic() - self._begun_s >= PATIENCE_S:
            self._start()
        self._hear(0)
        return asked

    def wait(self) -> None:
        """Until all workers have ended; those that have claimed nothing are let go. Raises what one failed with."""
        self._hear(0)
        for worker in [worker for worker in self._workers if not worker.up]:
            self._let_go(worker)
        while self._workers:
            self.asked_to_stop()
            self._hear(LOOK_EVERY_S / 2)
        if self._failures:
            raise self._failures[0]

    def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in [*self._workers]:
            self._let_go(worker)
        self._claims.close()

    def _start(self) -> None:
        """As many workers as there are processes to spare and claims left."""
        count = min(self._wanted, len(self._bundles) - self._taken)
        self._wanted = 0
        for _ in range(count):
            self._workers.append(Worker(self._run, self._bundles, self._claims, self.share))

    def _hear(self, timeout_s: float) -> None:
        wires = connection.wait([worker.wire for worker in self._workers], timeout_s) if self._workers else []
        for worker in [worker for worker in self._workers if worker.wire in wires]:
            try:
                for progress in worker.heard():
                    self._notify(progress)
            except (EOFError, OSError):
                self._let_go(worker)
                self.errors.append(
                    RunError("a worker process was killed, perhaps for want of memory; resume with fewer --workers")
                )
            if worker.ended:
                self.errors += worker.errors
                self._failures += [worker.failure] if worker.failure else []
                self._let_go(worker)

    def _let_go(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.end()
