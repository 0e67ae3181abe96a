"""Measuring: edgesim and the bare limit in turn, in a process of their own, on one thread."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import bare, counting, endtoend
from benchmarks.rounds import learning_of, placed
from edgesim.engine.learning import Learning
from edgesim.execution.process import prepare_process

_START_S = 10.0  # host time that a worker takes to import what it needs, and more
JOBS = 200_000  # of W5, at each size of the fleet


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. Attributes: edgesim, bare, in units a second (None: not measured); ratio, median of
    the ratios within each repetition; setup_s; rss_mb, peak of the process before the bare side ran."""

    name: str
    unit: str
    edgesim: float | None
    bare: float | None
    ratio: float | None
    setup_s: float | None = None
    rss_mb: float | None = None


def updates(name: str, repetitions: int, rounds: int | None = None) -> Row:
    """W1, W2, W3 or W4: client updates a second. `rounds`: of W1, where it is to last longer."""
    limit, longer = _limit(name, rounds), () if rounds is None else (f"stop.aggregations={rounds}",)
    endtoend.run(name.lower(), "stop.aggregations=1")  # first calls: lazy imports, warm caches
    runs, limits, rss_mb = [], [], 0.0
    for _ in range(repetitions):
        runs.append(endtoend.run(name.lower(), *longer))
        rss_mb = rss_mb or _peak_mb()
        limits.append(limit())
    count = runs[0].updates
    return Row(
        name=name if rounds is None else f"{name}, {rounds} rounds",
        unit="updates",
        edgesim=count / statistics.median(run.run_s for run in runs),
        bare=count / statistics.median(limits),
        ratio=statistics.median(b / run.run_s for run, b in zip(runs, limits, strict=True)),
        setup_s=statistics.median(run.setup_s for run in runs),
        rss_mb=rss_mb,
    )


def _limit(name: str, rounds: int | None) -> Callable[[], float]:
    if name == "W1":
        return bare.dense_rounds(replace(bare.W1, rounds=rounds or bare.W1.rounds))
    if name == "W4":
        return lambda: bare.Buffered().run()
    return bare.image_rounds(name)


def rounds_s(name: str) -> tuple[float, float]:
    """Seconds of a round of W1, W2 or W3, of W4's ten updates: by what more take, and of a run of its own length."""
    endtoend.run(name.lower(), "stop.aggregations=1")  # first calls
    if name == "W4":
        few, longer = bare.W1.updates // bare.BUFFER, f"stop.updates={3 * bare.W1.updates}"
    else:
        few = {"W1": bare.W1, "W2": bare.W2, "W3": bare.W3}[name].rounds
        longer = f"stop.aggregations={3 * few}"
    short = statistics.median(endtoend.run(name.lower()).run_s for _ in range(3))
    long = statistics.median(endtoend.run(name.lower(), longer).run_s for _ in range(3))
    return (long - short) / (2 * few), short / few


def buffered_against_rounds(repetitions: int) -> Row:
    """W4's throughput over W1's."""
    return _one_over_other("W4 over W1 (as bare)", ("w4",), ("w1",), repetitions)


def stacked_against_loop(name: str, repetitions: int) -> Row:
    """A workload with cohorts stacked over the same one client at a time."""
    stacked, loop = ((name.lower(), f"execution.backend={backend}") for backend in ("stacked", "loop"))
    for arguments in (stacked, loop):
        endtoend.run(*arguments, "stop.aggregations=1")  # first calls
    return _one_over_other(f"{name}, stacked over loop (as bare)", stacked, loop, repetitions)


def _one_over_other(name: str, one: Sequence[str], other: Sequence[str], repetitions: int) -> Row:
    """Two runs of edgesim in turn."""
    pairs = [(endtoend.run(*one), endtoend.run(*other)) for _ in range(repetitions)]
    return Row(
        name=name,
        unit="updates",
        edgesim=statistics.median(a.updates / a.run_s for a, _ in pairs),
        bare=statistics.median(b.updates / b.run_s for _, b in pairs),
        ratio=statistics.median(a.updates / a.run_s / (b.updates / b.run_s) for a, b in pairs),
    )


def events(devices: int, repetitions: int) -> Row:
    """W5 on a fleet of that size: jobs a second; the limit is SimPy alone."""
    counting.run(min(devices, 10_000), 1_000)
    runs, limits, rss_mb = [], [], 0.0
    for _ in range(repetitions):
        runs.append(counting.run(devices, JOBS))
        rss_mb = rss_mb or _peak_mb()
        limits.append(bare.timeouts(JOBS))
    return Row(
        name=f"W5, {devices:,} devices",
        unit="jobs",
        edgesim=JOBS / statistics.median(runs),
        bare=JOBS / statistics.median(limits),
        ratio=statistics.median(b / r for r, b in zip(runs, limits, strict=True)),
        rss_mb=rss_mb,
    )


def _peak_mb() -> float:
    """Peak memory of this process alone: what Linux calls maxrss begins with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=prepare_process) as pool:
        return pool.apply(function, args)


def side_by_side(name: str, processes: int = 2) -> Row:
    """The bare limit of W2 or W3 with each cohort spread over processes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_start_beside, initargs=(barrier,)) as pool:
        waiting = [pool.apply_async(_beside, (name, processes)) for _ in range(processes)]
        seconds = max(result.get() for result in waiting)
    return Row(
        name=f"{name}, bare in {processes} processes",
        unit="updates",
        edgesim=None,
        bare=bare.NETS[name][0].updates / seconds,
        ratio=None,
    )


def pooled(name: str, rounds: int, processes: int = 2) -> Row:
    """Rounds of W2, W3 or wide in a pool of workers, over the same in one process; in turn, workers already up."""
    prepare_process()
    learners = {}
    for count in (1, processes):
        learners[count], size = learning_of(name.lower(), processes=count)
    seconds: dict[int, list[float]] = {count: [] for count in learners}
    up_s, first = time.perf_counter() + _START_S, 0
    while time.perf_counter() < up_s:  # until the workers are up; not counted
        _round_s(learners[processes], first, size)
        first += 1
    for number in range(first, first + rounds + 1):
        for count, learner in learners.items():
            seconds[count].append(_round_s(learner, number, size))
    for learner in learners.values():
        learner.close()
    pairs = list(zip(seconds[1][1:], seconds[processes][1:], strict=True))
    return Row(
        name=f"{name}, pool of {processes} over one process (as bare)",
        unit="updates",
        edgesim=statistics.median(size / many for _, many in pairs),
        bare=statistics.median(size / one for one, _ in pairs),
        ratio=statistics.median(one / many for one, many in pairs),
    )


def _round_s(learner: Learning, number: int, size: int) -> float:
    _, received = placed(learner, number, size)
    start = time.perf_counter()
    learner.aggregate(received)
    return time.perf_counter() - start


_shared: dict[str, Any] = {}


def _start_beside(barrier: Any) -> None:
    prepare_process()
    _shared["barrier"] = barrier


def _beside(name: str, processes: int) -> float:
    rounds = bare.image_rounds(name, processes)
    _shared["barrier"].wait()
    return rounds()
