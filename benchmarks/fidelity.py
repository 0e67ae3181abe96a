"""Fidelity: how near the calibrated cost model comes to the time of one local epoch, for models it never saw.

.venv/bin/python -m benchmarks.fidelity [--threads 1 2]
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from edgesim.calibration import timing
from edgesim.calibration.board import epoch_workload, measure_rates
from edgesim.calibration.rates import Rates
from edgesim.devices import cost
from edgesim.devices.traits import Traits
from edgesim.devices.workload import Workload
from edgesim.learning.models import Model, make_model

MODELS = {"mlp": (1, 28, 28), "cnn": (1, 28, 28), "resnet18": (3, 32, 32)}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
EPOCH = 2.5  # batches in an epoch: the last one is half full


class Case(NamedTuple):
    """One local epoch."""

    model: str
    batch: int
    threads: int
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        return self.predicted_s / self.measured_s - 1


def cases(threads: int, console: Console) -> Iterator[Case]:
    """Calibrate for that many threads, then time every model at every batch size."""
    torch.set_num_threads(threads)
    rates = measure_rates(threads, lambda text: console.print(f"{threads} threads, {text}"))
    console.print(rates)
    for name, shape in MODELS.items():
        model = make_model(name, {}, input_shape=shape, classes=10, folder=Path())
        for batch in BATCHES:
            yield _case(name, model, batch, threads, rates)


def _case(name: str, model: Model, batch: int, threads: int, rates: Rates) -> Case:
    samples = max(3, round(EPOCH * batch))
    measured_s = timing.best_s(timing.epoch(model, samples, batch), threads)
    return Case(name, batch, threads, measured_s, predicted_s(epoch_workload(model, samples, batch), rates))


def predicted_s(work: Workload, rates: Rates) -> float:
    """By the cost model of a run."""
    traits = Traits(
        compute_flops=rates.dense_flops,
        bandwidth=rates.bandwidth,
        convolution_flops=rates.convolution_flops,
        convolution_bandwidth=rates.convolution_bandwidth,
        activation_bandwidth=rates.activation_bandwidth,
        layer_overhead_s=rates.layer_overhead_s,
        overlap=False,
    )
    time_ns = cost.compute_ns(
        work,
        compute_flops=rates.dense_flops,
        bandwidth=rates.bandwidth,
        step_overhead_s=rates.step_overhead_s,
        sparse_efficiency=1.0,
        sparse_speedup="ideal",
        traits=traits,
    )
    return time_ns / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.fidelity", description="calibrated cost model against this machine"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    console = Console(width=100, highlight=False)
    found = [case for threads in parser.parse_args().threads for case in cases(threads, console)]
    table = Table(title="one local epoch of plain SGD, 2.5 batches; the models were not used to calibrate")
    for heading in ("model", "threads", "batch", "measured ms", "predicted ms", "error"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for one in found:
        figures = (f"{1e3 * one.measured_s:.3f}", f"{1e3 * one.predicted_s:.3f}", f"{one.error:+.0%}")
        table.add_row(one.model, str(one.threads), str(one.batch), *figures)
    console.print(table)
    console.print(f"median error {statistics.median(abs(one.error) for one in found):.1%}")


if __name__ == "__main__":
    main()
