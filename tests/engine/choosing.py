"""Small worlds for tests of selectors: clients given by numbers, histories written by hand."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from worlds import fleet, workload

from edgesim.devices.availability import Process
from edgesim.engine.history import History
from edgesim.engine.job import Job
from edgesim.engine.learning import Assignment, Loss
from edgesim.engine.ledger import Ledger
from edgesim.engine.selection import Candidates, Facts, IdleClients
from edgesim.engine.selection.expected import expect

S = 1_000_000_000


def facts(
    train_s: list[float], samples: list[int] | None = None, availability: Process | None = None, **radio: Any
) -> Facts:
    """Devices as in `worlds.fleet`: a job trains `train_s` and takes 1 s either way."""
    devices, count = fleet(train_s, availability=availability, **radio), np.array(samples or [1] * len(train_s))
    everyone = np.arange(len(train_s))

    def cost(client: int) -> Assignment:
        return Assignment(download_bytes=10**6, workload=workload(1e9), upload_bytes=10**6)

    return Facts(
        fleet=devices, samples=count, participants=everyone, expected=lambda: expect(devices, count, cost, "ideal")
    )


def candidates(
    idle: IdleClients | int,
    off: Iterable[int] = (),
    *,
    now_s: float = 0.0,
    among: Callable[[int], bool] | None = None,
    asked: list[int] | None = None,
) -> Candidates:
    """All idle clients but those that are `off` line; who is asked about is noted in `asked`."""
    away, noted = set(off), [] if asked is None else asked

    def is_on(client: int, t_ns: int) -> bool:
        noted.append(client)
        return client not in away

    def is_on_many(
        clients: "np.ndarray[tuple[int], np.dtype[np.int64]]", t_ns: int
    ) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return np.array([is_on(client, t_ns) for client in clients.tolist()], np.bool_)

    all_of = IdleClients(idle) if isinstance(idle, int) else idle
    return Candidates(all_of, round(now_s * S), is_on, is_on_many, among)


class Past(History):
    """A history that tests write. Attributes: losses, of jobs; a job has the number of its client; read, the jobs
    whose losses were read."""

    def __init__(self, clients: int) -> None:
        self.job_loss: dict[int, Loss] = {}
        self.read: list[int] = []
        super().__init__(Ledger(clients), self._told)

    def _told(self, job: int) -> Loss | None:
        self.read.append(job)
        return self.job_loss.get(job)

    def job(
        self, client: int, version: int, *, took_s: float = 1.0, loss: float | None = None, at_s: float = 0
    ) -> None:
        """A job was dispatched at that version, and its update arrived; each sample had this loss."""
        self.dispatch([client], version, round(at_s * S))
        if loss is not None:
            self.job_loss[client] = Loss(loss, loss**2)
        done_ns = round((at_s + took_s) * S)
        self.arrive(Job(client, client, version, round(at_s * S), 0, 0, 0, 0.0, 0), done_ns)
