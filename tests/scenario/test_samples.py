"""Sample schedules: there is one of every kind, each loads again from what is written beside its results."""

import json
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from edgesim.algorithms.dispfl import DisPfl
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.scaffold import Scaffold
from edgesim.samplejob import sample_context
from edgesim.scenario.loading import load, resolved
from edgesim.scenario.samples import SCHEDULES, refusals
from edgesim.scenario.schema import Schedule

SCENARIO = """
name: sample
task: {dataset: digits, clients: 8, model: mlp}
training: {lr: 0.1}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 4}
algorithm: fedavg
evaluate: {every: 1 aggregation}
stop: {aggregations: 1}
"""


def test_there_is_one_of_every_kind() -> None:
    kinds = [get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(Schedule)[0])]
    assert sorted(SCHEDULES) == sorted(kinds)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_what_is_resolved_loads_again_as_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text(SCENARIO)
    schedule = json.dumps({"kind": kind, **SCHEDULES[kind]})
    (first,) = load(path, [f"schedule={schedule}"]).scenarios
    again = tmp_path / "again.yaml"
    with again.open("w") as file:
        YAML(typ="safe", pure=True).dump(resolved(first.scenario), file)
    (second,) = load(again, []).scenarios
    assert second.scenario == first.scenario


def test_who_keeps_more_than_a_model_is_refused_where_models_are_merged() -> None:
    where = sample_context()
    assert refusals("fedavg", FedAvg(), where) == {}
    assert set(refusals("scaffold", Scaffold(), where)) == {"tiered", "safa", "hierarchical", "gossip"}
    assert set(refusals("dispfl", DisPfl(), where)) == set(SCHEDULES) - {"gossip"}
