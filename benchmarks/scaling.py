"""`python -m benchmarks.scaling`: what grows with what, over three decades; processor time, in one process.

Compare what stands in one column: costs of O(1) stay, of O(log n) creep, of O(n) grow tenfold a row. How the choice of
clients grows is told by `benchmarks.selection`.
"""

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import availability, counting, network
from edgesim.devices.availability import FleetAvailability, Process
from edgesim.devices.fleet import Fleet, FleetGroup, sample_fleet
from edgesim.devices.profiles import find_device, find_link
from edgesim.engine.history import History
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Sync
from edgesim.engine.selection import Uniform
from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

FLOWS = (10, 100, 1_000, 10_000)
DEVICES = (1_000, 10_000, 100_000, 1_000_000)
JOBS = 100_000
FEW = 1_000  # jobs of a run that is taken off, with all that a run pays once
QUERIES = 2_000
COHORT = 100
_CONSOLE = Console(width=120)


def main() -> None:
    tables = {"flows": flows, "availability": availabilities, "memory": memory, "engine": engine}
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description="what grows with what")
    parser.add_argument("tables", nargs="*", choices=[[], *tables], help="only these (default: all)")
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    for name in asked.tables or tables:
        _CONSOLE.print(tables[name](asked.repetitions))


def flows(repetitions: int) -> Table:
    """Events of transfers that share a network; each start or end is one."""
    columns: dict[str, Callable[[int], float]] = {
        "star, nothing shared": lambda count: network.event_us(count, 0, 10.0),
        "star, server full": lambda count: network.event_us(count, 0, 0.5),
        "tree of 10 gateways": lambda count: network.event_us(count, 10, 0.5),
        "tree of 100 gateways": lambda count: network.event_us(count, 100, 0.5),
    }
    rows = {
        count: [1e6 / min(measure(count) for _ in range(repetitions)) for measure in columns.values()]
        for count in FLOWS
    }
    return _table("starts and ends of transfers a second", "transfers under way", columns, rows)


def availabilities(repetitions: int) -> Table:
    """Queries about a fleet that has idled for a week."""
    laws = availability.laws()
    names = ("always", "markov", "diurnal", "rule + outages")
    columns = [f"{name}, {how}" for name in names for how in ("one", "all")]
    rows = {
        devices: [
            median(figures)
            for name in names
            for figures in zip(*(_queries(laws[name], devices, seed) for seed in range(repetitions)), strict=True)
        ]
        for devices in DEVICES
    }
    return _table("thousand answers a second: is it on line, and when next not?", "devices", columns, rows)


def _queries(law: Process, devices: int, seed: int) -> tuple[float, float]:
    """Thousands a second: asked of one device at a time, and of all at once."""
    fleet, week_ns = FleetAvailability([law], np.zeros(devices, np.int32), seed), availability.WEEK_NS
    some, everybody = np.random.default_rng(seed).integers(0, devices, QUERIES).tolist(), np.arange(devices)
    begun_s = time.process_time()
    for device in some:
        fleet.is_on(device, week_ns)
        fleet.next_change_ns(device, week_ns)
    one_s = time.process_time() - begun_s
    begun_s = time.process_time()
    fleet.is_on_many(everybody, week_ns)
    fleet.next_change_many(everybody, week_ns)
    return 2e-3 * QUERIES / one_s, 2e-3 * devices / (time.process_time() - begun_s)


def memory(repetitions: int) -> Table:
    """Bytes held for each device of a fleet that idles."""
    columns = ("fleet", "of which availability", "ledger", "history", "idle list", "copies in the engine", "in all")
    return _table("bytes a device", "devices", columns, {devices: _held(devices) for devices in DEVICES})


def _held(devices: int) -> list[float]:
    """Of each part, made alone; and of a simulation that is ready to begin, which holds some of them."""
    boards, ledger = _fleet(devices), Ledger(devices)
    parts: tuple[Callable[[], object], ...] = (
        lambda: _fleet(devices),
        lambda: _availability(devices),
        lambda: Ledger(devices),
        lambda: History(ledger),
        lambda: IdleClients(devices),
        lambda: _begun(boards),
    )
    fleet, on_line, booked, history, idle, engine = (_bytes(part) / devices for part in parts)
    return [fleet, on_line, booked, history, idle, engine - booked - history - idle, fleet + engine]


def _bytes(make: Callable[[], object]) -> int:
    tracemalloc.start()
    made = make()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return held


def _fleet(devices: int) -> Fleet:
    """Two kinds of phones on two kinds of links under the dearest law of availability."""
    law, here = availability.laws()["rule + outages"], Path()
    groups = [
        FleetGroup(device=find_device(device, here), share=0.5, link=find_link(link, here), availability=law)
        for device, link in (("pixel-6", "lte"), ("phone-mid", "wifi-users"))
    ]
    return sample_fleet(groups, devices, 0)


def _availability(devices: int) -> FleetAvailability:
    made = FleetAvailability([availability.laws()["rule + outages"]], np.zeros(devices, np.int32), 0)
    made.is_on_many(np.arange(devices), availability.WEEK_NS)
    return made


def _begun(boards: Fleet) -> Simulation:
    """Ready for its first event, with the ledger and the rest."""
    with tempfile.TemporaryDirectory() as folder:
        return Simulation(
            fleet=boards, learning=counting.Counting(len(boards)), schedule=Sync(COHORT), selector=Uniform(0),
            rules=Rules(), recorder=Recorder(Path(folder), boards.class_names),
            evaluate=Evaluate(every_aggregations=10), stop=Stop(updates=1),
        )  # fmt: skip


def engine(repetitions: int) -> Table:
    """Jobs of a fleet that is always on line, chosen at random in rounds, with ledger and Parquet."""
    columns = ("a job, in µs", "what a run pays once, in ms")
    rows = {devices: _jobs(devices, repetitions) for devices in DEVICES}
    return _table("the engine, without any training", "devices", columns, rows)


def _jobs(devices: int, repetitions: int) -> list[float]:
    """The time of one job more, and that of a run without any."""
    few, many = (min(_run_s(devices, jobs) for _ in range(repetitions)) for jobs in (FEW, FEW + JOBS))
    return [1e6 * (many - few) / JOBS, 1e3 * (few - (many - few) / JOBS * FEW)]


def _run_s(devices: int, jobs: int) -> float:
    spent: list[float] = []

    @contextmanager
    def timed() -> Iterator[None]:
        begun_s = time.process_time()
        yield
        spent.append(time.process_time() - begun_s)

    counting.run(devices, jobs, timed())
    return spent[0]


def _table(title: str, first: str, columns: Iterable[str], rows: dict[int, list[float]]) -> Table:
    """Each figure, and how many times that of the row above it is."""
    table, before = Table(title=title), list[float]()
    for heading in (first, *columns):
        table.add_column(heading, justify="right")
    for size, figures in rows.items():
        olds = before or [0.0] * len(figures)
        ratios = [f"  ×{value / old:.2f}" if old else "" for value, old in zip(figures, olds, strict=True)]
        table.add_row(f"{size:,}", *(f"{value:,.4g}{ratio}" for value, ratio in zip(figures, ratios, strict=True)))
        before = figures
    return table


if __name__ == "__main__":
    main()
