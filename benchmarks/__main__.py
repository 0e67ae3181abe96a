"""`make bench`: one table of edgesim against the bare limit. See README.md for how to read it."""

import argparse
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from benchmarks.measuring import Row

WORKLOADS = ("W1", "W2", "W3", "W4", "W5")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="edgesim against the bare limit")
    parser.add_argument("workloads", nargs="*", metavar="W1 … W5", help="only these (default: all)")
    parser.add_argument("--repetitions", type=int, help="instead of 7 for W1 and W4, 3 for W2 and W5, 2 for W3")
    asked = parser.parse_args()
    wanted = [name.upper() for name in asked.workloads] or list(WORKLOADS)
    if unknown := [name for name in wanted if name not in WORKLOADS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    console = Console(width=100)
    table = Table(title="medians; the clock starts with processes up, modules imported, scenarios set up")
    for heading in ("workload", "edgesim /s", "bare limit /s", "ratio", "set-up s", "peak RSS MB"):
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    try:
        for row in _rows(wanted, asked.repetitions):
            table.add_row(*_cells(row))
    finally:
        console.print(table)  # what there is, if a workload fails or the user has seen enough


def _rows(wanted: list[str], repetitions: int | None) -> Iterator[Row]:
    few, many = repetitions or 3, repetitions or 7
    plan: dict[str, list[Callable[[], Row]]] = {
        "W1": [
            lambda: measuring.apart(measuring.updates, "W1", many),
            lambda: measuring.apart(measuring.updates, "W1", few, 100),
            lambda: measuring.apart(measuring.stacked_against_loop, "W1", few),
            lambda: measuring.pooled("wide", 20),
        ],
        "W2": [
            lambda: measuring.apart(measuring.updates, "W2", few),
            lambda: measuring.side_by_side("W2"),
            lambda: measuring.pooled("W2", 20),
            lambda: measuring.apart(measuring.stacked_against_loop, "W2", few),
        ],
        "W3": [
            lambda: measuring.apart(measuring.updates, "W3", repetitions or 2),
            lambda: measuring.side_by_side("W3"),
            lambda: measuring.pooled("W3", 4),
        ],
        "W4": [
            lambda: measuring.apart(measuring.updates, "W4", many),
            lambda: measuring.apart(measuring.buffered_against_rounds, many),
        ],
        "W5": [
            lambda devices=devices: measuring.apart(measuring.events, devices, few)  # type: ignore[misc]
            for devices in (1_000, 10_000, 100_000, 1_000_000)
        ],
    }
    for name in wanted:
        for measure in plan[name]:
            yield measure()


def _cells(row: Row) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    return [
        f"{row.name} ({row.unit})",
        number(row.edgesim, ",.0f" if (row.edgesim or 0) > 100 else ".1f"),
        number(row.bare, ",.0f" if (row.bare or 0) > 100 else ".1f"),
        number(row.ratio, ".2f"),
        number(row.setup_s, ".2f"),
        number(row.rss_mb, ".0f"),
    ]


if __name__ == "__main__":
    main()
