"""Connections: what opening one, and its slow start, add to transfers; test_slow_oracle.py follows them through
whatever may befall a job."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_gossip import Meeting
from test_networks import finished, star
from worlds import events, fleet, simulation

from edgesim.engine.limits import Stop
from edgesim.engine.schedules import Sync, SyncGossip

S = 1_000_000_000


@pytest.mark.parametrize("shared", [False, True])
def test_each_transfer_opens_a_connection_and_starts_slowly(tmp_path: Path, shared: bool) -> None:
    """1 MB takes 1 s. A latency of 0.2 s comes thrice, and the windows of 50 and 100 kB are waited for: 0.15 + 0.1 s.
    Whoever asks before is told so."""
    devices = fleet([2.0], latency_s=0.2, connection=(2.0, 50e3))
    run, _ = simulation(tmp_path / "forecast", devices, Sync(1), Stop(aggregations=1))
    assert list(run.server.forecast([0])[0]) == pytest.approx([1.85 * S, 2 * S, 1.85 * S])
    run = finished(tmp_path, devices, star(devices) if shared else None, Stop(aggregations=1))
    assert events(run) == [
        (0, "download", 0.0, pytest.approx(1.85), "done"),
        (0, "train", pytest.approx(1.85), pytest.approx(3.85), "done"),
        (0, "upload", pytest.approx(3.85), pytest.approx(5.7), "done"),
    ]
    assert run.ledger.total.energy_j == pytest.approx(5.7)  # it draws 1 W all the time


def test_of_two_that_exchange_the_sender_opens_the_connection(tmp_path: Path) -> None:
    """A round trip takes 0.3 s, the latencies of both; 1 MB takes 1 s. 0 opens in one more, 1 has a connection and
    waits for its first window of 100 kB: 0.2 s, and for 200 kB: 0.1 s."""
    devices = replace(
        fleet([1.0, 1.0]), latency_s=np.array([0.1, 0.2]), round_trips=np.array([1.0, 0.0]),
        window_bytes=np.array([0.0, 100e3]),
    )  # fmt: skip
    run, _ = simulation(
        tmp_path, devices, SyncGossip(neighbours=((1,), (0,))), Stop(aggregations=1), learning=Meeting(2)
    )
    run.begin()
    run.run()
    assert [row[1:4] for row in events(run) if row[0] == 0] == [
        ("train", 0.0, 1.0), ("upload", 1.0, 2.6), ("download", 2.6, pytest.approx(4.2))
    ]  # fmt: skip
