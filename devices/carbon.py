"""Carbon: grams of CO2 equivalent that a joule causes, by region and time."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.traceimports import LONGEST_S
from edgesim.errors import ScenarioError
from edgesim.spelling import advice
from edgesim.units import TABLE

_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True, eq=False)
class CarbonIntensity:
    """Intensity of electricity, constant from one start to the next and beginning anew after the period.

    Attributes: regions; starts_ns [step], ascending from 0; g_per_kwh [region, step]; period_ns.

    Raises:
        ValueError: steps that do not ascend from 0 within the period, or an intensity that is negative or not finite.
    """

    regions: tuple[str, ...]
    starts_ns: IntArray
    g_per_kwh: FloatArray
    period_ns: int

    def __post_init__(self) -> None:
        bounds_ns = np.append(self.starts_ns, self.period_ns)
        if bounds_ns[0] != 0 or not (np.diff(bounds_ns) > 0).all():
            raise ValueError(f"starts {self.starts_ns.tolist()} ns: must ascend from 0 to below {self.period_ns}")
        if self.g_per_kwh.shape != (len(self.regions), len(self.starts_ns)):
            raise ValueError(f"intensities {self.g_per_kwh.shape}: must be [region, step]")
        if not (np.isfinite(self.g_per_kwh) & (self.g_per_kwh >= 0)).all():
            raise ValueError("g_per_kwh: must be 0 or more")

    def index(self, region: str) -> int:
        """The number of a region. Raises ScenarioError for one that is not there."""
        if region not in self.regions:
            raise ScenarioError(f"unknown region '{region}'; {advice(region, self.regions)}")
        return self.regions.index(region)

    def grams(
        self,
        region: IntArray | int,
        joules: FloatArray | float,
        start_ns: IntArray | int,
        end_ns: IntArray | int,
    ) -> FloatArray:
        """Grams of CO2e for joules drawn at even power in [start, end), all [n] or one for all; start may be end."""
        start, end = np.asarray(start_ns), np.asarray(end_ns)
        whole_ns = start - start % self.period_ns  # integrals over many periods would cancel but for their last digits
        start, end = start - whole_ns, end - whole_ns
        # an instant is the limit of short times: the intensity there
        length_ns = np.maximum(end - start, 1)
        passed = (self._integral(region, end) - self._integral(region, start)) / length_ns
        mean = np.where(end == start, self.g_per_kwh[region, self._step(start)], passed)
        grams: FloatArray = joules * mean / _J_PER_KWH
        return grams

    def _integral(self, region: IntArray | int, t_ns: IntArray) -> FloatArray:
        """Of the intensity over [0, t), in g/kWh · ns."""
        lengths_ns = np.diff(np.append(self.starts_ns, self.period_ns))
        before = np.pad(np.cumsum(self.g_per_kwh * lengths_ns, axis=1), ((0, 0), (1, 0)))
        periods, rest_ns = np.divmod(t_ns, self.period_ns)
        step = self._step(rest_ns)
        within = self.g_per_kwh[region, step] * (rest_ns - self.starts_ns[step])
        integral: FloatArray = periods * before[region, -1] + before[region, step] + within
        return integral

    def _step(self, rest_ns: IntArray) -> IntArray:
        """The step at that time of a period."""
        step: IntArray = np.searchsorted(self.starts_ns, rest_ns, side="right") - 1
        return step


def steady(g_per_kwh: Mapping[str, float]) -> CarbonIntensity:
    """Intensities that never change, region → g CO2e/kWh."""
    figures = np.array([list(g_per_kwh.values())], np.float64).T
    return CarbonIntensity(
        regions=tuple(g_per_kwh), starts_ns=np.zeros(1, np.int64), g_per_kwh=figures, period_ns=86_400_000_000_000
    )


def national() -> CarbonIntensity:
    """The shipped yearly means of countries (`carbon.csv`, which names its source)."""
    return read_carbon(Path(__file__).with_name("carbon.csv"))


def read_carbon(path: Path) -> CarbonIntensity:
    """Intensities from a CSV: a header `start_h,region,region…` (or another unit of time), then one step a row.

    Intensities are in g CO2e/kWh. Starts ascend from 0; the last step is as long as the one before it (a single
    one: a day), and then all begins anew. Lines that begin with # are comments.

    Raises:
        ScenarioError: a file that is not there, or whatever in it cannot be; with file and row.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}; a table of carbon intensities is wanted") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file in UTF-8; a table of carbon intensities is wanted") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    cells = [(number, [cell.strip() for cell in next(csv.reader([line]))]) for number, line in rows]
    unit_s = _unit_s(path, cells[0][1] if cells else [])
    table = np.array([_figures(path, number, row, len(cells[0][1])) for number, row in cells[1:]], np.float64)
    if not len(table):
        raise ScenarioError(f"{path}: has no row beside its header; write one, e.g. 0,380")
    rounded_ns = np.rint(1e9 * unit_s * table[:, 0])
    _check_starts(path, table[:, 0], rounded_ns, [number for number, _ in cells[1:]])
    starts_ns = rounded_ns.astype(np.int64)
    last_ns = int(starts_ns[-1] - starts_ns[-2]) if len(starts_ns) > 1 else 86_400_000_000_000
    return CarbonIntensity(
        regions=tuple(cells[0][1][1:]),
        starts_ns=starts_ns,
        g_per_kwh=table[:, 1:].T,
        period_ns=int(starts_ns[-1]) + last_ns,
    )


def _unit_s(path: Path, header: Sequence[str]) -> float:
    name, _, unit = (header[0] if header else "").partition("_")
    if name != "start" or not unit or len(header) < 2 or len(set(header)) < len(header) or not all(header):
        said = ",".join(header)
        raise ScenarioError(f"{path}: header {said!r}; must be start_h,region,region…, each region once")
    if unit not in TABLE["time"]:
        raise ScenarioError(f"{path}: unknown unit {unit!r} in {header[0]!r}; {advice(unit, TABLE['time'])}")
    return float(TABLE["time"][unit])


def _figures(path: Path, number: int, row: Sequence[str], columns: int) -> list[float]:
    try:
        figures = [float(cell) for cell in row]
    except ValueError:
        figures = []
    if len(figures) != columns or not all(0 <= figure < 1e9 for figure in figures):
        said = ",".join(row)
        raise ScenarioError(
            f"{path}, row {number}: {said!r}; must be {columns} numbers, a start and g CO2e/kWh, none below 0"
        )
    return figures


def _check_starts(path: Path, starts: FloatArray, starts_ns: FloatArray, numbers: Sequence[int]) -> None:
    if starts[0] != 0:
        raise ScenarioError(f"{path}, row {numbers[0]}: starts at {starts[0]:g}; the first step must start at 0")
    for place in range(1, len(starts)):
        if not starts_ns[place - 1] < starts_ns[place] <= 1e9 * LONGEST_S:
            raise ScenarioError(
                f"{path}, row {numbers[place]}: starts at {starts[place]:g}, after {starts[place - 1]:g}; "
                "starts must ascend by a nanosecond at least, and lie within a century"
            )
