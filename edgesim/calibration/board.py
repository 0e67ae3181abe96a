"""Board: measure this machine, and write what came out as a device profile."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import get_args

import torch

from edgesim.calibration import nets, power, sparse, timing
from edgesim.calibration.rates import Rates, fit
from edgesim.calibration.text import Board, confidence, profile_text
from edgesim.devices.device import Device
from edgesim.devices.format import Family
from edgesim.devices.profiles import find_device
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning.models import Model
from edgesim.learning.profile import ModelProfile, profile_model, training_workload
from edgesim.spelling import advice

BATCHES = (1, 4, 16, 64)
Say = Callable[[str], None]


def calibrate(out: Path, *, watts: str | None, threads: int, family: str, say: Say) -> Device:
    """Measure this machine, write its profile to `out` and read it back.

    Raises:
        ScenarioError: the file exists, cannot be written or has no name for a device, there is no such family, or
            there is no figure for the power; all of it before anything is measured.
    """
    if out.exists():
        raise ScenarioError(f"{out} exists; choose another file, or delete that one first")
    if out.suffix != ".yaml" or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", out.stem):
        raise ScenarioError(f"--out {out}: a profile's file is named as the device, e.g. my-board.yaml")
    if not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise ScenarioError(f"--out {out}: {out.parent} is no folder that can be written to; make it first")
    if family not in get_args(Family):
        raise ScenarioError(f"--family {family}: {advice(family, get_args(Family))}")
    given = None if watts is None else power.given(watts)
    counters = [] if given else power.counters()
    torch.set_num_threads(threads)
    rates = measure_rates(threads, say)
    if confidence(rates) != "high":
        say(f"steps are off by {rates.error:.0%} in the median; if other work is running, repeat without it")
    say("sparse layers")
    curve = tuple(_rising(_curve(threads)))
    say("memory bandwidth and power")
    models = list(nets.fitted())
    work = timing.epoch(models[-1], 16, 16)
    board = Board(
        rates=rates,
        curve=curve,
        copy_bandwidth=timing.copy_bandwidth(threads),
        ram_bytes=_ram_bytes(),
        usable=usable(),
        power=given or power.measured(counters, work),
        threads=threads,
        networks=len(models),
    )
    out.write_text(profile_text(board, out.stem, family, BATCHES, date.today()), encoding="utf-8")
    return find_device(out.name, out.parent)


def measure_rates(threads: int, say: Say) -> Rates:
    """Time steps of all nets at all batch sizes, and fit the cost model to them."""
    works, times_s = list[Workload](), list[float]()
    models = list(nets.fitted())
    for number, model in enumerate(models, start=1):
        say(f"network {number} of {len(models)}")
        for batch in BATCHES:
            works.append(epoch_workload(model, batch, batch))
            times_s.append(timing.best_s(timing.epoch(model, batch, batch), threads))
    return fit(works, times_s)


def epoch_workload(model: Model, samples: int, batch_size: int) -> Workload:
    """What one local epoch of plain, dense SGD asks of a device."""
    return training_workload(
        _profile(model), samples=samples, batch_size=batch_size, epochs=1, density=None, optimizer_words=0
    )


@lru_cache(maxsize=1)  # one model after the other, each at several batch sizes
def _profile(model: Model) -> ModelProfile:
    return profile_model(model)


def _curve(threads: int) -> list[tuple[float, float]]:
    try:
        return sparse.sparse_curve(threads)
    except RuntimeError:
        return []


def _rising(curve: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points of a curve that falls with the density, as noise must not make a denser layer the faster one."""
    most = float("inf")
    for density, speedup in curve:
        most = min(most, speedup)
        yield density, most


def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable(meminfo: Path = Path("/proc/meminfo")) -> float:
    """The share of the RAM that is available, from 0.01 to 0.9: on Linux with the caches that it gives up on demand."""
    found = re.search(r"^MemAvailable: *(\d+) kB", meminfo.read_text() if meminfo.is_file() else "", re.MULTILINE)
    free_bytes = 1024 * int(found[1]) if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return min(0.9, max(0.01, free_bytes / _ram_bytes()))
