"""The ledger by hand: many devices at once are entered as one after the other."""

import numpy as np
import pytest

from edgesim.engine.job import Job, Phase, SmoothJobs, Stretch
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import MANY

S = 1_000_000_000


@pytest.mark.parametrize("devices", [MANY - 1, MANY, 3 * MANY])
def test_fates_and_memory_of_many_devices_at_once(devices: int) -> None:
    """Each device has a job; then the last two have two more, the larger of which comes first."""
    ledger, everyone = Ledger(devices + 1), range(devices)
    ledger.count_all("dispatched", everyone)
    ledger.need(everyone, [100 + device for device in everyone])
    for memory_bytes in (10**12, 50):
        ledger.count_all("dispatched", everyone[-2:])
        ledger.need(everyone[-2:], [memory_bytes, memory_bytes])
    assert ledger.dispatched.tolist() == [1] * (devices - 2) + [3, 3, 0]
    assert ledger.jobs() == {"dispatched": devices + 4, "aggregated": 0, "lost": 0, "discarded": 0}
    assert ledger.memory_bytes.tolist() == [100 + device for device in everyone[:-2]] + [10**12, 10**12, 0]


def test_what_needs_most_memory_counts_whoever_comes_how_often() -> None:
    """Device 2 comes in each place of a long list; what it needs most is in the middle."""
    ledger, needs = Ledger(3), [*range(MANY), 10 * MANY, *range(MANY)]
    ledger.need([2] * len(needs), needs)
    assert ledger.memory_bytes.tolist() == [0, 0, 10 * MANY]


def test_smooth_jobs_are_entered_by_device_and_phase() -> None:
    """Devices 1, 0 and 1 again: phases of 1, 2 and 4 s, then of 10, 20 and 40 s, then of 100, 200 and 400 s."""
    one, n = np.array([1, 10, 100]), np.zeros(3, np.int64)
    lasts_s = np.outer([1, 2, 4], one)
    jobs = SmoothJobs(
        number=n, client=np.array([1, 0, 1]), version=n, batch_size=n, staleness=n,
        edges_ns=S * np.concatenate([[[7, 7, 7]], 7 + lasts_s.cumsum(0)]),
        sizes=np.array([[3], [0], [5]]) * one, flops=11.0 * one, energy_j=0.5 * lasts_s,
    )  # fmt: skip
    ledger = Ledger(2)
    ledger.book_smooth(jobs)
    assert (ledger.phase_ns / S).tolist() == [[10, 101], [20, 202], [40, 404]]
    assert ledger.phase_j.tolist() == [[5, 50.5], [10, 101], [20, 202]]
    assert (ledger.bytes_down.tolist(), ledger.bytes_up.tolist()) == ([30, 303], [50, 505])
    assert ledger.flops.tolist() == [110, 1111]
    assert ledger.total.state() == (777 * S, 333, 555, 1221.0, 388.5)
    assert (ledger.delivered, ledger.broken, ledger.moving) == (888, 0, 0)
    assert [spent.state() for spent in jobs.spent()] == [
        (7 * S * job, 3 * job, 5 * job, 11.0 * job, 3.5 * job) for job in one.tolist()
    ]


def test_what_came_before_a_failure_was_part_of_the_attempt_that_failed() -> None:
    """Each phase is broken off, fails, and begins anew: stretches of 1, 2, 4, … s, with as many joules; the upload has
    been damaged, and is broken off when the run ends."""
    told = [
        (Phase.DOWNLOAD, 10, "interrupted"), (Phase.DOWNLOAD, 5, "failed"), (Phase.DOWNLOAD, 100, "done"),
        (Phase.TRAIN, 0, "interrupted"), (Phase.TRAIN, 0, "failed"), (Phase.TRAIN, 0, "done"),
        (Phase.UPLOAD, 100, "corrupt"), (Phase.UPLOAD, 40, "interrupted"),
    ]  # fmt: skip
    job = Job(0, 1, 0, 0, 100, 100, 0, 0.0, 0)
    for place, (phase, size, outcome) in enumerate(told):
        start_s, flops = 2**place - 1, 3.0 * 2**place * (phase == Phase.TRAIN)
        job.stretches.append(Stretch(phase, start_s * S, (2 * start_s + 1) * S, size, flops, 2.0**place, outcome))
    ledger = Ledger(2)
    kept, again_s = ledger.book(job), 1 + 2 + 8 + 16 + 64
    assert kept.state() == ((4 + 32 + 128) * S, 100, 40, 3.0 * 32, 4 + 32 + 128)
    assert ledger.wasted.state() == ledger.repeated.state() == (again_s * S, 15, 100, 3.0 * (8 + 16), again_s)
    assert ledger.total.state() == (255 * S, 115, 140, 3.0 * (8 + 16 + 32), 255)
    assert (ledger.delivered, ledger.broken, ledger.moving) == (100, 15 + 100, 40)
    assert (ledger.phase_ns[:, 1] / S).tolist() == ledger.phase_j[:, 1].tolist() == [7, 56, 192]
    assert not ledger.phase_ns[:, 0].any()
