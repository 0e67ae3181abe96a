"""Same scenario, same files (P1): whatever the hash seed, the load of the host, the number of workers, and how
often a checkpoint was written; and the same events however training is computed."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import Server, files, unlike
from tiny import ALGORITHMS, SCHEDULES, sets, write

import edgesim
from edgesim.results.store import Results


def _burn() -> None:
    while True:
        pass


@pytest.fixture
def loaded_host() -> Iterator[None]:
    """A process that takes all the time it can get from the others."""
    burner = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    burner.start()
    yield
    burner.kill()
    burner.join()


def test_neither_hash_seed_nor_load_nor_workers_change_a_file(
    server: Server, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scenario, one, two = write(tmp_path), tmp_path / "one", tmp_path / "two"
    algorithms = "sweep={algorithm: [fedavg, {name: fedspa, density: 0.3, rounds: 200}]}"
    sweep = sets(algorithms, SCHEDULES["buffered"], "stop.updates=300", "task.unseen=25 %")
    assert server.run("run", scenario, "--out", one, "--workers", "1", *sweep).code == 0
    request.getfixturevalue("loaded_host")
    other = Server(tmp_path_factory.mktemp("other"), hash_seed=12345)
    try:
        ended = other.run("run", scenario, "--out", two, "--workers", "2", *sweep)
    finally:
        other.close()
    assert ended.code == 0, ended.err
    # runs × (scenario, metrics, events, aggregations, clients, unseen, availability, analysis, summary)
    assert len(files(one)) == 2 * 9
    assert unlike(files(one), files(two)) == []


def run(folder: Path, name: str, *overrides: str) -> tuple[Path, Results]:
    """One run in this process: its directory and what it wrote."""
    results = edgesim.run(write(folder), out=folder / name, overrides=["stop.updates=300", *overrides])
    return results.runs[0].path, results


def test_a_checkpoint_disturbs_nothing(tmp_path: Path) -> None:
    often, _ = run(tmp_path, "often", "execution.checkpoint_every=1 ns", SCHEDULES["buffered"])
    never, _ = run(tmp_path, "never", "execution.checkpoint_every=1 d", SCHEDULES["buffered"])
    assert unlike(files(often), files(never)) == ["scenario.yaml"]  # which says how often


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_events_do_not_depend_on_how_training_is_computed(tmp_path: Path, schedule: str, algorithm: str) -> None:
    """Loop and stacked differ in the last digits of floating-point sums, so metrics are close and not equal.
    What DST uploads depends on which weights are largest, that is on trained values: were two of them within
    rounding of each other, the length of a mask could differ by a byte. Here it does not."""
    runs = {
        (backend, cohort): run(
            tmp_path,
            f"{backend}-{cohort}",
            SCHEDULES[schedule],
            ALGORITHMS[algorithm],
            f"execution={{backend: {backend}, cohort: {cohort}}}",
        )
        for backend, cohort in (("loop", 1), ("stacked", 1), ("stacked", 7), ("stacked", 128))
    }
    oracle_path, oracle = runs["loop", 1]
    events = (oracle_path / "events.parquet").read_bytes()
    assert len(oracle.runs[0].events()["job"]) > 900
    exact = oracle.runs[0].metrics()
    for path, results in runs.values():
        assert (path / "events.parquet").read_bytes() == events
        metrics = results.runs[0].metrics()
        np.testing.assert_allclose(metrics["loss"], exact["loss"], rtol=2e-3)
        np.testing.assert_allclose(metrics["accuracy"], exact["accuracy"], atol=0.05)
        for name in exact.keys() - {"loss", "accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled"}:
            np.testing.assert_array_equal(metrics[name], exact[name], err_msg=name)
