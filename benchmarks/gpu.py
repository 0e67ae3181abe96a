"""`python -m benchmarks.gpu`: what a GPU makes of a cohort: stacked, one client at a time, and against its own limit.

A round is what the engine waits for: orders placed, batches drawn and sent over, clients trained, updates fetched and
merged. Its FLOPs are those of the cost model, as of the model without any overhead; the limit is one large product
of matrices in single precision (no TF32), measured beside it. With `--device cpu` all is measured on one core.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.rounds import learning_of, placed
from edgesim.engine.learning import Learning
from edgesim.errors import EdgesimError
from edgesim.execution import card
from edgesim.execution.process import prepare_process

WORKLOADS: dict[str, tuple[str, list[str]]] = {
    "W1": ("w1", []),
    "W2": ("w2", []),
    "W3": ("w3", []),
    "ResNet18": ("w3", ["task.model=resnet18"]),
}
"""Name → its scenario, and what is set in it; norms are group norms."""
_SIZES = {"cpu": 1024}  # of the product
_LARGE = 8192
_ALONE = 8  # clients of a round one at a time: more take longer, and tell nothing new
_HEADINGS = ("workload", "clients", "stacked /s", "one at a time /s", "ratio", "TFLOP/s", "of the limit", "peak GB")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Attributes: updates, a second; flops, of an update; clients, in a round; memory_gb, most that was held."""

    updates: float
    flops: float
    clients: int
    memory_gb: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description="client updates a second on a GPU")
    parser.add_argument("workloads", nargs="*", metavar="|".join(WORKLOADS), help="only these (default: all)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …, or cpu")
    parser.add_argument("--clients", type=int, help="in a round; by default the workload's own")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement, at least one round")
    asked = parser.parse_args()
    wanted = asked.workloads or list(WORKLOADS)
    if unknown := [name for name in wanted if name not in WORKLOADS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    try:
        card.check(asked.device)
    except EdgesimError as error:
        parser.error(str(error))
    prepare_process()
    limit = product_flops(card.taken(asked.device), asked.seconds)
    table = Table(title=f"{_named(asked.device)}: client updates a second; limit {limit / 1e12:.3g} TFLOP/s")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    try:
        for name in wanted:
            table.add_row(name, *_cells(name, asked.device, asked.clients, asked.seconds, limit))
    finally:
        Console(width=110).print(table)  # what there is, if a workload fails or the user has seen enough


def product_flops(device: torch.device, seconds: float) -> float:
    """FLOP/s of a large product of matrices, the best of those that there is time for."""
    size = _SIZES.get(device.type, _LARGE)
    a, b = (torch.ones(size, size, device=device) for _ in range(2))

    def product() -> float:
        begun = time.perf_counter()
        torch.mm(a, b)[0, 0].item()  # which waits for it
        return time.perf_counter() - begun

    return 2.0 * size**3 / min(_repeated(product, seconds))


def rate(name: str, backend: str, device: str, clients: int | None, seconds: float) -> Rate:
    """Rounds of a workload: so many clients, by default as many as its schedule takes at once."""
    file, overrides = WORKLOADS[name]
    learning, usual = learning_of(file, *overrides, f"execution.backend={backend}", f"execution.device={device}")
    size = clients or usual
    if device != card.NONE:
        torch.cuda.reset_peak_memory_stats(device)
    flops, number = 0.0, 0

    def one() -> float:
        nonlocal flops, number
        taken_s, flops = _round(learning, number, size)
        number += 1
        return taken_s

    taken_s = median(_repeated(one, seconds))
    learning.close()
    memory = torch.cuda.max_memory_allocated(device) / 1e9 if device != card.NONE else 0.0
    return Rate(updates=size / taken_s, flops=flops, clients=size, memory_gb=memory)


def _round(learning: Learning, number: int, size: int) -> tuple[float, float]:
    """Seconds of a round, and FLOPs of an update in it."""
    begun = time.perf_counter()
    assigned, received = placed(learning, number, size)
    learning.aggregate(received)
    taken_s = time.perf_counter() - begun
    return taken_s, sum(float(each.workload.layer_flops.sum()) + each.workload.other_flops for each in assigned) / size


def _repeated(measure: Callable[[], float], seconds: float) -> Sequence[float]:
    """What it measures, again and again for so long; the first time, which warms up, is left out."""
    measure()
    return list(_until(measure, time.perf_counter() + seconds))


def _until(measure: Callable[[], float], end_s: float) -> Iterator[float]:
    yield measure()
    while time.perf_counter() < end_s:
        yield measure()


def _cells(name: str, device: str, clients: int | None, seconds: float, limit: float) -> list[str]:
    stacked = rate(name, "stacked", device, clients, seconds)
    alone = rate(name, "loop", device, min(stacked.clients, _ALONE), seconds)
    done = stacked.updates * stacked.flops
    return [
        f"{stacked.clients}",
        f"{stacked.updates:,.4g}",
        f"{alone.updates:,.4g}",
        f"{stacked.updates / alone.updates:.2f}",
        f"{done / 1e12:.3g}",
        f"{done / limit:.1%}",
        f"{stacked.memory_gb:.2f}" if stacked.memory_gb else "–",
    ]


def _named(device: str) -> str:
    return "one core of this machine" if device == card.NONE else torch.cuda.get_device_name(device)


if __name__ == "__main__":
    main()
