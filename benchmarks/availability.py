"""`python -m benchmarks.availability`: what it costs to ask when devices are on line, against the fleet's size.

CPU time, in one process. Each cell is the median of some repetitions. A quiet machine gives steady figures; on a busy
one compare only what stands in one row.
"""

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from edgesim.devices.availability import AlwaysOn, FleetAvailability, Markov, Process
from edgesim.devices.diurnal import Diurnal
from edgesim.devices.outages import Outages
from edgesim.devices.rules import Rule, Together, all_of
from edgesim.devices.traces import Recording, Trace
from edgesim.devices.windows import Bernoulli

HOUR_S = 3600.0
SECOND_NS = 1_000_000_000
WEEK_NS = 7 * 86_400 * SECOND_NS
QUERIES = 2000  # one device at a time
TOTALS = 2000  # devices whose time on line over a week is summed


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.availability", description="availability queries a second")
    parser.add_argument("--devices", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    table = Table(title="after an idle simulated week; k = thousand a second")
    headings = ("process", "devices", "is_on k", "next change k", "in order k", "all on k", "1 s on k", "all next k")
    for heading in (*headings, "week sums k", "B/device"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    try:
        for name, law in laws().items():
            for devices in asked.devices:
                table.add_row(name, f"{devices:,}", *_row(law, devices, asked.repetitions))
            table.add_section()
    finally:
        Console(width=120).print(table)  # what there is, if the user has seen enough


def laws() -> dict[str, Process]:
    """One process of each kind."""
    night = Diurnal(
        peak_s=2 * HOUR_S,
        hours_s=8 * HOUR_S,
        weekend_peak_s=3 * HOUR_S,
        weekend_hours_s=9 * HOUR_S,
        zones_s=(-5 * HOUR_S, -8 * HOUR_S),
        habit_s=HOUR_S,
        daily_s=HOUR_S / 2,
    )
    wifi = Markov(mean_on_s=5 * HOUR_S, mean_off_s=HOUR_S, variation=0.5)
    rule = Rule(signals={"charging": night, "wifi": wifi}, statement=all_of("charging", "wifi"))
    failing = Outages(every_s=72 * HOUR_S, lasts_s=2 * HOUR_S, share=0.3, groups=20)
    return {
        "always": AlwaysOn(),
        "bernoulli": Bernoulli(window_s=HOUR_S, chance=0.3),
        "markov": Markov(mean_on_s=2 * HOUR_S, mean_off_s=HOUR_S),
        "diurnal": night,
        "trace": Trace(recording=_recording(1000, 8)),
        "outages": failing,
        "rule": rule,
        "rule + outages": Together(processes=(rule, failing)),
    }


def _recording(users: int, sessions: int) -> Recording:
    """Six days of made-up users."""
    bounds_us = np.sort(np.random.default_rng(0).integers(0, 518_400_000_000, (users, 2 * sessions)), axis=1)
    return Recording(
        users=tuple(map(str, range(users))),
        first=np.arange(users + 1) * sessions,
        starts_us=bounds_us[:, ::2].ravel(),
        ends_us=bounds_us[:, 1::2].ravel(),
        period_us=np.full(users, 518_400_000_000),
    )


def _row(law: Process, devices: int, repetitions: int) -> list[str]:
    found = [_measure(law, devices, seed) for seed in range(repetitions)]
    return [f"{median(column):,.3g}" for column in zip(*found, strict=True)]


def _measure(law: Process, devices: int, seed: int) -> list[float]:
    """Thousands of answers a second, and bytes a device that are held after all were asked at once."""
    group, everybody = np.zeros(devices, np.int32), np.arange(devices)
    tracemalloc.start()
    fleet = FleetAvailability([law], group, seed)
    fleet.is_on_many(everybody, WEEK_NS)
    held = tracemalloc.get_traced_memory()[0] + group.nbytes
    tracemalloc.stop()
    some = random.Random(seed).choices(range(devices), k=QUERIES)
    one = fleet._started[0]
    return [
        _rate(QUERIES, lambda: [fleet.is_on(device, WEEK_NS) for device in some]),
        _rate(QUERIES, lambda: [fleet.next_change_ns(device, 2 * WEEK_NS) for device in some]),
        _rate(QUERIES, lambda: _hop(fleet, some[0], QUERIES)),
        _rate(devices, lambda: fleet.is_on_many(everybody, 3 * WEEK_NS)),
        _rate(devices, lambda: fleet.is_on_many(everybody, 3 * WEEK_NS + SECOND_NS)),
        _rate(devices, lambda: fleet.next_change_many(everybody, 4 * WEEK_NS)),
        _rate(min(TOTALS, devices), lambda: one.on_ns_many(everybody[:TOTALS], WEEK_NS)),
        held / devices,
    ]


def _hop(fleet: FleetAvailability, device: int, hops: int) -> None:
    at_ns: int | None = WEEK_NS
    for _ in range(hops):
        at_ns = fleet.next_change_ns(device, at_ns or 0)


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return count / max(time.process_time() - start, 1e-9) / 1000


if __name__ == "__main__":
    main()
