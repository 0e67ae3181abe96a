"""The workers that a Ray cluster lends to a run: hired, waited for, replaced when they are lost."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from edgesim.errors import RunError
from edgesim.execution.backend import InProcess
from edgesim.execution.cluster import cause
from edgesim.execution.pieces import ATTEMPTS
from edgesim.execution.rayworker import Trainer, setup, versions

_PATIENCE_S = 300.0  # host time without any worker


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Attributes: address, see `cluster.connect`; workers, at most (None: as many as there is room for);
    gpus_per_worker, a part of one if workers share it."""

    address: str
    workers: int | None = None
    gpus_per_worker: float = 0.0


@dataclass(eq=False)
class Member:
    """A worker. Attributes: actor; ready, its answer once it has started; pieces, how many it has now."""

    actor: Any
    ready: Any
    pieces: int = 0


class Crew:
    """Attributes: members, who have started. One who has not is given nothing: perhaps there is never room."""

    def __init__(self, ray: Any, inner: InProcess, wanted: Wanted) -> None:
        self._ray, self._wanted = ray, wanted
        self._setup = [ray.put(letter) for letter in setup(inner)]
        self._starting: list[Member] = []
        self._stillborn = 0
        self.members: list[Member] = []

    def hire(self) -> None:
        """As many workers as are wanted and the cluster has room for. Raises RunError: it has none at all."""
        room = self._room()
        if room < 1:
            raise RunError(f"{self._wanted.address}: no machine of the Ray cluster has what a worker needs")
        for _ in range(min(room, self._wanted.workers or room) - len(self.members) - len(self._starting)):
            kind = self._ray.remote(num_cpus=1, num_gpus=self._wanted.gpus_per_worker)(Trainer)
            actor = kind.remote()
            self._starting.append(Member(actor, actor.begin.remote(*self._setup)))

    def wait(self, answers: Collection[Any]) -> list[Any]:
        """Which of these answers have come, at least one unless a worker has started or died meanwhile."""
        starting = {member.ready: member for member in self._starting}
        everything, patience_s = [*answers, *starting], None if answers else _PATIENCE_S
        if not self._ray.wait(everything, num_returns=1, timeout=patience_s)[0]:
            raise RunError(f"{self._wanted.address}: the Ray cluster has started no worker in {_PATIENCE_S:g} s")
        come, _ = self._ray.wait(everything, num_returns=len(everything), timeout=0)
        for answer in come:
            if answer in starting:
                self._welcome(starting[answer])
        return [answer for answer in come if answer not in starting]

    def result(self, answer: Any) -> Any:
        """What a worker answered; None if it was lost. Raises what its own code raised."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(answer)
        except errors.RayTaskError as error:
            raise cause(error) from None
        except errors.RayError:
            return None

    def dismiss(self, member: Member) -> None:
        """Let go of a worker that was lost, and hire another."""
        if member in self.members:
            self.members.remove(member)
            self._ray.kill(member.actor)
            self.hire()

    def close(self) -> None:
        """Let all go."""
        for member in (*self._starting, *self.members):
            self._ray.kill(member.actor)
        self._starting, self.members = [], []

    def _room(self) -> int:
        """Workers that the whole cluster could hold if it did nothing else."""
        resources, gpus = self._ray.cluster_resources(), self._wanted.gpus_per_worker
        room = resources.get("CPU", 0.0)
        return int(min(room, resources.get("GPU", 0.0) / gpus) if gpus else room)

    def _welcome(self, member: Member) -> None:
        self._starting.remove(member)
        theirs = self.result(member.ready)
        if theirs is None:
            self._stillborn += 1
            if self._stillborn == ATTEMPTS:
                raise RunError(f"{self._wanted.address}: workers of the Ray cluster die as soon as they start")
            self.hire()
        elif theirs != versions():
            raise RunError(f"a worker of the Ray cluster has other versions, {theirs} instead of {versions()}")
        else:
            self._stillborn = 0
            self.members.append(member)
