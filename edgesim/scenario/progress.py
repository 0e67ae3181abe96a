"""Progress: how far a run is, told between two instants; where it leaves when it is asked to."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesim.errors import EdgesimError
from edgesim.execution import checkpoint
from edgesim.scenario.record import Record

LOOK_EVERY_S = 0.2  # host time between two looks at the clock of progress and at Ctrl-C


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is. Attributes: share, of its stop that is reached, 0 to 1; done, it has ended."""

    label: str
    time_s: float
    updates: int
    accuracy: float
    share: float
    done: bool = False


Notify = Callable[[Progress], None]
Asked = Callable[[], bool]


class Interrupted(EdgesimError):  # noqa: N818 not an error: the user asked for it
    """The user asked to stop; what there is has been written and can be resumed."""

    exit_code = 130


class Terminated(Interrupted):
    """The same by a SIGTERM."""

    exit_code = 143


class Pause:
    """Between two instants: report, save a checkpoint when one is due (host time), leave if asked to.

    Host time decides when, never what: neither a report nor a checkpoint changes the simulation.
    """

    def __init__(self, made: Record, directory: Path, notify: Notify, asked_to_stop: Asked) -> None:
        self._made, self._directory, self._notify, self._asked = made, directory, notify, asked_to_stop
        self._every_s = made.scenario.execution.checkpoint_every
        self._looked = self._saved = time.monotonic()

    def __call__(self, simulation: Any) -> bool:
        now = time.monotonic()
        if now - self._saved >= self._every_s:
            checkpoint.save(self._directory, simulation.state(), self._made.hash)
            self._saved = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return False
        self._looked = now
        self._notify(self.progress(simulation))
        return self._asked()

    def progress(self, simulation: Any, *, done: bool = False) -> Progress:
        return Progress(
            label=self._made.label,
            time_s=simulation.now_ns / 1e9,
            updates=simulation.updates,
            accuracy=simulation.last["accuracy"],
            share=1.0 if done else simulation.share_done(),
            done=done,
        )
