"""Text: what was measured of a machine, as a profile file."""

import platform
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from edgesim import units
from edgesim.calibration.power import Power
from edgesim.calibration.rates import Rates


@dataclass(frozen=True, kw_only=True)
class Board:
    """What was measured. Attributes: curve, (density, speed-up) pairs, empty where torch has no sparse kernels;
    copy_bandwidth, in byte/s; usable, the share of the RAM that was available;
    threads; networks, how many were trained."""

    rates: Rates
    curve: tuple[tuple[float, float], ...]
    copy_bandwidth: float
    ram_bytes: int
    usable: float
    power: Power
    threads: int
    networks: int


def profile_text(board: Board, name: str, family: str, batches: Sequence[int], day: date) -> str:
    """The profile as YAML."""
    rates = board.rates
    how = f"torch {torch.__version__}, {board.threads} thread{'s' * (board.threads > 1)}, {day.isoformat()}"
    quantity = {
        "training": (rates.dense_flops, "compute"),
        "convolution": (rates.convolution_flops, "compute"),
        "bandwidth": (rates.bandwidth, "bandwidth"),
        "convolution_bandwidth": (rates.convolution_bandwidth, "bandwidth"),
        "activation_bandwidth": (rates.activation_bandwidth, "bandwidth"),
        "step_overhead": (rates.step_overhead_s, "time"),
        "layer_overhead": (rates.layer_overhead_s, "time"),
    }
    lines = [
        f"# {_processor_name()}, calibrated on {day.isoformat()}",
        f"device: {name}",
        f"family: {family}",
        "processor:",
        *(f"  {key}: {_short(value, kind)}" for key, (value, kind) in quantity.items()),
        "  overlap: false",
        f"  sparse_efficiency: {_efficiency(board.curve):.2g}",
        *_curve_lines(board.curve),
        f"memory: {{ram: {_short(board.ram_bytes, 'size')}, usable: {board.usable:.2f}}}",
        f"power: {{idle: {_short(board.power.idle_w, 'power')}, training: {_short(board.power.training_w, 'power')}}}",
        f"confidence: {confidence(rates)}",
        "sources:",
        *_sources(board, batches, how),
    ]
    return "\n".join(lines) + "\n"


def confidence(rates: Rates) -> str:
    """How far to trust a profile, by how well its rates explain what they were fitted to."""
    return "high" if rates.error <= 0.15 else "medium" if rates.error <= 0.3 else "low"


def _sources(board: Board, batches: Sequence[int], how: str) -> Iterator[str]:
    texts = [
        f"training, convolution, the bandwidths and overheads: edgesim calibrate, the non-negative least squares of "
        f"the cost model over single training steps of {board.networks} networks in batches of "
        f"{', '.join(map(str, batches))}, the least time of several repetitions each; {how}; median error over these "
        f"steps {board.rates.error:.0%} ({confidence(board.rates)})",
        f"bandwidth: of weights in training, caches included; copying 256 MiB moves "
        f"{_short(board.copy_bandwidth, 'bandwidth')} (high)",
        f"sparse_curve: a layer of 1024 x 1024 on a batch of 32, compressed sparse rows against dense, forward and "
        f"both gradients; {how} (high)"
        if board.curve
        else f"sparse_efficiency 0.26: an estimate, for this torch has no sparse kernels here; {how} (low)",
        f"ram: as the system reports it; usable: what was available, at most 0.9; {how} (medium)",
        f"{board.power.source}; {how} (medium)",
    ]
    for text in texts:
        yield from textwrap.wrap(
            f'"{text}"', 104, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False
        )


def _curve_lines(curve: tuple[tuple[float, float], ...]) -> Iterator[str]:
    if curve:
        yield "  sparse_curve:"
    for density, speedup in curve:
        yield f"    - {{density: {density:g}, speedup: {speedup:.3g}}}"


def _efficiency(curve: tuple[tuple[float, float], ...]) -> float:
    """eta of the middle point, for whoever reads the one number: speed-up · density."""
    if not curve:
        return 0.26
    density, speedup = curve[len(curve) // 2]
    return min(1.0, density * speedup)


def _short(value: float, kind: str) -> str:
    return units.format(float(f"{value:.4g}"), kind)


def _processor_name() -> str:
    """As Linux says it, else as Python does."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
