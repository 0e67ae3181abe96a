"""Every algorithm that ships, under every schedule that it accepts: it runs, its books balance, and a cohort learns
what one client at a time does."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from eight import write
from whole import assembled, begun, ended

from edgesim.algorithms import registry
from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.scenario.samples import SCHEDULES
from edgesim.scenario.schema import Schedule

KINDS = [str(get_args(section.model_fields["kind"].annotation)[0]) for section in get_args(get_args(Schedule)[0])]
LINEAR = {"flash": ["algorithm={name: flash, layers: conv+linear}"]}  # to mask where nothing is a convolution
NEEDS = {"fedbn": ["task.model=./model.py:normed"]}  # what an algorithm cannot do without


def simulated(folder: Path, name: str, *overrides: str) -> Simulation:
    return ended(begun(write(folder), f"algorithm={name}", *NEEDS.get(name, []), *overrides))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(registry.names()))
def test_every_algorithm_runs_under_every_schedule_or_says_why_not(tmp_path: Path, name: str, kind: str) -> None:
    """What is refused is told with what to take instead, which runs; rounds and buffers are refused to nobody who does
    not say so in his own class."""
    refusal, schedule = "", f"schedule={json.dumps({'kind': kind, **SCHEDULES[kind]})}"
    try:
        simulation = simulated(tmp_path, name, schedule)
    except ScenarioError as error:
        refusal = str(error)
    if refusal:
        assert re.search(r"schedule\.\w+: .*(take|write|use) ", refusal), refusal
        for other in set(re.findall(r"[\w-]+", refusal.rpartition("take ")[2])) & registry.names().keys():
            assembled(write(tmp_path), f"algorithm={other}", *NEEDS.get(other, []), schedule)
        assert kind not in ("sync", "buffered") or kind in registry.find(name, Path()).refuses
        return
    assert simulation.version == 4
    assert 0 <= simulation.last["accuracy"] <= 1


# batch norms are trained one client at a time only
@pytest.mark.parametrize("name", sorted(set(registry.names()) - {"fedbn"}))
def test_a_cohort_learns_what_one_client_at_a_time_does(tmp_path: Path, name: str) -> None:
    """Within rounding; a mask or a choice that hangs on a last digit may move a test sample or two."""
    seen = []
    for backend in ("stacked", "loop"):
        folder = tmp_path / backend
        folder.mkdir()
        kind = "gossip" if "sync" in registry.find(name, Path()).refuses else "sync"
        schedule = json.dumps({"kind": kind, **SCHEDULES[kind]})
        seen.append(simulated(folder, name, f"schedule={schedule}", f"execution.backend={backend}").last)
    stacked, loop = seen
    assert loop["accuracy"] == pytest.approx(stacked["accuracy"], abs=0.05)
    assert loop["loss"] == pytest.approx(stacked["loss"], rel=0.03)
    for cost in ("bytes_down", "flops", "jobs_aggregated"):
        assert loop[cost] == pytest.approx(stacked[cost], rel=0.01)


# batch norms are what fedbn is about, and only sequences of layers are made narrower
@pytest.mark.parametrize("model", ["tempered", "dropping"])
@pytest.mark.parametrize("name", sorted(set(registry.names()) - {"fedbn", "fjord", "heterofl"}))
def test_a_parameter_may_be_a_single_number_and_layers_may_drop_out(tmp_path: Path, name: str, model: str) -> None:
    """As the temperature of a softmax is; and what is drawn is a function of the seed."""
    kind = "gossip" if "sync" in registry.find(name, Path()).refuses else "sync"
    schedule = f"schedule={json.dumps({'kind': kind, **SCHEDULES[kind]})}"
    overrides = [schedule, f"task.model=./model.py:{model}", *LINEAR.get(name, [])]
    once = simulated(tmp_path, name, *overrides)
    assert once.version == 4
    torch.manual_seed(7)  # torch's own generator is not asked
    assert simulated(tmp_path, name, *overrides).last == once.last


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("name", sorted(set(registry.names()) - {"fedbn"}))
def test_every_algorithm_trains_by_adam_or_says_why_not(tmp_path: Path, name: str, optimizer: str) -> None:
    kind = "gossip" if "sync" in registry.find(name, Path()).refuses else "sync"
    schedule = f"schedule={json.dumps({'kind': kind, **SCHEDULES[kind]})}"
    overrides = [schedule, f"training.optimizer={optimizer}", "training.weight_decay=0.01", *LINEAR.get(name, [])]
    if name in ("apfl", "asofed", "scaffold"):
        with pytest.raises(ScenarioError, match=r"(training.optimizer|algorithm.control): .*adam.*; write "):
            simulated(tmp_path, name, *overrides)
        return
    ran = simulated(tmp_path, name, *overrides)
    assert ran.version == 4
    assert ran.last["loss"] < 3


@pytest.mark.parametrize(
    "part",
    ["server.aggregator=median", "server.aggregator=krum", "server.rule=port", "server.rule=refl",
     "codec={name: top-k, share: 0.1}", "codec=qsgd", "attackers={kind: alie, share: 0.2}"],
)  # fmt: skip
def test_a_single_number_is_aggregated_compressed_and_forged_as_others_are(tmp_path: Path, part: str) -> None:
    assert simulated(tmp_path, "fedavg", "task.model=./model.py:tempered", part).version == 4
