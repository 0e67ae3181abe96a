"""Columns: the figures of every device of a fleet, drawn from those of its group. Arrays are [device]."""

from collections.abc import Iterable, Sequence

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray
from edgesim.devices.group import FleetGroup
from edgesim.devices.levels import choose, power_w
from edgesim.devices.link import Link
from edgesim.devices.shared import Shared
from edgesim.streams import exp, fold, key, normals


def processor_columns(groups: Sequence[FleetGroup], group: IndexArray, seed: int) -> dict[str, FloatArray]:
    """Speeds of each device [device]."""
    devices, levels = [g.device for g in groups], [choose(g.device.levels, g.dvfs) for g in groups]

    def column(figures: Iterable[float]) -> FloatArray:
        return np.array(list(figures), np.float64)[group]

    speed = _factors(column(g.compute_variation for g in groups), seed, "fleet-compute")
    speed = _also(speed, column(_own_sigma(g) for g in groups), seed, "fleet-device")
    left = np.array([1 - g.background for g in groups])
    clock = np.array([level.frequency for level in levels]) * left  # memory has a clock of its own
    return {
        "compute_flops": column(d.compute_flops for d in devices) * clock[group] * speed,
        "bandwidth": column(d.bandwidth_bytes_per_s for d in devices) * left[group] * speed,
        "step_overhead_s": column(d.step_overhead_s for d in devices) / clock[group] / speed,
    }


def shared_columns(groups: Sequence[FleetGroup], group: IndexArray) -> dict[str, Shared]:
    """What devices of one group have in common: powers, radios, connections, batteries, jitter, eta."""

    def column(figures: Iterable[float]) -> Shared:
        return Shared(np.array(list(figures), np.float64), group)

    devices, links = [g.device for g in groups], [g.link for g in groups]
    return {
        "sparse_efficiency": column(d.sparse_efficiency for d in devices),
        "idle_w": column(d.idle_w for d in devices),
        "training_w": column(
            power_w(g.device.idle_w, g.device.training_w, choose(g.device.levels, g.dvfs)) for g in groups
        ),
        "battery_j": column(d.battery_j or 0.0 for d in devices),
        "receive_w": column(k.receive_w for k in links),
        "send_w": column(k.send_w for k in links),
        "tail_s": column(k.tail_s for k in links),
        "tail_w": column(k.tail_w for k in links),
        "promotion_s": column(k.promotion_s for k in links),
        "round_trips": column(g.round_trips for g in groups),
        "window_bytes": column(g.window_bytes for g in groups),
        "compute_jitter": column(g.compute_jitter for g in groups),
        "link_jitter": column(g.link_jitter for g in groups),
    }


def _own_sigma(group: FleetGroup) -> float:
    return group.device.compute_sigma if group.device_trace is None else 0.0  # a trace brings its own spread


def link_columns(links: Sequence[Link], variation: FloatArray, group: IndexArray, seed: int) -> dict[str, FloatArray]:
    """Rates and latencies of each device's link [device]."""

    def column(figures: Iterable[float]) -> FloatArray:
        return np.array(list(figures), np.float64)[group]

    rate = _factors(variation[group], seed, "fleet-link")
    down, up, delay = _draw_link(links, group, seed)
    return {
        "down_bps": column(k.down_bps for k in links) * rate * down,
        "up_bps": column(k.up_bps for k in links) * rate * up,
        "latency_s": column(k.latency_s for k in links) * delay,
    }


def _draw_link(links: Sequence[Link], group: IndexArray, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each device's factors of the medians: down, up, latency [device]; all 1 where no figure is a distribution.

    ln up = sigma · (rho · z + sqrt(1 - rho²) · z'), z being down's standard normal number.
    """
    sigmas = np.array([(k.down_sigma, k.up_sigma, k.latency_sigma) for k in links])[group]
    if not sigmas.any():
        one = np.ones(len(group))
        return one, one, one
    rho = np.array([k.correlation for k in links])[group]
    z, own, delay = (_normal(len(group), seed, f"fleet-link-{what}") for what in ("down", "up", "latency"))
    both = rho * z + np.sqrt(1 - rho**2) * own
    down, up, late = (exp(sigmas[:, at] * draws) for at, draws in enumerate((z, both, delay)))
    return down, up, late


def _factors(sigma: FloatArray, seed: int, purpose: str) -> FloatArray:
    """exp(N(0, sigma)) for each device [device]."""
    return exp(sigma * _normal(len(sigma), seed, purpose))


def _also(factors: FloatArray, sigma: FloatArray, seed: int, purpose: str) -> FloatArray:
    """The factors times exp(N(0, sigma)); the very same where no device has a sigma."""
    return factors * _factors(sigma, seed, purpose) if sigma.any() else factors


def _normal(count: int, seed: int, purpose: str) -> FloatArray:
    """A standard normal number for each device from the device's own stream."""
    return normals(fold(key(seed, purpose), np.arange(count)), 1)[:, 0]
