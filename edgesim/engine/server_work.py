"""The server's own computation: how long it takes and what it costs."""

from dataclasses import dataclass, fields
from typing import Any

from edgesim.devices import cost
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.device import Device
from edgesim.devices.workload import Workload
from edgesim.errors import RunError


@dataclass
class ServerWork:
    """One thing at a time, in the order in which it was asked for; a machine of None takes no time and no energy.

    All of a piece of work is accounted for as soon as it is asked for.

    Attributes: until_ns, when the server is done with all of it; busy_ns, flops, energy_j, so far; peak_bytes,
    the most memory that a piece of work took.
    """

    machine: Device | None
    sparse_speedup: SparseSpeedup
    until_ns: int = 0
    busy_ns: int = 0
    flops: float = 0.0
    energy_j: float = 0.0
    peak_bytes: int = 0

    def ask(self, work: Workload, now_ns: int) -> None:
        """Take on a piece of work.

        Raises:
            RunError: it does not fit into the server's memory.
        """
        self.flops += work.flops
        self.peak_bytes = max(self.peak_bytes, work.memory_bytes)
        if self.machine is None:
            return
        if work.memory_bytes > self.machine.memory_bytes:
            raise RunError(
                f"at {now_ns / 1e9:g} s: an aggregation takes {work.memory_bytes} bytes of memory, and the server "
                f"{self.machine.name} has {self.machine.memory_bytes}; name a larger server, or a smaller model"
            )
        ns = cost.compute_ns(
            work,
            compute_flops=self.machine.compute_flops,
            bandwidth=self.machine.bandwidth_bytes_per_s,
            step_overhead_s=self.machine.step_overhead_s,
            sparse_efficiency=self.machine.sparse_efficiency,
            sparse_speedup=self.sparse_speedup,
        )
        self.busy_ns += ns
        self.energy_j += cost.energy_j(self.machine.training_w, ns)
        self.until_ns = max(self.until_ns, now_ns) + ns

    def is_busy(self, now_ns: int) -> bool:
        """Whether something is still being computed."""
        return now_ns < self.until_ns

    def summary(self, now_ns: int) -> dict[str, float | int | str | None]:
        """What it came to by the end of the run; idle_j, of the time in which it had nothing to compute."""
        idle_s = max(0, now_ns - self.busy_ns) / 1e9
        return {
            "device": None if self.machine is None else self.machine.name,
            "busy_s": self.busy_ns / 1e9,
            "flops": self.flops,
            "energy_j": self.energy_j,
            "idle_j": 0.0 if self.machine is None else idle_s * self.machine.idle_w,
            "peak_memory_bytes": self.peak_bytes,
        }

    def state(self) -> tuple[Any, ...]:
        """As plain data."""
        return tuple(getattr(self, entry.name) for entry in fields(self)[2:])

    def restore(self, state: tuple[Any, ...]) -> None:
        """Take up a `state`."""
        for entry, value in zip(fields(self)[2:], state, strict=True):
            setattr(self, entry.name, value)
