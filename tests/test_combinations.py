"""Algorithms with everything that composes with them, drawn at random: codecs, rules, attackers, solvers, failures.

Whatever a scenario accepts has numbers in the end, sends the bytes that it said, merges nothing that was not sent, and
goes on from a pause as if there had been none.
"""

import copy
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from eight import write
from whole import assembled, begun, ended

from edgesim.algorithms import registry
from edgesim.algorithms.contract import Client, Payload
from edgesim.algorithms.messages import travelling
from edgesim.devices.workload import Workload
from edgesim.engine.learning import Merging, Received
from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.execution.federation import Federation
from edgesim.learning import codecs
from edgesim.learning.codecs import Part
from edgesim.learning.tree import Params, State
from edgesim.scenario.samples import SCHEDULES

DRAWN = 4  # combinations of each algorithm
SPARSE = {"density": 0.4, "layers": "conv+linear", "warm_up_share": 0.25, "warm_up_epochs": 2}
HETERO = {"update_mode": "masked", "recalibration": "aggregate", "budgets": "positions"}
VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "fedspa": [{}, {"masking": "rsm"}, {"divisor": "holders", "density": [0.2, 0.6]}],
    "flash": [{**SPARSE, "mode": mode} for mode in ("nst", "pdst", "spdst")] + [{**SPARSE, **HETERO, "mode": "jmwst"}],
    "zerofl": [{"sends": sends, "sparsity": 0.6} for sends in ("top-weights", "diff-on-top-weights", "top-diff")],
    "heterofl": [{"rates": [1, 0.5]}],
    "pfedla": [{}, {"retained": 1}, {"retained": 1, "upload_retained": False}],
    "scaffold": [{}, {"control": "gradient"}],
    "per-fedavg": [{}, {"order": "hessian-free"}],
    "prunefl": [{"readjust_every": 2, "initial_rounds": 3}, {"readjust_every": 2, "initial": "none"}],
    "feddst": [{"density": 0.5, "readjust_every": 1, "prune_rate": 0.2, "settle_epochs": 1}],
    "ffgg": [{}, {"fine_tune": "cg"}, {"local_steps": 2}],
    "pfedhn": [{"inner_steps": 3}],
    "lotteryfl": [{"start_accuracy": 0.1, "percent": 30, "end_density": 0.2}],
    "subfedavg": [{"accuracy": 0.1}],
}
COMING = "fleet.0.availability={kind: markov, on: 300 ms, off: 60 ms}"
HURRIED = "{kind: deadline, cohort: 3, over_selection: 1.4, limit: 150 ms, late: kept}"
EDGE = "{kind: buffered, concurrency: 3, buffer: 2}"
EDGES = f"{{kind: hierarchical, edges: 2, edge: {EDGE}, cloud: async, link: {{down: 99 Mbit/s, up: 9 Mbit/s}}}}"
SERVED = ("codec", "server", "selector", "failures")  # sections that need a server
SECTIONS: Mapping[str, Sequence[str]] = {
    "schedule": [json.dumps(it) for it in ({"kind": kind, **SCHEDULES[kind]} for kind in SCHEDULES)] + [HURRIED, EDGES],
    "codec": ["", "", "{name: top-k, share: 0.2}", "{name: top-k, share: 0.2, feedback: false}", "{name: qsgd, s: 4}"],
    "server": [
        "", "", "{aggregator: median}", "{aggregator: trimmed-mean}", "{aggregator: geometric-median}",
        "{aggregator: centered-clipping}", "{aggregator: median, before: nearest-neighbours}", "{worker_momentum: 0.5}",
        "{optimizer: {name: sgd, momentum: 0.5}}", "{optimizer: {name: yogi, lr: 0.01}}", "{rule: fedasync}",
        "{rule: ca2fl}", "{rule: port}", "{rule: refl}",
    ],
    "attackers": ["", "", *(f"{{kind: {kind}, share: 25 %}}" for kind in ("sign-flip", "gaussian", "alie", "mimic"))],
    "selector": ["", "", "oort"],
    "training.momentum": ["", "", "0.5"],
    "training.weight_decay": ["", "", "0.01"],
    "training.lr_decay": ["", "0.9"],
    "training.epochs": ["", "2", "5"],
    "failures": ["", "{transfer: resume, training: resume}"],
    "task.model": ["", "", "./model.py:normed"],
    "task.unseen": ["", "", "25 %"],
}  # fmt: skip


def combinations(name: str) -> Iterator[list[str]]:
    """What is set, without end."""
    rng = random.Random(name)
    while True:
        drawn = {section: rng.choice(values) for section, values in SECTIONS.items()}
        if name == "fedbn":
            drawn["task.model"] = "./model.py:normed"
        if "sync" in registry.find(name, Path()).refuses:
            drawn |= {"schedule": "{kind: gossip, graph: complete}", **dict.fromkeys(SERVED, "")}
        algorithm = json.dumps({"name": name, **rng.choice(VARIANTS.get(name, [{}]))})
        away = [COMING] if rng.random() < 0.5 else []
        yield [f"algorithm={algorithm}", *(f"{section}={value}" for section, value in drawn.items() if value), *away]


def recorded(made: Simulation) -> str:
    """To its end; what it recorded, written out, since what is no number equals nothing, itself included."""
    return repr(ended(made).state()["recorder"])


@pytest.mark.parametrize("name", sorted(registry.names()))
def test_whatever_is_accepted_holds_what_it_promises(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Federation, "aggregate", watched(Federation.aggregate))
    ran = 0
    for number, given in enumerate(combinations(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            path, settings = write(folder), ["stop.aggregations=5", *given]
            made = begun(path, *settings)
            whole = recorded(made)
        except ScenarioError:
            continue
        assert math.isfinite(made.last["loss"]), given
        assert made.version == 5, given
        if not ran:
            part = begun(path, *settings)
            part.run(lambda run: run.version >= 2, events=0)
            rest = assembled(path, *settings, state=copy.deepcopy(part.state()))
            assert recorded(rest) == whole, given
        ran += 1
        if ran == DRAWN:
            return


def watched(aggregate: Any) -> Any:
    """`Federation.aggregate` that looks at the messages before they are merged."""

    def looking(self: Federation, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        for update in received:
            look(self, update.job)
        found: Workload | None = aggregate(self, received, merging)
        return found

    return looking


def look(at: Federation, job: int) -> None:
    order, (update, after) = at._training.result(job)
    parts = at._algorithm.upload(update, order.state, after)
    size = codecs.size(parts)
    assert len(codecs.encode(parts)) == size
    payload = Payload(state=order.payload, size_bytes=size, training=order.training)
    who = Client(order.client, int(at._context.task.train.count[order.client]), order.state)
    said = at._algorithm.upload_bytes(at._context, payload, who)
    assert said is None or abs(said - size) <= 1  # two messages for one have a header each
    if "params" in update:
        for tensor, sent in zip(counted(update).values(), found(update, parts), strict=True):
            assert not tensor[~sent].any()


def counted(update: State) -> Params:
    """What an algorithm's server sees of an update's `params`."""
    on = travelling(update)
    return {name: tensor * on[name] if name in on else tensor for name, tensor in update["params"].items()}


def found(update: State, parts: Sequence[Part]) -> Iterator[torch.Tensor]:
    """Which values of each tensor of `params` are in the message."""
    by_place = {part.values.data_ptr(): part.mask for part in parts if part.values is not None}
    for tensor in update["params"].values():
        mask = by_place.get(tensor.data_ptr(), torch.zeros_like(tensor, dtype=torch.bool))
        yield torch.ones_like(tensor, dtype=torch.bool) if mask is None else mask
