"""`python -m benchmarks.profile [W1 …]`: where each workload's time goes, by room and by function."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks import counting, endtoend
from benchmarks.sampling import Samples, sampled
from edgesim.execution.process import prepare_process

_REPETITIONS = {"W1": 10, "W2": 1, "W3": 1, "W4": 10, "W5": 3}
_FUNCTIONS = 25


def main() -> None:
    prepare_process()
    for name in [name.upper() for name in sys.argv[1:]] or list(_REPETITIONS):
        samples = Samples()
        once = _events if name == "W5" else _workload(name)
        once(None)
        seconds, units = zip(*(once(sampled(samples)) for _ in range(_REPETITIONS[name])), strict=True)
        _show(name, samples, 1e6 * sum(seconds) / sum(units))


def _workload(name: str) -> Callable[[AbstractContextManager[None] | None], tuple[float, int]]:
    def once(around: AbstractContextManager[None] | None) -> tuple[float, int]:
        timed = endtoend.run(name.lower(), around=around)
        return timed.run_s, timed.updates

    return once


def _events(around: AbstractContextManager[None] | None) -> tuple[float, int]:
    return counting.run(100_000, 20_000, around), 20_000


def _show(name: str, samples: Samples, each_us: float) -> None:
    print(f"\n{name}: {each_us:,.1f} µs a {'job' if name == 'W5' else 'client update'}, {samples.count} samples")
    for title, counts in (("by room", samples.rooms), ("by function, its libraries included", samples.functions)):
        print(f"  {title}")
        for key, count in counts.most_common(_FUNCTIONS):
            share = count / samples.count
            print(f"    {key or 'other':<36} {share:6.1%} {share * each_us:10,.1f} µs")


if __name__ == "__main__":
    main()
