"""Fleet: all devices as arrays, one row a device, drawn from groups of like ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.availability import FleetAvailability
from edgesim.devices.columns import link_columns, processor_columns, shared_columns
from edgesim.devices.device import Device
from edgesim.devices.fitted import fit_links, fit_memory, fit_processors, typical
from edgesim.devices.group import FleetGroup
from edgesim.devices.shared import Column, rows
from edgesim.devices.traits import Traits
from edgesim.streams import fold, key, uniforms

__all__ = ["Fleet", "FleetGroup", "sample_fleet", "group_sizes"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fleet:
    """Every figure of every device; arrays are [device] and read-only.

    Figures that do not differ within an entry of a fleet are kept once an entry, and made into an array when read.

    Attributes:
        class_names: names of the device models in the fleet, in the order of the groups.
        device_class: index into `class_names`. A fleet's classes are its models (raspberry-pi-4), not
            the families of the catalogue (sbc), which would hide how unlike their members are.
        compute_flops, bandwidth, step_overhead_s, sparse_efficiency, memory_bytes, idle_w, training_w:
            of the device: FLOP/s, byte/s, s, eta, bytes that a job may take, W, W.
        battery_j: what a full battery holds; 0: none, or none given.
        down_bps, up_bps, latency_s, receive_w, send_w, tail_s, tail_w, promotion_s: of its link.
        round_trips, window_bytes: what opening a connection takes, and slow start's first window: `cost.delay_s`.
        compute_jitter, link_jitter: sigma of the factors exp(N(0, sigma)) by which a job's speed and rates differ from
            its device's usual ones, from job to job.
        availability: when each is on line.
        class_traits: finer figures of each of `class_names`; None: there are none.
    """

    class_names: tuple[str, ...]
    device_class: IndexArray
    compute_flops: FloatArray
    bandwidth: FloatArray
    step_overhead_s: FloatArray
    sparse_efficiency: Column = Column()
    memory_bytes: IntArray
    idle_w: Column = Column()
    training_w: Column = Column()
    battery_j: Column = Column()
    down_bps: FloatArray
    up_bps: FloatArray
    latency_s: FloatArray
    receive_w: Column = Column()
    send_w: Column = Column()
    tail_s: Column = Column()
    tail_w: Column = Column()
    promotion_s: Column = Column()
    round_trips: Column = Column()
    window_bytes: Column = Column()
    compute_jitter: Column = Column()
    link_jitter: Column = Column()
    availability: FleetAvailability
    class_traits: tuple[Traits | None, ...]

    def __len__(self) -> int:
        return len(self.device_class)

    def shared(self, *names: str) -> tuple[IndexArray, FloatArray]:
        """Of these of the figures that devices have in common: the row of each device [device], and the table
        [row, name]."""
        return rows([vars(self)[name] for name in names])

    def but(self, **columns: FloatArray) -> "Fleet":
        """The same fleet with other columns [device]; what devices have in common is still kept once."""
        return Fleet(**{**vars(self), **columns})


def sample_fleet(groups: Sequence[FleetGroup], count: int, seed: int) -> Fleet:
    """A fleet of `count` devices; a pure function of its arguments.

    Group sizes are exact (largest remainder, ties to the earlier group), their order is shuffled. A
    device's variation depends on (seed, its number) alone, so changing one group leaves the others' units.

    Raises:
        ValueError: no group, no device, shares that do not add to 1, two profiles under one name.
    """
    group = group_of_each(groups, count, seed)
    class_names, class_of_group = _classes(groups)
    traits = {g.device.name: g.device.traits for g in groups}
    processors, variation = processor_columns(groups, group, seed), np.array([g.link_variation for g in groups])
    links = link_columns([typical(g) for g in groups], variation, group, seed)
    fit_processors(processors, groups, group, seed)
    fit_links(links, groups, group, seed)
    columns: dict[str, Any] = {**processors, **links, **shared_columns(groups, group)}
    memory_bytes = np.array([g.device.memory_bytes for g in groups], np.int64)[group]
    fleet = Fleet(
        class_names=class_names,
        device_class=class_of_group[group],
        availability=FleetAvailability([g.availability for g in groups], group, seed),
        class_traits=tuple(traits[name] for name in class_names),
        memory_bytes=fit_memory(memory_bytes, groups, group, seed),
        **columns,
    )
    for value in vars(fleet).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return fleet


def group_of_each(groups: Sequence[FleetGroup], count: int, seed: int) -> IndexArray:
    """Which of the groups each device of `sample_fleet` belongs to [device]."""
    return _shuffle(group_sizes([g.share for g in groups], count), seed)


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
