"""Strands: plain functions that can rest in the middle, so that several advance in turn in one process.

Each has a thread of its own for its stack, and only for that: a baton goes round, and whoever has none waits. So one
of them runs at a time, in an order that its owner decides, and nothing needs a lock. Signals stay with the main thread.
"""

import threading
from collections.abc import Callable


class Abandoned(BaseException):
    """Raised where a strand rests whose owner does not want it any more."""


class Strand:
    """`work`, done between `go_on` and `rest`.

    Attributes: error, what `work` raised; over, whether it has ended.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._mine, self._owners = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._wanted = True
        self.error: BaseException | None = None
        self.over = False

    def go_on(self) -> None:
        """For the owner: let `work` begin or go on, until it rests or ends."""
        if self.over:
            return
        if self._thread.ident is None:
            self._thread.start()
        self._mine.release()
        self._owners.acquire()  # Ctrl-C may raise here; `work` then still runs, until it rests: see `abandon`

    def rest(self) -> None:
        """For `work`: let the owner go on until it calls again.

        Raises Abandoned if it never will.
        """
        self._owners.release()
        self._mine.acquire()
        if not self._wanted:
            raise Abandoned

    def abandon(self) -> None:
        """For the owner: have `work` leave from where it rests, or will rest next, and wait until it has."""
        self._wanted = False
        if self._thread.ident is not None:
            self._mine.release()
            self._thread.join()

    def _run(self) -> None:
        self._mine.acquire()
        try:
            if self._wanted:
                self._work()
        except Abandoned:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self._owners.release()
