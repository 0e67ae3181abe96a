"""Power: what this machine draws, from its energy counters (RAPL) or as its user measured it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from edgesim.errors import ScenarioError

_COUNTERS = Path("/sys/class/powercap")
_SECONDS = 3.0


class Power(NamedTuple):
    """Idle and while training, with where that is from."""

    idle_w: float
    training_w: float
    source: str


def given(watts: str) -> Power:
    """From "3.1,6.6": idle and training.

    Raises:
        ScenarioError: other than two numbers, or training below idle.
    """
    try:
        idle_w, training_w = (float(part) for part in watts.split(","))
    except ValueError:
        raise ScenarioError(f"--watts {watts}: write idle and training power, e.g. --watts 3.1,6.6") from None
    if not 0 <= idle_w <= training_w < 1e5:
        raise ScenarioError(f"--watts {watts}: idle must not be negative, and training not below it")
    return Power(idle_w, training_w, "idle, training: given by the user")


def counters(folder: Path = _COUNTERS) -> list[Path]:
    """The energy counters of the processor packages that can be read.

    Raises:
        ScenarioError: there are none.
    """
    found = sorted(path for path in folder.glob("intel-rapl:*/energy_uj") if _of_package(path.parent))
    readable = [path for path in found if _readable(path)]
    if not readable:
        why = "they can be read by root only" if found else "there are none"
        raise ScenarioError(
            f"no energy counters in {folder} ({why}); measure the whole device and write --watts IDLE,TRAINING"
        )
    return readable


def _of_package(domain: Path) -> bool:
    """Whether a domain is a whole package: neither a part of one (intel-rapl:0:1), nor the board (psys) with it."""
    try:
        return domain.name.count(":") == 1 and (domain / "name").read_text().startswith("package")
    except OSError:
        return False


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True


def measured(paths: Sequence[Path], work: Callable[[], object], seconds: float = _SECONDS) -> Power:
    """Mean power while doing nothing, then while doing `work` again and again."""
    idle_w = _mean_w(paths, lambda: time.sleep(0.05), seconds)
    training_w = max(idle_w, _mean_w(paths, work, seconds))
    source = (
        f"idle, training: RAPL counters of {len(paths)} processor package(s), {seconds:g} s each; without board, disk "
        "and power supply"
    )
    return Power(idle_w, training_w, source)


def _mean_w(paths: Sequence[Path], work: Callable[[], object], seconds: float) -> float:
    before_uj, start_s = _read(paths), time.perf_counter()
    while time.perf_counter() - start_s < seconds:
        work()
    took_s = time.perf_counter() - start_s
    return (
        1e-6
        * sum(_passed(path, was, now) for path, was, now in zip(paths, before_uj, _read(paths), strict=True))
        / took_s
    )


def _read(paths: Sequence[Path]) -> list[int]:
    return [int(path.read_text()) for path in paths]


def _passed(path: Path, was_uj: int, now_uj: int) -> int:
    """Microjoules between two readings of a counter that starts again at 0 past its range."""
    if now_uj >= was_uj:
        return now_uj - was_uj
    return now_uj - was_uj + int((path.parent / "max_energy_range_uj").read_text())
