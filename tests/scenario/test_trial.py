"""The trial of one's own algorithm and model: mistakes are told with hook and place, before anything runs."""

import re
from pathlib import Path

import pytest

from edgesim.algorithms import registry
from edgesim.errors import EdgesimWarning, ScenarioError
from edgesim.results.store import Results
from edgesim.scenario import running
from edgesim.scenario.loading import load

SCENARIO = """
name: tried
task: {dataset: digits, clients: 6, model: {name: mlp, hidden: [8]}, partition: {kind: dirichlet, alpha: 0.5}}
training: {lr: 0.1, batch_size: 20}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 3}
algorithm: fedavg
evaluate: {every: 1 aggregation}
stop: {aggregations: 2}
"""
HEAD = """
from dataclasses import dataclass
import torch
from edgesim.algorithms.contract import Algorithm, Payload, dense, merge
from edgesim.learning import tree
@dataclass(frozen=True, kw_only=True)
class A(Algorithm):
"""
END = """    def local_end(self, payload, client, local, learner):
        d = tree.subtract(local['params'], payload['params'])
"""
STEP = "    def local_step(self, local, batch, learner):\n        g = learner.gradient(local['params'], batch)\n"

AGGREGATE = (
    "    def aggregate(self, context, server, arrivals):\n        s = super().aggregate(context, server, arrivals)\n"
)

WRONG = {
    "download returns None": (
        "    def download(self, context, server, client): pass",
        r"A\.download must return a Payload; it returned None \(.*own\.py:8\)",
    ),
    "negative bytes": (
        "    def upload_bytes(self, context, payload, client): return -5",
        r"A\.upload_bytes says -5 bytes",
    ),
    "bytes of another message": (
        "    def upload_bytes(self, context, payload, client): return 10",
        r"says 10 bytes, and the message that upload makes has 2445",
    ),
    "upload without upload_bytes": (
        "    def upload(self, update, before, after): return dense(update['params']) * 2",
        r"says 2445 bytes, .* has 4889",
    ),
    "a signature": (
        "    def aggregate(self, server, arrivals): return server",
        r"A\.aggregate failed: TypeError: .*3 positional arguments but 4",
    ),
    "an exception": (
        "    def aggregate(self, context, server, arrivals):\n        return server['oops']",
        r"A\.aggregate failed: KeyError: 'oops' \(aggregate, .*own\.py:9\)",
    ),
    "an assertion in check": (
        "    def check(self, context): assert False, 'not so'",
        r"A\.check failed: AssertionError: not so",
    ),
    "a step returns None": (
        STEP + "        learner.descend(local, g)",
        r"A\.local_step must return a state",
    ),
    "no client axis": (
        END + "        return {'params': {n: t[0] for n, t in d.items()}}, client",
        r"params: fc1\.weight of shape \[8, 64\] for 2 clients",
    ),
    "no tensor": (END + "        return {'params': d, 'n': {'n': 3}}, client", r"n: n is a int; write torch\.tensor"),
    "no numbers": (
        END + "        return {'params': tree.scale(float('nan'), d)}, client",
        r"params: fc1\.weight with values that are infinite",
    ),
    "client state that init_client has not": (
        END + "        return {'params': d}, {'mine': local['params']}",
        r"lets the client keep the groups \['mine'\], and init_client begins with \[\]",
    ),
    "clients are mixed": (
        STEP + "        return learner.descend(local, {n: t.mean(0, keepdim=True).expand_as(t) for n, t in g.items()})",
        r"A\.local_run gives client 0 another params: fc1\.weight alone than together",
    ),
    "chance of its own": (
        END + "        return {'params': {n: torch.randn_like(t) for n, t in d.items()}}, client",
        r"A\.local_end draws from the generator that all of torch shares, .* learner\.uniforms",
    ),
    "in place": (
        "    def aggregate(self, context, server, arrivals):\n        for n, t in server['params'].items():\n"
        "            t += arrivals.update['params'][n].mean(0)\n        return server",
        r"A\.aggregate changes 'params' in place",
    ),
    "in place on the device": (
        "    def init_client(self, context, client): return {'n': {'n': torch.ones(1)}}\n"
        "    def local_start(self, payload, client):\n        client['n']['n'].add_(1)\n"
        "        return {'params': payload['params']}",
        r"A\.local_train or a hook that it is made of changes tensors in place",
    ),
    "a shape of the server's": (
        "    def aggregate(self, context, server, arrivals):\n        return {'params': arrivals.update['params']}",
        r"A\.aggregate returns a state whose params: fc1\.weight has shape \[2, 8, 64\], not \[8, 64\]",
    ),
    "a memory of its own": (
        "    seen = []\n    def download(self, context, server, client):\n        self.seen.append(client.id)\n"
        "        return Algorithm.download(self, context, server, client)",
        r"A\.seen has changed",
    ),
    "a count in the class": (
        "    def aggregate(self, context, server, arrivals):\n"
        "        type(self).rounds = getattr(self, 'rounds', 0) + 1\n"
        "        return super().aggregate(context, server, arrivals)",
        r"A\.rounds has changed",
    ),
    "chance in the server, of torch": (
        AGGREGATE + "        return {'params': {n: w + torch.randn_like(w) for n, w in s['params'].items()}}",
        r"A\.aggregate draws from the generator that all of torch shares, .* torch\.Generator\(\)\.manual_seed",
    ),
    "chance in the server, of numpy": (
        "    def download(self, context, server, client):\n        import numpy\n        numpy.random.rand()\n"
        "        return Algorithm.download(self, context, server, client)",
        r"A\.download draws from the generator that all of numpy shares",
    ),
    "chance in a client's start": (
        "    def init_client(self, context, client): return {'n': {'n': torch.rand(1)}}",
        r"A\.init_client draws from the generator that all of torch shares",
    ),
    "a little chance in a step": (
        STEP + "        return learner.descend(local, {n: t + 1e-6 * torch.randn_like(t) for n, t in g.items()})",
        r"A\.local_step draws from the generator that all of torch shares",
    ),
    "a memory of the file": (
        "    def download(self, context, server, client):\n        global SEEN\n"
        "        SEEN = globals().get('SEEN', 0) + 1\n"
        "        return Algorithm.download(self, context, server, client)",
        r"SEEN has changed",
    ),
    "a generator of the file": (
        AGGREGATE + "        global RANDOM\n        RANDOM = globals().get('RANDOM', torch.Generator())\n"
        "        torch.rand(1, generator=RANDOM)\n        return s",
        r"RANDOM has changed",
    ),
    "a memory in itself": (
        AGGREGATE + "        object.__setattr__(self, 'n', getattr(self, 'n', 0) + 1)\n        return s",
        r"A\.n has changed",
    ),
    "in place on the way down": (
        "    def download(self, context, server, client):\n        server['params']['fc1.bias'].mul_(0.9)\n"
        "        return Algorithm.download(self, context, server, client)",
        r"A\.download changes 'params' in place",
    ),
    "another tensor in the server's dict": (
        "    def aggregate(self, context, server, arrivals):\n"
        "        server['params']['fc1.bias'] = server['params']['fc1.bias'] * 0.5\n        return server",
        r"A\.aggregate changes 'params' in place",
    ),
    "in place before use": (
        "    def client_model(self, server, client):\n        server['params']['fc1.bias'].mul_(0.9)\n"
        "        return server['params']",
        r"A\.client_model changes 'params' in place",
    ),
    "a model of no numbers": (
        "    def client_model(self, server, client): return tree.scale(float('nan'), server['params'])",
        r"A\.client_model returns fc1\.weight with values that are infinite",
    ),
    "doubles in the server": (
        AGGREGATE + "        return {'params': {n: w.double() for n, w in s['params'].items()}}",
        r"A\.aggregate returns a state whose params: fc1\.weight is torch\.float64, not torch\.float32",
    ),
    "a client's state that grows": (
        "    def init_client(self, context, client): return {'n': {'n': torch.zeros(1)}}\n"
        + END
        + "        return {'params': d}, {'n': {'n': torch.cat([client['n']['n']] * 2, 1)}}",
        r"A\.local_end lets the client keep a state whose n: n has shape \[2\], not \[1\] as init_client begins",
    ),
    "an update of its own kind when alone": (
        END + "        return {'params': d, **({'more': d} if len(learner.version) > 1 else {})}, client",
        r"gives client 0 another more: fc1\.weight alone",
    ),
    "client_model": (
        "    def client_model(self, server, client): return {'fc1.weight': server['params']['fc1.weight']}",
        r"A\.client_model must return a model, its tensors fc1\.weight, fc1\.bias",
    ),
}


def check(folder: Path, *overrides: str) -> None:
    (folder / "scenario.yaml").write_text(SCENARIO)
    running.check(load(folder / "scenario.yaml", overrides))


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_a_hook_is_told_before_anything_runs(tmp_path: Path, mistake: str) -> None:
    body, told = WRONG[mistake]
    (tmp_path / "own.py").write_text(f"{HEAD}{body}\n")
    with pytest.raises(ScenarioError) as error:
        check(tmp_path, "algorithm=./own.py:A")
    assert re.search(told, str(error.value)), str(error.value)
    assert str(error.value).startswith(str(tmp_path / "scenario.yaml"))


@pytest.mark.parametrize(
    "schedule", ["{kind: sync, cohort: 3}", "{kind: safa, quota: 3, limit: 1 s}", "{kind: async, concurrency: 3}"]
)
def test_a_hyper_parameter_may_have_any_name(tmp_path: Path, schedule: str) -> None:
    """`inner` too, which is what our own algorithms call one that they stand around."""
    (tmp_path / "own.py").write_text(f"{HEAD}    inner: int = 5\n")
    check(tmp_path, "algorithm=./own.py:A", f"schedule={schedule}")


def test_all_variants_are_told_at_once(tmp_path: Path) -> None:
    for name in ("negative bytes", "no tensor"):
        (tmp_path / f"{name[:2]}.py").write_text(f"{HEAD}{WRONG[name][0]}\n")
    with pytest.raises(ScenarioError) as error:
        check(tmp_path, "sweep={algorithm: [./ne.py:A, fedavg, ./no.py:A]}")
    assert len(str(error.value).splitlines()) == 2


def test_what_reaches_the_server_for_nothing_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"{HEAD}{END}        return {{'params': d, 'secret': d}}, client\n")
    with pytest.warns(EdgesimWarning, match="leaves the group 'secret' of the update out"):
        check(tmp_path, "algorithm=./own.py:A")


def test_chance_by_the_seed_and_what_is_worked_out_once_are_fine(tmp_path: Path) -> None:
    body = """
    from functools import cached_property
    names: tuple[str, ...] = ()
    _HALF = 0.5

    @cached_property
    def half(self):
        return self._HALF

    def init_server(self, context):
        return {**super().init_server(context), "round": {"t": torch.tensor(0)}}

    def aggregate(self, context, server, arrivals):
        t = server["round"]["t"]
        random = torch.Generator().manual_seed(1000 * context.seed + int(t))
        s = super().aggregate(context, server, arrivals)
        noisy = {n: w + self.half * torch.randn(w.shape, generator=random) for n, w in s["params"].items()}
        return {"params": noisy, "round": {"t": t + 1}}
"""
    (tmp_path / "own.py").write_text(HEAD + body)
    check(tmp_path, "algorithm=./own.py:A")


@pytest.mark.parametrize("name", sorted(registry.names()))
@pytest.mark.parametrize("backend", ["loop", "stacked"])
def test_every_algorithm_of_our_own_passes(tmp_path: Path, name: str, backend: str) -> None:
    kind = registry.find(name, Path())
    (tmp_path / "own.py").write_text(f"from {kind.__module__} import {kind.__name__}\nclass A({kind.__name__}): pass\n")
    wanted = {
        "fedbn": "task.model={name: cnn-bn, width: 0.05, norm: group}",
        "dispfl": "schedule={kind: gossip, graph: ring, mode: sync}",
    }
    more = [wanted[name]] if name in wanted else []
    check(tmp_path, "algorithm=./own.py:A", f"execution.backend={backend}", *more)


def test_files_beside_ones_own_are_found_and_a_change_of_them_ends_a_resume(tmp_path: Path) -> None:
    (tmp_path / "beside_own.py").write_text("SCALE = 1.0\n")
    body = "    def local_run(self, local, learner): return learner.sgd(local, lr=0.1 * beside_own.SCALE)"
    (tmp_path / "own.py").write_text(f"import beside_own\n{HEAD}{body}\n")
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    plan = load(tmp_path / "scenario.yaml", ["algorithm=./own.py:A"])
    (directory,) = running.prepare(plan, tmp_path / "out", replace=False)
    (tmp_path / "beside_own.py").write_text("SCALE = 2.0\n")
    with pytest.raises(Exception, match=r"begun with other versions \(beside_own\.py"):
        running.run_all([directory], workers=1, notify=lambda _: None, asked_to_stop=lambda: False)


MODELS = """
import torch
from math import prod
from torch import nn
def local(shape, classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(shape[0], 4, 3, padding=1), nn.Linear(4 * shape[1] * shape[2], classes)
        def forward(self, x): return self.out(self.conv(x).relu().flatten(1))
    return Net()
class Recurrent(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.gru, self.out = nn.GRU(8, 6, batch_first=True), nn.Linear(6, classes)
    def forward(self, x): return self.out(self.gru(x.flatten(1, 2))[0][:, -1])
def recurrent(shape, classes): return Recurrent(classes)
class Looks(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.out = nn.Linear(prod(shape), classes)
    def forward(self, x): return self.out(x.flatten(1) * 2 if x.sum() > 0 else x.flatten(1))
def looks(shape, classes): return Looks(shape, classes)
"""


@pytest.mark.parametrize("model", ["local", "recurrent"])
def test_models_that_only_train_alone_run_on_several_processes(tmp_path: Path, model: str) -> None:
    (tmp_path / "own.py").write_text(MODELS)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    found = []
    for workers in (1, 2):
        plan = load(tmp_path / "scenario.yaml", [f"task.model=./own.py:{model}"])
        directories = running.prepare(plan, tmp_path / str(workers), replace=False)
        running.run_all(directories, workers=workers, notify=lambda _: None, asked_to_stop=lambda: False)
        (run,) = Results.read(tmp_path / str(workers)).runs
        assert run.summary is not None
        assert run.summary["backend"] == "loop"
        found.append(run.metrics()["loss"].tolist())
    assert found[0] == found[1]


def test_a_model_that_looks_at_values_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(MODELS)
    with pytest.raises(ScenarioError, match=r"FLOPs cannot be counted: .*write torch\.where"):
        check(tmp_path, "task.model=./own.py:looks")
