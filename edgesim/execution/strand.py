"""Strands: plain functions that can rest in the middle, so that several advance in turn in one process.

Each has a thread of its own for its stack, and only for that: a baton goes round, and whoever has none waits. So one
of them runs at a time, in an order that its owner decides, and nothing needs a lock. Signals stay with the main thread.
"""

import threading
from collections.abc import Callable


class Abandoned(BaseException):
    """Raised where a strand rests whose owner does not want it any more."""


class Strand:
    """`work`, which is given this strand, and done whenever its owner calls `go_on`.

    Attributes: over, whether it has ended.
    """

    def __init__(self, work: Callable[["Strand"], None]) -> None:
        self._work = work
        self._mine, self._owners = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._abandoned = False
        self._error: BaseException | None = None
        self.over = False

    # ── for the owner ───────────────────────────────────────────────────────────────────────────────
    def go_on(self) -> None:
        """Let the work begin, or go on from where it rests, until it rests again or ends; raises what it raised."""
        if self._thread.ident is None:
            self._thread.start()
        self._mine.release()
        self._owners.acquire()  # Ctrl-C may raise here, while the work still runs: see `abandon`
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """End the work: where it rests, or where it next rests or asks whether it is wanted."""
        self._abandoned = True
        if self._thread.ident is not None:
            self._mine.release()
            self._thread.join()

    # ── for the work ────────────────────────────────────────────────────────────────────────────────
    def rest(self) -> None:
        """Let the owner go on until it calls again. Raises Abandoned if it never will."""
        self._owners.release()
        self._mine.acquire()
        self.is_wanted()

    def is_wanted(self) -> bool:
        """True. Raises Abandoned if it is not."""
        if self._abandoned:
            raise Abandoned
        return True

    def _run(self) -> None:
        self._mine.acquire()
        try:
            self.is_wanted()
            self._work(self)
        except Abandoned:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.over = True
            self._owners.release()
