"""`python -m benchmarks.selection`: what a choice of clients costs, against the fleet's size.

CPU time, in one process: the median of some rounds, each a choice of so many clients, their jobs and an aggregation;
what the first choice of all takes is set-up and told apart. Two thirds of the devices are on line at any time. On a
busy machine compare only what stands in one row.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.counting import Counting, fleet
from edgesim.devices.availability import FleetAvailability, Markov
from edgesim.engine.history import History
from edgesim.engine.job import Job
from edgesim.engine.learning import Loss
from edgesim.engine.ledger import Ledger
from edgesim.engine.selection import SELECTORS, Candidates, Facts, IdleClients, Selector
from edgesim.engine.selection.expected import expect

SECOND_NS = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.selection", description="microseconds a choice")
    parser.add_argument("--clients", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--count", type=int, default=10, help="chosen at once")
    parser.add_argument("--rounds", type=int, default=200)
    asked = parser.parse_args()
    table = Table(title=f"µs a choice of {asked.count}; in brackets the set-up, ms")
    table.add_column("selector")
    for clients in asked.clients:
        table.add_column(f"{clients:,}", justify="right")
    try:
        for name, kind in SELECTORS.items():
            cells = [_cell(kind(0), clients, asked.count, asked.rounds) for clients in asked.clients]
            table.add_row(name, *cells)
    finally:
        Console(width=120).print(table)


def _cell(selector: Selector, clients: int, count: int, rounds: int) -> str:
    first_s, *rest_s = _rounds(selector, clients, count, rounds)
    return f"{1e6 * median(rest_s):,.0f} ({1e3 * first_s:,.0f})"


def _rounds(selector: Selector, clients: int, count: int, rounds: int) -> Iterator[float]:
    """CPU seconds of each choice, the first with all that goes before it."""
    away = FleetAvailability([Markov(mean_on_s=7200, mean_off_s=3600)], np.zeros(clients, np.int32), 0)
    learning, devices = Counting(clients), replace(fleet(clients), availability=away)
    samples = np.random.default_rng(0).integers(10, 100, clients)
    idle, history = (
        IdleClients(clients),
        History(Ledger(clients), lambda job: Loss(1.0 + job % 7, (1.0 + job % 7) ** 2)),
    )
    begun = time.process_time()
    selector.meet(
        Facts(
            fleet=devices,
            samples=samples,
            participants=learning.participants,
            expected=lambda: expect(devices, samples, learning.cost, "ideal"),
        )
    )
    for draw in range(rounds):
        now_ns = (1 + 10 * draw) * SECOND_NS
        candidates = Candidates(idle, now_ns, away.is_on, away.is_on_many)
        chosen = selector.select(count, draw, candidates, history)
        yield time.process_time() - begun
        history.dispatch(chosen, draw, now_ns)
        for client in chosen:
            history.arrive(Job(draw * count + client, client, draw, now_ns, 0, 0, 0, 0.0, 0), now_ns + 5 * SECOND_NS)
        history.aggregate([], draw + 1)
        begun = time.process_time()


if __name__ == "__main__":
    main()
