"""Sample schedules: one small of each kind, and which of them an algorithm runs under."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgesim.errors import ScenarioError

if TYPE_CHECKING:
    from edgesim.algorithms.contract import Algorithm, Context

SCHEDULES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "sync": {"cohort": 4},
        "deadline": {"cohort": 3, "over_selection": 1.4, "limit": "2 s"},
        "async": {"concurrency": 4, "staleness": "polynomial"},
        "buffered": {"concurrency": 4, "buffer": 2, "staleness": "polynomial"},
        "periodic": {"concurrency": 4, "every": "60 ms"},
        "tiered": {"tiers": 2, "cohort": 2},
        "safa": {"quota": 3, "limit": "2 s"},
        "timelyfl": {"concurrency": 4, "wait_for": 2, "partial": False},
        "hierarchical": {
            "edges": 2,
            "edge": {"kind": "sync", "cohort": 2},
            "link": {"down": "100 Mbit/s", "up": "50 Mbit/s"},
        },
        "gossip": {},
    }
)
"""Kind → its other keys, for eight clients."""


def refusals(name: str, algorithm: "Algorithm", context: "Context") -> dict[str, str]:
    """The schedules under which an algorithm makes no sense, and why: kind → message."""
    from edgesim.scenario import scheduling
    from edgesim.scenario.schema import Scenario

    found = {}
    for kind, keys in SCHEDULES.items():
        text = {
            "name": "sample",
            "task": {"dataset": "digits", "clients": context.task.clients, "model": "mlp"},
            "training": {"lr": 0.1},
            "fleet": [{"device": "raspberry-pi-4", "share": 1, "link": "wifi-home"}],
            "schedule": {"kind": kind, **keys},
            "algorithm": "fedavg",
            "evaluate": {"every": "1 aggregation"},
            "stop": {"aggregations": 1},
        }
        scenario = Scenario.model_validate_json(json.dumps(text), context={"folder": "."})
        named = scenario.model_copy(update={"algorithm": replace(scenario.algorithm, name=name)})
        try:
            scheduling.own_rule(named, algorithm, context.task)
            scheduling.accept(algorithm, context, named, Path())
        except ScenarioError as error:
            found[kind] = str(error).partition(": ")[2]
    return found
