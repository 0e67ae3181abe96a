"""A world in which everything takes twice as long, at half the power, does the same twice as late for as many joules:
no figure in whose unit there is a time is forgotten, or counted twice."""

from pathlib import Path
from typing import Any

import pytest
from whole import begun, ended, written

DEVICE = """
device: board
family: sbc
processor: {{training: {rate} MFLOP/s, bandwidth: {rate} MB/s, step_overhead: {time} ms, sparse_efficiency: 0.5}}
memory: {{ram: 1 GiB, usable: 0.9}}
power: {{idle: {rate} W, training: {rate} W}}
confidence: low
sources: [made up]
"""
LINK = """
link: line
rate: {{down: {rate} Mbit/s, up: {rate} Mbit/s}}
latency: {time} ms
power: {{receive: {rate} W, send: {rate} W}}
tail: {{time: {time}0 ms, power: {rate} W}}
promotion: {time}0 ms
confidence: low
sources: [made up]
"""
SCENARIO = """
name: twice
task:
  dataset: {{name: synthetic, samples: 160, features: 4, classes: 3}}
  partition: {{kind: dirichlet, alpha: 0.5}}
  clients: 8
  model: {{name: mlp, hidden: [4]}}
training: {{lr: 0.1, batch_size: 5}}
fleet:
  - device: ./board.yaml
    share: 1
    link: ./line.yaml
    variation: {{compute: 0.4, link: 0.3}}
    jitter: {{compute: 0.2}}
    connection: {{round_trips: 2, window: 60 B}}
    availability: {{kind: markov, on: {time}00 ms, off: {time}0 ms}}
algorithm: fedspa
evaluate: {{every: {time}00 ms}}
stop: {{time: {time}000 ms, aggregations: 1000}}
execution: {{backend: none}}
schedule: {schedule}
{failing}
"""
SCHEDULES = [
    "{{kind: sync, cohort: 4}}", "{{kind: buffered, concurrency: 5, buffer: 2}}", "{{kind: async, concurrency: 4}}",
    "{{kind: deadline, cohort: 3, over_selection: 1.4, limit: {time}0 ms, late: kept}}",
    "{{kind: periodic, concurrency: 4, every: {time}0 ms}}",
]  # fmt: skip
FAILING = [
    "", "failures: {{transfer: resume, training: resume}}",
    "failures: {{transfer: {{kind: retry, backoff: {time}0 ms}}, training: restart, crash_every: {time}00 ms}}",
    "failures: {{transfer: resume}}\nnetwork: {{sharing: max-min, server_up: {rate} Mbit/s}}",
]  # fmt: skip


def rows(folder: Path, schedule: str, failing: str, **scale: float) -> list[Any]:
    """Those of all stretches."""
    parts = {"schedule": schedule.format(**scale), "failing": failing.format(**scale)}
    path = written(SCENARIO.format(**scale, **parts), folder)
    (folder / "board.yaml").write_text(DEVICE.format(**scale))
    (folder / "line.yaml").write_text(LINK.format(**scale))
    found: list[Any] = ended(begun(path)).recorder.state()["events"]
    return found


@pytest.mark.parametrize("failing", FAILING, ids=["abort", "resume", "retry", "shared"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=["sync", "buffered", "async", "deadline", "periodic"])
def test_a_world_half_as_fast_does_the_same_twice_as_late(tmp_path: Path, schedule: str, failing: str) -> None:
    """Within what changes of availability are rounded to, microseconds, which add up."""
    once = rows(tmp_path / "once", schedule, failing, time=2, rate=1)
    later = rows(tmp_path / "later", schedule, failing, time=4, rate=0.5)
    assert len(once) > 100
    assert [(*row[:4], *row[10:]) for row in later] == [(*row[:4], *row[10:]) for row in once]
    for column in (4, 5):  # start and end
        assert [row[column] for row in later] == pytest.approx([2 * row[column] for row in once], abs=1e6)
    assert [row[7] for row in later] == pytest.approx([row[7] for row in once], abs=30)  # bytes of what was broken off
    assert [row[9] for row in later] == pytest.approx([row[9] for row in once], abs=1e-3)
