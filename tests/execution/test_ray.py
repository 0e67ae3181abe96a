"""A real Ray cluster of two nodes trains, and runs whole runs, to the very bytes of one process; whoever is killed."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import dying
import numpy as np
import pytest
import torch
from processes import Files, Server, files, unlike, wait_until
from test_pool import alike, home, orders

from edgesim.algorithms import registry
from edgesim.algorithms.fedavg import FedAvg
from edgesim.errors import ScenarioError
from edgesim.execution import cluster
from edgesim.execution.ray import Ray
from edgesim.execution.raycrew import Wanted
from edgesim.scenario import progress, running, spread
from edgesim.scenario.loading import load

pytestmark = pytest.mark.ray
ray: Any = pytest.importorskip("ray")

SCENARIO = """
name: clustered
task: {{dataset: ./data.npz, clients: 6, model: "./net.py:net"}}
training: {{lr: 0.1, batch_size: 10}}
fleet:
  - {{device: raspberry-pi-4, share: 1, link: wifi-home, availability: {{kind: markov, on: 400 ms, off: 200 ms}}}}
schedule: {{kind: buffered, concurrency: 4, buffer: 2}}
algorithm: {{name: "./dying.py:Dying", home: {home}, folder: {folder}, times: {times}}}
evaluate: {{every: 2 aggregations}}
stop: {{aggregations: 6}}
"""
NET = """
from torch import nn

def net(input_shape, classes):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, classes))
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head and another node, one core each; this process is connected to them."""
    for name, value in cluster.QUIET.items():
        os.environ.setdefault(name, value)
    from ray.cluster_utils import Cluster

    made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    cluster.connect(made.address, "a test")
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def armed(folder: Path, name: str, **parameters: int) -> Any:
    dying.write(folder)
    kind: Any = registry.find(f"./dying.py:{name}", folder)
    return home(kind(home=os.getpid(), folder=str(folder), **parameters))


def test_a_killed_worker_is_replaced_and_its_orders_trained_again(nodes: Any, tmp_path: Path) -> None:
    """Both workers are killed over their first orders, then two batches find new ones; the files of the algorithm
    are gone by then, as on another machine."""
    mine = armed(tmp_path, "Dying", times=2)
    for file in dying.write(tmp_path):
        file.unlink()
    with closing(Ray(mine, Wanted(address=nodes.address))) as there:
        assert alike(mine, there, orders(mine, 9))
        assert len(list(tmp_path.glob("death-*"))) == 2
        assert alike(mine, there, orders(mine, 5, first=20))


def test_an_error_in_a_worker_is_raised_here(nodes: Any, tmp_path: Path) -> None:
    mine = armed(tmp_path, "Failing")
    with pytest.raises(ZeroDivisionError, match="in a worker"):
        Ray(mine, Wanted(address=nodes.address, workers=1)).train(orders(mine, 3))


def written(folder: Path, times: int) -> Path:
    dying.write(folder)
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    np.savez(folder / "data.npz", x=(y[:, None, None, None] + rng.normal(size=(120, 1, 8, 8))).astype("float32"), y=y)
    path = folder / "clustered.yaml"
    path.write_text(SCENARIO.format(home=os.getpid(), folder=folder, times=times))
    return path


def prepared(folder: Path, out: str, times: int, *overrides: str) -> list[Path]:
    return running.prepare(load(written(folder, times), overrides), folder / out, replace=False)


def run(directories: list[Path], workers: int | str = 1, stop: bool = False) -> Files:
    running.run_all(directories, workers=workers, notify=lambda _: None, asked_to_stop=lambda: stop)
    return files(directories[0].parent)


def test_a_run_that_a_cluster_trains_leaves_the_same_files(nodes: Any, tmp_path: Path) -> None:
    """A worker is killed in its midst; scenario.yaml alone says that a cluster trained."""
    here = run(prepared(tmp_path, "here", 1))
    there = run(prepared(tmp_path, "there", 1, f"execution={{kind: ray, address: '{nodes.address}'}}"), workers=2)
    assert len(list(tmp_path.glob("death-*"))) == 1
    assert [Path(name).name for name in unlike(here, there)] == ["scenario.yaml"]


def test_runs_spread_over_a_cluster_leave_the_same_files(nodes: Any, tmp_path: Path) -> None:
    """Three runs on two workers, one of which is killed; the files that the scenario names go with them."""
    sweep = "sweep={seed: [0, 1, 2]}"
    here = run(prepared(tmp_path, "here", 1, sweep))
    there = run(prepared(tmp_path, "there", 1, sweep), workers=nodes.address)
    assert len(list(tmp_path.glob("death-*"))) == 1
    assert unlike(here, there) == []
    assert len(here) > 12


def test_a_run_interrupted_on_a_cluster_goes_on_at_home(nodes: Any, tmp_path: Path) -> None:
    long = "stop.aggregations=400"
    here = run(prepared(tmp_path, "here", 0, long))
    directories = prepared(tmp_path, "there", 0, long)
    with pytest.raises(progress.Interrupted):
        run(directories, nodes.address, stop=True)
    assert (directories[0] / "checkpoint" / "state.pt").exists()
    assert unlike(here, run(directories)) == []


def test_a_node_that_is_lost_takes_no_orders_with_it(nodes: Any, tmp_path: Path) -> None:
    """Lost while its worker trains, as does the other; what is left does all the work."""
    mine = armed(tmp_path, "Waiting")

    def lose() -> None:
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        [second] = nodes.worker_nodes
        nodes.remove_node(second, allow_graceful=False)
        (tmp_path / "released").touch()

    thread = threading.Thread(target=lose)
    thread.start()
    with closing(Ray(mine, Wanted(address=nodes.address))) as there:
        assert alike(mine, there, orders(mine, 9))
    thread.join()
    nodes.add_node(num_cpus=1)
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScenarioError, match=r'execution.kind: Ray is not installed; pip install "edgesim\[ray\]"'):
        cluster.connect("auto", "execution.kind")


def test_where_no_cluster_answers_the_error_says_how_to_start_one(server: Server, tmp_path: Path) -> None:
    prepared(tmp_path, "other", 0)
    ended = server.run("run", tmp_path / "clustered.yaml", "--out", tmp_path / "out", "--workers", "ray://127.0.0.1:1")
    assert ended.code == 1
    assert ended.err.startswith("edgesim: --workers: no Ray cluster at 'ray://127.0.0.1:1'")
    assert "`ray start --head`" in ended.err


@pytest.mark.parametrize("text", ["0", "-1", "two", "ray://", "http://there:1"])
def test_workers_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match=f"--workers {text}: write a number from 1, or ray"):
        spread.workers(text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card here")
def test_a_worker_takes_its_own_card(nodes: Any) -> None:
    """Which is looked for there, not here: these have none."""
    mine = replace(home(FedAvg()), device="cuda")
    with closing(Ray(mine, Wanted(address=nodes.address))) as there:
        with pytest.raises(ScenarioError, match=r"execution\.device: got cuda, but torch"):
            there.train(orders(mine, 2))
        assert there.placed is mine.task


@pytest.mark.parametrize(
    ("chosen", "lent"),
    [
        ("{device: cpu}", 0),
        ("{device: cuda}", 1),
        ("{kind: ray, device: cuda, gpus_per_worker: 0.25}", 0.25),
    ],
)
def test_a_run_that_is_spread_is_lent_the_card_that_it_wants(tmp_path: Path, chosen: str, lent: float) -> None:
    (planned,) = load(written(tmp_path, 0), [f"execution={chosen}"]).scenarios
    assert spread._gpus(planned.scenario.execution) == lent


def test_a_run_that_is_spread_cannot_choose_its_card(tmp_path: Path) -> None:
    (planned,) = load(written(tmp_path, 0), ["execution={device: 'cuda:1'}"]).scenarios
    with pytest.raises(ScenarioError, match="got 'cuda:1', but the Ray cluster says which GPU is whose; write cuda"):
        spread._gpus(planned.scenario.execution)
