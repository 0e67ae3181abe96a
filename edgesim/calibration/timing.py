"""Timing: how long local training takes on this machine, as a plain torch loop."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgesim.learning.models import Model

_TARGET_S, _REPETITIONS, _FEWEST = 0.02, 8, 3
_BLOCK_BYTES = 2**28  # far beyond the caches


def best_s(work: Callable[[], object], threads: int) -> float:
    """Seconds of one call: the least of several repetitions, as other work on the machine only ever adds.

    On one thread it is processor time, which leaves out what other programs take; on more, the clock's.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    once_s = _once_s(work, 1, clock)  # the first call also warms caches
    once_s = min(once_s, _once_s(work, 1, clock))
    calls = max(1, int(_TARGET_S / max(once_s, 1e-7)))
    repetitions = _REPETITIONS if once_s < 10 * _TARGET_S else _FEWEST
    return min(once_s, *(_once_s(work, calls, clock) for _ in range(repetitions)))


def _once_s(work: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start_s = clock()
    for _ in range(calls):
        work()
    return (clock() - start_s) / calls


def epoch(model: Model, samples: int, batch_size: int) -> Callable[[], None]:
    """One local epoch of SGD over made-up samples, to be called and timed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = model.build().train()
        x, y = torch.randn(samples, *model.input_shape), torch.randint(0, model.classes, (samples,))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    batches = list(zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True))

    def run() -> None:
        for some, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(net(some), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return run


def copy_bandwidth(threads: int) -> float:
    """Byte/s of copying a large block: read and written bytes both count."""
    source = torch.zeros(_BLOCK_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _BLOCK_BYTES / best_s(lambda: target.copy_(source), threads)
