"""Shared: what devices have in common is kept once, and reads like any other column."""

from dataclasses import replace

import numpy as np
import pytest

from edgesim.devices.availability import AlwaysOn
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet, FleetGroup, sample_fleet
from edgesim.devices.link import Link

BOARD = Device(
    name="board", device_class="sbc", compute_flops=9e9, bandwidth_bytes_per_s=12.8e9, step_overhead_s=2e-3,
    sparse_efficiency=0.45, ram_bytes=4e9, usable=0.6, idle_w=3.1, training_w=6.6,
)  # fmt: skip
WIFI = Link(name="wifi", down_bps=86e6, up_bps=46e6, latency_s=0.021, receive_w=0.69, send_w=0.72)
LTE = replace(WIFI, name="lte", tail_s=10, tail_w=0.12)


def fleet() -> Fleet:
    """Half on each link."""
    groups = [FleetGroup(device=BOARD, share=0.5, link=link, availability=AlwaysOn()) for link in (WIFI, LTE)]
    return sample_fleet(groups, 10, 0)


def test_a_table_has_a_row_for_each_entry_and_not_for_each_device() -> None:
    row, table = fleet().shared("tail_s", "idle_w")
    assert sorted(table.tolist()) == [[0.0, 3.1], [10.0, 3.1]]
    assert table[row, 0].tolist() == fleet().tail_s.tolist()


def test_columns_given_as_arrays_have_the_same_table() -> None:
    """`replace` reads every column, so what it makes has arrays only."""
    row, table = replace(fleet()).shared("tail_s", "idle_w")
    assert table.tolist() == [[0.0, 3.1], [10.0, 3.1]]
    assert table[row, 0].tolist() == fleet().tail_s.tolist()


def test_what_is_read_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        fleet().tail_s[0] = 1.0


def test_another_column_leaves_the_others_shared() -> None:
    before = fleet()
    after = before.but(latency_s=np.zeros(10))
    assert not after.latency_s.any()
    assert after.shared("tail_s")[0] is before.shared("tail_s")[0]
    assert after.send_w.tolist() == before.send_w.tolist()
