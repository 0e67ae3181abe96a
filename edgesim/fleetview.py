"""Fleet view: what the fleet of a scenario is made of, and when it is on line, as a table and two pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgesim import printing, shipped, units
from edgesim.devices.fleet import Fleet
from edgesim.plots import availability
from edgesim.plots import fleet as picture
from edgesim.plots.style import save
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.loading import load

_QUANTILES = (0.05, 0.5, 0.95)


def show(scenario: Path, out: Path | None) -> None:
    """Print counts and quantiles of a scenario's fleet, of its first run if it is a sweep; save the pictures.

    `out` is the picture of the fleet; that of when it is on line lies beside it: a-fleet.png, a-availability.png.

    Raises:
        ScenarioError: no such scenario, one with mistakes, or a picture cannot be written.
    """
    plan = load(shipped.find(scenario))
    planned = plan.scenarios[0]
    fleet = make_fleet(planned.scenario, plan.folder)
    header = ("device", "count", "speed", "download", "upload", "memory")
    title = f"{plan.name}: {len(fleet):,} devices, seed {planned.scenario.seed}; 5 %, median, 95 % of each"
    printing.table(title, header, list(_rows(fleet)), header[1:])
    path = out or Path(f"{plan.name}-fleet.png")
    beside = path.with_name(f"{path.stem.removesuffix('-fleet')}-availability{path.suffix}")
    _save(picture.draw(fleet, f"{plan.name}: {len(fleet):,} devices"), path)
    _save(availability.draw(fleet, f"{plan.name}: devices on line, hour by hour"), beside)


def _save(figure: Figure, path: Path) -> None:
    save(figure, path)
    printing.lines(str(path))


def _rows(fleet: Fleet) -> Iterator[Sequence[str]]:
    yield _row("all", fleet, np.arange(len(fleet)))
    for number, name in enumerate(fleet.class_names):
        rows = np.flatnonzero(fleet.device_class == number)
        yield _row(name, fleet, rows) if len(rows) else (name, "0", "", "", "", "")


def _row(name: str, fleet: Fleet, rows: NDArray[np.int64]) -> Sequence[str]:
    figures = (
        (fleet.compute_flops, "compute"),
        (fleet.down_bps, "rate"),
        (fleet.up_bps, "rate"),
        (fleet.memory_bytes.astype(np.float64), "size"),
    )
    return (name, f"{len(rows):,}", *(_quantiles(values[rows], kind) for values, kind in figures))


def _quantiles(values: NDArray[np.float64], kind: str) -> str:
    """Three figures in the unit of the middle one: "4.1 9 20 GFLOP/s"; each in its own where they are too far apart
    for that: "32.8 kB 1 GB 4 GB". One where all are alike."""
    low, middle, high = np.quantile(values, _QUANTILES).tolist()
    own = [units.short(value, kind) for value in (low, middle, high)]
    if low == high:
        return own[1]
    number, unit = own[1].split(" ", 1)
    worth = middle / float(number)
    if low < 0.01 * worth or high >= 1000 * worth:
        return " ".join(own)
    return f"{low / worth:.3g} {float(number):.3g} {high / worth:.3g} {unit}"
