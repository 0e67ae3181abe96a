"""A made-up results folder, written through the recorder: four variants, two seeds, three classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgesim.results.columns import CLIENTS, METRICS
from edgesim.results.recorder import Recorder
from edgesim.results.store import Results

CLASSES = ("jetson-nano", "pixel-6", "raspberry-pi-4")
CLIENT_COUNT = 60
HOUR_NS = 3_600_000_000_000
UNSEEN = ("accuracy_unseen", "accuracy_unseen_trained")
VARIANTS = {  # final accuracy, energy a second (W), mean job (s), staleness, hours
    "fedavg_sync": (0.86, 40.0, 300, 0.0, 6),
    "fedavg_buffered": (0.88, 90.0, 120, 4.0, 6),
    "fedspa-density=0.5_sync": (0.90, 25.0, 260, 0.0, 6),
    "fedspa-density=0.2_buffered": (0.87, 30.0, 90, 6.0, 5),
}


def write_results(folder: Path, seeds: int = 2) -> Results:
    """Make the folder and read it back."""
    for index, variant in enumerate(VARIANTS):
        for seed in range(seeds):
            write_run(folder / f"{variant}_seed={seed}", variant, index, seed)
    return Results.read(folder)


def write_run(directory: Path, variant: str, index: int, seed: int) -> None:
    """One run whose curve saturates and whose devices work, fail and sleep at random."""
    rng = np.random.default_rng([index, seed])
    accuracy, watts, job_s, staleness, hours = VARIANTS[variant]
    directory.mkdir(parents=True)
    record = {"label": directory.name, "variant": variant}
    scenario = {"name": "quickstart", "seed": seed, "evaluate": {"every": "5 min", "target": 0.8}}
    (directory / "scenario.yaml").write_text(json.dumps(record | {"scenario": scenario}))
    recorder = Recorder(directory, CLASSES, chunk_rows=500)
    off = _events(recorder, rng, job_s, staleness, hours)
    for row in range(hours * 12 + 1):
        time_s = 300.0 * row
        reached = 0.1 + (accuracy - 0.1) * (1 - np.exp(-time_s / (30 * job_s))) + rng.normal(0, 0.006)
        cost = time_s * (1 + 0.05 * rng.random())
        values = dict.fromkeys(METRICS.names, 0) | {
            **dict.fromkeys(UNSEEN, reached - 0.1),
            "time_s": time_s, "accuracy": reached, "accuracy_worst10": reached - 0.2, "loss": 0.5,
            "energy_j": watts * cost, "wasted_j": 0.07 * watts * cost, "bytes_down": int(7e3 * watts * cost),
            "bytes_up": int(3e3 * watts * cost), "flops": 1e8 * watts * cost,
        }  # fmt: skip
        recorder.metric(values)
    clients: dict[str, Any] = {name: np.zeros(CLIENT_COUNT) for name in CLIENTS.names}
    counts = ("client", "samples", "bytes_down", "bytes_up", "jobs_dispatched", "jobs_lost")
    clients |= {name: np.arange(CLIENT_COUNT) for name in counts}
    clients |= {"device_class": np.arange(CLIENT_COUNT) % 3}
    clients |= {name: np.full(CLIENT_COUNT, 600.0) for name in ("train_s", "upload_s", "idle_s", "off_s", "idle_j")}
    clients |= {"jobs_aggregated": rng.poisson(3600 / job_s, CLIENT_COUNT)}
    recorder.finish(clients=clients, summary={"accuracy": accuracy}, availability=off)


def _events(recorder: Recorder, rng: np.random.Generator, job_s: float, age: float, hours: int) -> dict[str, list[Any]]:
    off: dict[str, list[Any]] = {"client": [], "start_ns": [], "end_ns": [], "reason": []}
    job = 0
    closed: list[tuple[int, int]] = []
    for client in range(CLIENT_COUNT):
        now, end = 0, hours * HOUR_NS
        while now < end:
            start = now + int(rng.exponential(job_s) * 1e9)
            lost = rng.random() < 0.06
            for phase, part in (("download", 0.2), ("train", 0.6), ("upload", 0.3)):
                stop = start + int(part * job_s * (1 + client % 3) / 2 * rng.uniform(0.8, 1.2) * 1e9)
                fails = lost and phase == "train"
                old = int(rng.poisson(age * (1 + client % 3) / 2)) if phase == "upload" else None
                ended = ("lost", "off-line") if fails else ("done", None)
                recorder.event((job, client, client % 3, phase, start, stop, 0, 1000, 1e9, 5.0, *ended, old, None))
                start = stop
                if fails:
                    break
            if job % 10 == 0:
                closed.append((start, job))
            now, job = start, job + 1
            if lost or rng.random() < 0.05:
                back = now + int(rng.exponential(900) * 1e9)
                for name, value in zip(off, (client, now, back, "off-line"), strict=True):
                    off[name].append(value)
                now = back
    for version, (at, last) in enumerate(sorted(closed), 1):
        recorder.aggregation(version, at, at, 10, "arrival" if version % 7 else "timer", last if version % 7 else None)
    return off
