"""A radio that sleeps must wake before a transfer: it sleeps from the end of its tail on, and at the start."""

from pathlib import Path
from typing import Any

import pytest
from test_gossip import Meeting
from test_networks import star
from worlds import MB, Gap, fleet, simulation

from edgesim.engine.limits import Stop
from edgesim.engine.rules import Retry, Rules
from edgesim.engine.scalars import MANY
from edgesim.engine.schedules import Sync, SyncGossip
from edgesim.engine.simulation import Simulation

S = 1_000_000_000


def rows(run: Simulation) -> list[tuple[Any, ...]]:
    """Phase, start and end in seconds, bytes, outcome."""
    events = run.state()["recorder"]["events"]
    return [(row[3], row[4] / S, row[5] / S, row[7], row[10]) for row in events]


def finished(folder: Path, **options: Any) -> Simulation:
    run, _ = simulation(folder, options.pop("devices"), options.pop("schedule", Sync(1)), **options)
    run.begin()
    run.run()
    assert set(run.finish().values()) == {"holds"}
    return run


@pytest.mark.parametrize("tail_s", [2.5, 10.0])
@pytest.mark.parametrize("shared", [False, True])
def test_whoever_transfers_within_the_tail_finds_the_radio_awake(tmp_path: Path, shared: bool, tail_s: float) -> None:
    """A megabyte takes 1 s and the radio half a second to wake; training takes 2 s, the tail longer than that, from
    the end of the download on."""
    devices = fleet([2.0], tail_s=tail_s, promotion_s=0.5)
    network = star(devices) if shared else None
    run = finished(tmp_path, devices=devices, network=network, stop=Stop(aggregations=2))
    times = [(phase, start, end) for phase, start, end, *_ in rows(run)]
    expected = [
        ("download", 0.0, 1.5), ("train", 1.5, 3.5), ("upload", 3.5, 4.5),
        ("download", 4.5, 5.5), ("train", 5.5, 7.5), ("upload", 7.5, 8.5),
    ]  # fmt: skip
    assert times == [(phase, pytest.approx(start), pytest.approx(end)) for phase, start, end in expected]
    tails_s = tail_s + 2 + 0 + 2  # an upload's adds the training before it, the second download's nothing
    assert run.ledger.total.energy_j == pytest.approx(8.5 + 0.5 * tails_s)


@pytest.mark.parametrize("tail_s", [0.0, 1.0, 2.0])
def test_training_that_outlasts_the_tail_lets_the_radio_sleep(tmp_path: Path, tail_s: float) -> None:
    """It sleeps from the very end of the tail on; the next round's download follows the upload at once. All takes
    1 W, waking as well, and a tail 0.5 W, for three of them: the first upload's covers the next download's."""
    devices = fleet([2.0], tail_s=tail_s, promotion_s=0.5)
    run = finished(tmp_path, devices=devices, stop=Stop(aggregations=2))
    wakes = 0.5 if tail_s == 0 else 0.0  # without any tail it sleeps in an instant
    assert [(phase, end - start) for phase, start, end, *_ in rows(run)] == [
        ("download", 1.5), ("train", 2.0), ("upload", 1.5), ("download", 1.0 + wakes), ("train", 2.0), ("upload", 1.5)
    ]  # fmt: skip
    assert run.ledger.total.energy_j == pytest.approx(1.5 + 2 + 1.5 + 1 + wakes + 2 + 1.5 + 3 * 0.5 * tail_s)


@pytest.mark.parametrize("clients", [2, MANY])
def test_of_a_fleet_only_those_wake_whose_radios_sleep(tmp_path: Path, clients: int) -> None:
    devices = fleet([2.0] * clients, tail_s=10.0, promotion_s=0.5)
    devices.promotion_s[1:] = 0.0
    run = finished(tmp_path, devices=devices, schedule=Sync(clients), stop=Stop(aggregations=1))
    downloads = [(row[1], (row[5] - row[4]) / S) for row in run.state()["recorder"]["events"] if row[3] == "download"]
    assert sorted(downloads) == [(0, 1.5), *((client, 1.0) for client in range(1, clients))]


def test_a_forecast_knows_whether_the_radio_sleeps(tmp_path: Path) -> None:
    devices = fleet([2.0], tail_s=10.0, promotion_s=0.5)
    run, _ = simulation(tmp_path, devices, Sync(1), Stop(aggregations=1))
    asleep = run.server.forecast([0])
    run.begin()
    run.run()
    awake = run.server.forecast([0])
    assert asleep == [(3 * S // 2, 2 * S, S)]
    assert awake == [(S, 2 * S, S)]


def test_what_goes_on_has_woken_and_what_begins_anew_wakes_again(tmp_path: Path) -> None:
    """The link is lost at 1 s, half a second after the radio had woken and the latency begun, until 9 s."""
    gone = Gap(1 * S, 9 * S)
    devices = fleet([2.0], tail_s=3.0, promotion_s=0.5, latency_s=0.25, availability=gone)
    for rule, first, again in (
        ("resume", ("download", 0.0, 1.0, MB // 4, "interrupted"), ("download", 9.0, 9.75, MB - MB // 4, "done")),
        (Retry(first_s=1.0), ("download", 0.0, 1.0, MB // 4, "failed"), ("download", 9.0, 10.75, MB, "done")),
    ):
        folder = tmp_path / str(rule)
        run = finished(folder, devices=devices, rules=Rules(transfer=rule), stop=Stop(aggregations=1))  # type: ignore[arg-type]
        assert rows(run)[:2] == [first, again]


def test_of_two_that_exchange_the_sender_wakes_and_then_the_receiver(tmp_path: Path) -> None:
    """Both have trained for 1 s: of the first leg both radios sleep, of the second neither does."""
    devices = fleet([1.0, 1.0], tail_s=5.0, promotion_s=0.5)
    schedule = SyncGossip(neighbours=((1,), (0,)))
    run = finished(
        tmp_path, devices=devices, schedule=schedule, learning=Meeting(2), stop=Stop(aggregations=1)
    )  # fmt: skip
    transfers = [(phase, start, end) for phase, start, end, *_ in rows(run) if phase != "train"]
    assert sorted(transfers) == [
        ("download", 1.0, 3.0), ("download", 3.0, 4.0), ("upload", 1.0, 3.0), ("upload", 3.0, 4.0)
    ]  # fmt: skip
