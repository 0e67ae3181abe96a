"""A worker process of a pool: seen from its parent, and what it does.

It asks for a batch (None), claims pieces of it until none is left, answers each with its number and the
results, and asks again.
"""

import contextlib
import pickle
from dataclasses import dataclass
from mmap import mmap
from multiprocessing.connection import Connection

from edgesim import references
from edgesim.errors import RunError
from edgesim.execution import workers
from edgesim.execution.backend import InProcess
from edgesim.execution.claims import Claims, take
from edgesim.execution.shared import Parcel, Shelf, receive
from edgesim.learning.local import Result


@dataclass(frozen=True)
class Failure:
    """What went wrong in a worker, for its parent to raise."""

    error: Exception


class Worker(workers.Child):
    """A process that trains. Attributes: round, whose batch it was given last; asks, it
    has nothing to do; busy, it has a batch; with neither it is still starting."""

    def __init__(self, claims: Claims, setup: Parcel) -> None:
        super().__init__(_work, claims.reader, daemon=True)
        self.round, self.asks, self.busy = 0, False, False
        self._shelf: dict[int, mmap] = {}  # where its results lie
        with contextlib.suppress(OSError):  # it is dead, as its wire will tell
            setup.send(self.wire)

    def begin(self, number: int, batch: Parcel) -> None:
        """Let it train pieces of the batch of that round."""
        self.round, self.asks, self.busy = number, False, True
        with contextlib.suppress(OSError):
            self.wire.send(number)
            batch.send(self.wire)

    def answer(self) -> tuple[int, list[Result]] | None:
        """A piece's number and results; None if it asks for a batch.

        Raises EOFError or OSError where it is dead, and what it failed with.
        """
        said = self.wire.recv()
        if isinstance(said, Failure):
            raise RunError(f"a worker failed: {said.error}") if isinstance(said.error, OSError) else said.error
        if said is None:
            self.asks, self.busy = True, False
            return None
        return said, receive(self.wire, self._shelf).copy(0)


# ── in the worker ───────────────────────────────────────────────────────────────────────────────────────
def _work(wire: Connection, claims: Connection) -> None:
    workers.begin()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or has let go of this one
        setup = receive(wire)
        try:
            references.run_files(setup[0])
            backend: InProcess = setup[1]
        except Exception as error:
            wire.send(Failure(sendable(error)))
        else:
            _serve(wire, claims, backend)


def _serve(wire: Connection, claims: Connection, backend: InProcess) -> None:
    claim, shelf = None, Shelf()
    while True:
        wire.send(None)
        number, batch = wire.recv(), receive(wire)
        shelf.clear()  # it is given a batch after its results of the last one have been copied
        claim = claim or take(claims)
        while claim is not None and claim.round == number:
            try:
                results = Parcel([backend.train(batch[claim.piece])], shelf)
            except Exception as error:
                wire.send(Failure(sendable(error)))
                return
            wire.send(claim.piece)
            results.send(wire)
            results.close()
            claim = take(claims)  # if it is of a later round, that batch comes next


def sendable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")
    return error
