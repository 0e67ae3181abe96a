"""A scenario that takes about a second, with everything in it that makes a run hard to take up again:
devices that go off line every few jobs, several jobs in flight, and a checkpoint every 20 ms."""

from pathlib import Path

SCENARIO = """\
name: tiny
task:
  dataset: {name: synthetic, samples: 480, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 16
  model: {name: mlp, hidden: [24]}
training: {lr: 0.1, batch_size: 8}
fleet:
  - device: raspberry-pi-4
    share: 0.5
    link: wifi-home
    availability: {kind: markov, on: 400 ms, off: 200 ms}
    variation: {compute: 0.3, link: 0.3}
  - device: raspberry-pi-zero-2w
    share: 0.5
    link: lte
    availability: {kind: markov, on: 800 ms, off: 100 ms}
schedule: {kind: sync, cohort: 8}
algorithm: fedavg
evaluate: {every: 500 ms, target: 0.8}
stop: {updates: 700}
execution: {checkpoint_every: 20 ms}
"""

SCHEDULES = {
    "sync": "schedule={kind: sync, cohort: 8}",
    "buffered": "schedule={kind: buffered, concurrency: 10, buffer: 3, "
    "staleness: {kind: polynomial, exponent: 0.5}, max_staleness: 6}",
}
ALGORITHMS = {
    "fedavg": "algorithm=fedavg",
    "fedspa-dst": "algorithm={name: fedspa, density: 0.3, rounds: 200}",
    "fedspa-rsm": "algorithm={name: fedspa, density: 0.3, masking: rsm}",
}
FAILURES = {
    "abort": "failures={transfer: abort, training: abort}",
    "resume": "failures={transfer: resume, training: resume}",
}
SWEEP = "sweep={algorithm: [fedavg, {name: fedspa, density: 0.3, rounds: 200}], seed: [0, 1]}"


def write(folder: Path) -> Path:
    """The scenario as a file in `folder`."""
    path = folder / "tiny.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def sets(*overrides: str) -> list[str]:
    """Overrides as arguments of the command."""
    return [part for override in overrides for part in ("--set", override)]
