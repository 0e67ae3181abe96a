"""Jobs of one device differ in speed and in rate, each by factors of its own."""

from pathlib import Path

import numpy as np
import pytest
from worlds import ended, fleet

from edgesim.devices.fleet import Fleet
from edgesim.engine.limits import Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Buffered, Polynomial, Sync

S = 1_000_000_000


def phases(folder: Path, devices: Fleet, jobs: int, *, cohort: int = 1, seed: int = 0) -> np.ndarray:
    """Seconds of each job's phases, in order of jobs [job, phase]."""
    schedule = Sync(cohort) if cohort == len(devices) else Buffered(cohort, 1, Polynomial(0.5))
    run, _ = ended(folder, devices, schedule, Stop(updates=jobs), rules=Rules(seed=seed))
    rows = sorted((row[0], row[4], row[5] - row[4]) for row in run.state()["recorder"]["events"] if row[10] == "done")
    return np.array([length for _, _, length in rows]).reshape(-1, 3)[:jobs] / S


def test_factors_are_lognormal_and_those_of_both_transfers_one(tmp_path: Path) -> None:
    """4,000 jobs that usually take 1, 2 and 1 s."""
    down, train, up = np.log(phases(tmp_path, fleet([2.0], jitter=(0.2, 0.5)), 4_000)).T
    assert down == pytest.approx(up, abs=1e-8)
    for found, median, sigma in ((train, np.log(2), 0.2), (down, 0.0, 0.5)):
        assert np.mean(found) == pytest.approx(median, abs=3.5 * sigma / 4_000**0.5)
        assert np.std(found) == pytest.approx(sigma, rel=0.05)
    assert abs(np.corrcoef(train, down)[0, 1]) < 0.06
    assert abs(np.corrcoef(train[1:], train[:-1])[0, 1]) < 0.06


def test_a_job_has_its_factors_whoever_else_is_at_work(tmp_path: Path) -> None:
    """Of the same number and client, under another schedule, on a fleet of which only one device varies."""
    alone, both = fleet([2.0, 2.0], jitter=(0.3, 0.3)), fleet([2.0, 2.0], jitter=(0.3, 0.3))
    both.compute_jitter[1] = both.link_jitter[1] = 0.0
    runs = [phases(tmp_path / "a", alone, 2, cohort=2), phases(tmp_path / "b", both, 2, cohort=2)]
    assert runs[0][0].tolist() == runs[1][0].tolist()
    assert runs[1][1].tolist() == [1.0, 2.0, 1.0] != runs[0][1].tolist()


def test_another_seed_gives_others(tmp_path: Path) -> None:
    devices = fleet([2.0], jitter=(0.3, 0.3))
    seeds = [phases(tmp_path / str(seed), devices, 3, seed=seed) for seed in (0, 1)]
    assert not np.any(seeds[0] == seeds[1])
