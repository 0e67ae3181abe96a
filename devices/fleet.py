"""Fleet: all devices as arrays, one row a device, drawn from groups of like ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.availability import AlwaysOn, FleetAvailability, Process
from edgesim.devices.device import Device
from edgesim.devices.link import Link
from edgesim.streams import fold, key, uniforms


@dataclass(frozen=True, kw_only=True)
class FleetGroup:
    """A share of the fleet: devices of one model, on one kind of link, that come and go alike.

    Attributes:
        share: of the fleet, in (0, 1].
        compute_variation: sigma of a unit's speed factor exp(N(0, sigma)); it scales every part of the
            compute time, and no power.
        link_variation: the same for the rates of a unit's link, one factor for both directions.

    Raises:
        ValueError: a share or a sigma out of its range.
    """

    device: Device
    share: float
    link: Link
    availability: Process = field(default_factory=AlwaysOn)
    compute_variation: float = 0.0
    link_variation: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share {self.share!r} of {self.device.name}: must lie in (0, 1]")
        for name in ("compute_variation", "link_variation"):
            # beyond 3 a fleet spans five orders of magnitude: a percent typed as a number
            if not 0 <= getattr(self, name) <= 3:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} of {self.device.name}: must lie in [0, 3]; "
                    "0.5 makes one unit in six more than 1.6 times as fast as the typical one"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fleet:
    """Every figure of every device; arrays are [device] and read-only.

    Attributes:
        class_names: names of the device models in the fleet, in the order of the groups.
        device_class: index into `class_names`. A fleet's classes are its models (raspberry-pi-4), not
            the families of the catalogue (sbc), which would hide how unlike their members are.
        compute_flops, bandwidth, step_overhead_s, sparse_efficiency, memory_bytes, idle_w, training_w:
            of the device: FLOP/s, byte/s, s, eta, bytes that a job may take, W, W.
        down_bps, up_bps, latency_s, receive_w, send_w, tail_s, tail_w: of its link.
        availability: when each is on line.
    """

    class_names: tuple[str, ...]
    device_class: IndexArray
    compute_flops: FloatArray
    bandwidth: FloatArray
    step_overhead_s: FloatArray
    sparse_efficiency: FloatArray
    memory_bytes: IntArray
    idle_w: FloatArray
    training_w: FloatArray
    down_bps: FloatArray
    up_bps: FloatArray
    latency_s: FloatArray
    receive_w: FloatArray
    send_w: FloatArray
    tail_s: FloatArray
    tail_w: FloatArray
    availability: FleetAvailability

    def __len__(self) -> int:
        return len(self.device_class)


def sample_fleet(groups: Sequence[FleetGroup], count: int, seed: int) -> Fleet:
    """A fleet of `count` devices; a pure function of its arguments.

    Group sizes are exact (largest remainder, ties to the earlier group), their order is shuffled. A
    device's variation depends on (seed, its number) alone, so changing one group leaves the others' units.

    Raises:
        ValueError: no group, no device, shares that do not add to 1, two profiles under one name.
    """
    group = _shuffle(group_sizes([g.share for g in groups], count), seed)
    class_names, class_of_group = _classes(groups)
    devices, links = [g.device for g in groups], [g.link for g in groups]
    speed = _factors(np.array([g.compute_variation for g in groups])[group], seed, "fleet-compute")
    rate = _factors(np.array([g.link_variation for g in groups])[group], seed, "fleet-link")

    def column(figures: list[float]) -> FloatArray:
        return np.array(figures, np.float64)[group]

    fleet = Fleet(
        class_names=class_names,
        device_class=class_of_group[group],
        compute_flops=column([d.compute_flops for d in devices]) * speed,
        bandwidth=column([d.bandwidth_bytes_per_s for d in devices]) * speed,
        step_overhead_s=column([d.step_overhead_s for d in devices]) / speed,
        sparse_efficiency=column([d.sparse_efficiency for d in devices]),
        memory_bytes=np.array([d.memory_bytes for d in devices], np.int64)[group],
        idle_w=column([d.idle_w for d in devices]),
        training_w=column([d.training_w for d in devices]),
        down_bps=column([k.down_bps for k in links]) * rate,
        up_bps=column([k.up_bps for k in links]) * rate,
        latency_s=column([k.latency_s for k in links]),
        receive_w=column([k.receive_w for k in links]),
        send_w=column([k.send_w for k in links]),
        tail_s=column([k.tail_s for k in links]),
        tail_w=column([k.tail_w for k in links]),
        availability=FleetAvailability([g.availability for g in groups], group, seed),
    )
    for value in vars(fleet).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return fleet


def group_sizes(shares: Sequence[float], count: int) -> list[int]:
    """Whole numbers that add to `count`, each the nearest its share allows: largest remainder (Hamilton).

    Raises:
        ValueError: no share, a count below 1, or shares that do not add to 1.
    """
    if count < 1:
        raise ValueError(f"a fleet of {count} devices: must have at least 1")
    total = math.fsum(shares)
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares {list(shares)} add to {total:.10g}: must add to 1")
    sizes = [math.floor(share * count) for share in shares]
    # 0.29 · 100 is 28.999… in floating point: rounding keeps such noise from deciding a tie
    remainders = [round(share * count - size, 9) for share, size in zip(shares, sizes, strict=True)]
    by_remainder = sorted(range(len(sizes)), key=lambda index: -remainders[index])
    for index in by_remainder[: count - sum(sizes)]:
        sizes[index] += 1
    return sizes


def _shuffle(sizes: Sequence[int], seed: int) -> IndexArray:
    """The group of each device [device], in an order of the seed's."""
    in_order = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    draws = uniforms(fold(key(seed, "fleet-order"), np.arange(len(in_order))), 1)[:, 0]
    return in_order[np.argsort(draws, kind="stable")]


def _classes(groups: Sequence[FleetGroup]) -> tuple[tuple[str, ...], IndexArray]:
    """Names of the distinct device models, and the index of each group's."""
    models: dict[str, Device] = {}
    for group in groups:
        if models.setdefault(group.device.name, group.device) != group.device:
            raise ValueError(
                f"two different profiles are named {group.device.name!r}: rename one, "
                "or results could not tell them apart"
            )
    names = tuple(models)
    return names, np.array([names.index(group.device.name) for group in groups], np.int32)


def _factors(sigma: FloatArray, seed: int, purpose: str) -> FloatArray:
    """exp(N(0, sigma)) for each device [device], by Box and Muller (1958) from the device's own stream."""
    draws = uniforms(fold(key(seed, purpose), np.arange(len(sigma))), 2)
    normal = np.sqrt(-2.0 * np.log(1.0 - draws[:, 0])) * np.cos(2.0 * np.pi * draws[:, 1])
    # single precision: a last-bit difference in exp or cos between two machines goes no further
    factors: FloatArray = np.exp(sigma * normal).astype(np.float32).astype(np.float64)
    return factors
