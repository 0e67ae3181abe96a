"""Where the time goes: a sampler of the main thread's stack, and the rooms that its samples fall into.

A timer interrupts the run every millisecond and notes the stack. Unlike cProfile this does not slow small
functions more than large ones, so shares are those of an undisturbed run.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ROOMS = (
    ("set-up", ("assembly.py:assemble",)),
    ("evaluation", ("evaluation.py:evaluate",)),
    ("batches", ("batches.py:draw", "batches.py:at")),
    ("training kernels", ("local.py:local_update",)),
    ("aggregation", ("federation.py:aggregate",)),
    ("dispatch", ("federation.py:dispatch", "timing.py:dispatch", "counting.py:dispatch")),
    ("planning", ("planning.py:",)),
    ("selection", ("roster.py:select",)),
    ("recording", ("recorder.py:", "closing.py:", "checkpoint.py:", "running.py:_tidy")),
    ("ledger", ("ledger.py:", "job.py:add", "job.py:enter")),
    ("events", ("simulation.py:run",)),
)
"""A sample belongs to the first room one of whose functions is on its stack."""

_OWN = ("/edgesim/", "/algorithms/", "/devices/", "/benchmarks/")
_SIMPY = ("simpy/core.py", "simpy/events.py")


class Samples:
    """Attributes: count, samples taken; rooms, by room; functions, by the innermost function of edgesim's own."""

    def __init__(self) -> None:
        self.count = 0
        self.rooms: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    def take(self, _: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        innermost = ""
        if frame is not None and frame.f_code.co_filename == __file__:
            return  # a sample of sampling
        while frame is not None:
            path = frame.f_code.co_filename
            name = f"{path.rsplit('/', 1)[-1]}:{frame.f_code.co_name}"
            if not innermost and _is_own(path):
                innermost = name
            stack.append(name)
            frame = frame.f_back
        self.count += 1
        self.functions[innermost] += 1
        self.rooms[_room(stack)] += 1


def _is_own(path: str) -> bool:
    """Whether a function there is named in the profile; what other libraries do counts for who called them."""
    return path.endswith(_SIMPY) or ("site-packages" not in path and any(part in path for part in _OWN))


def _room(stack: list[str]) -> str:
    for room, marks in ROOMS:
        if any(name.startswith(mark) for mark in marks for name in stack):
            return room
    return "other"


@contextmanager
def sampled(into: Samples, every_s: float = 0.001) -> Iterator[None]:
    """Take samples while the block runs."""
    before = signal.signal(signal.SIGALRM, into.take)
    signal.setitimer(signal.ITIMER_REAL, every_s, every_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
