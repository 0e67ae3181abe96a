"""Reference step: how long one optimiser step of a known model takes on a device, by the cost model of a run."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from edgesim.devices import cost
from edgesim.devices.device import Device
from edgesim.devices.workload import Workload

WHAT = "one step of the model cnn on 10 images of 28×28"
_BATCH = 10


class Step(NamedTuple):
    """Time and energy of the whole device."""

    time_s: float
    energy_j: float


def reference_step(device: Device) -> Step | None:
    """What `WHAT` takes on a typical unit; None if the device has not the memory."""
    work = _workload()
    if work.memory_bytes > device.memory_bytes:
        return None
    time_ns = cost.compute_ns(
        work,
        compute_flops=device.compute_flops,
        bandwidth=device.bandwidth_bytes_per_s,
        step_overhead_s=device.step_overhead_s,
        sparse_efficiency=device.sparse_efficiency,
        sparse_speedup="realised",
        traits=device.traits,
    )
    return Step(time_ns / 1e9, cost.energy_j(device.training_w, time_ns))


@cache
def _workload() -> Workload:
    from edgesim.learning.models import make_model
    from edgesim.learning.profile import profile_model, training_workload

    model = make_model("cnn", {}, input_shape=(1, 28, 28), classes=10, folder=Path())
    return training_workload(
        profile_model(model), samples=_BATCH, batch_size=_BATCH, epochs=1, density=None, optimizer_words=0
    )
