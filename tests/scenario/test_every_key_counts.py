"""No key is without effect: each that a scenario may have changes what a run does. What is read, checked, written down
and then lost on its way would leave plausible figures of another world."""

import json
import pickle
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import pytest
from pydantic import BaseModel

import edgesim.scenario.schema  # noqa: F401 defines all sections
from edgesim.algorithms import async_rules
from edgesim.algorithms.aggregators import AGGREGATORS, PREPARATIONS
from edgesim.algorithms.contract import is_ours
from edgesim.algorithms.optimizers import OPTIMIZERS
from edgesim.learning.attacks import ATTACKS
from edgesim.learning.compression import CODECS
from edgesim.learning.partition import PARTITIONS
from edgesim.learning.solvers import SOLVERS
from edgesim.scenario.assembly import assemble
from edgesim.scenario.closing import client_table
from edgesim.scenario.loading import load
from edgesim.scenario.parameters import model_of
from edgesim.scenario.section import Section

BASE = """
name: keys
task:
  dataset: {name: synthetic, samples: 160, features: 4, classes: 3}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 8
  model: {name: mlp, hidden: [4]}
training: {lr: 0.1, batch_size: 5}
fleet:
  - {device: raspberry-pi-4, share: 0.5, link: lte}
  - {device: phone-mid, share: 0.5, link: wifi-home}
schedule: {kind: buffered, concurrency: 4, buffer: 2}
algorithm: fedavg
evaluate: {every: 3 aggregations}
stop: {aggregations: 8}
"""
SMALL = """
device: small
family: sbc
processor: {training: 1 MFLOP/s, bandwidth: 1 GB/s, step_overhead: 1 ms, sparse_efficiency: 0.5}
memory: {ram: 900 B, usable: 0.9}
power: {idle: 1 W, training: 2 W}
confidence: low
sources: [made up]
"""
LINE = """
link: line
rate: {down: 1 Mbit/s, up: 1 Mbit/s}
latency: 1 ms
power: {receive: 0.1 W, send: 0.1 W}
confidence: low
sources: [made up]
"""
FAST, SLOW = {"down": "1 Gbit/s", "up": "1 Gbit/s", "latency": "1 ms"}, {
    "down": "100 kbit/s", "up": "100 kbit/s", "latency": "9 ms",
}  # fmt: skip
FILES = {
    "small.yaml": SMALL,
    "other/line.yaml": LINE,
    "users.csv": "device,start_ms,end_ms\na,0,150\na,200,400\nb,50,450\n",
    "others.csv": "device,start_ms,end_ms\na,0,50\nb,100,500\n",
    "rates.csv": "time_ms,factor\n0,1\n50,0.1\n150,\n",
    "speeds.csv": "speed_GFLOP/s\n0.01\n0.03\n",
    "slower.csv": "speed_GFLOP/s\n0.001\n0.003\n",
    "lines.csv": "down_Mbit/s,up_Mbit/s\n1,1\n3,2\n",
    "slowlines.csv": "down_Mbit/s,up_Mbit/s\n0.1,0.1\n0.3,0.2\n",
    "carbon.csv": "start_h,DEU,POL\n0,100,900\n",
}


def graph(*edges: tuple[str, str, dict[str, str]]) -> str:
    nodes = sorted({name for source, target, _ in edges for name in (source, target)})
    return json.dumps({
        "nodes": [{"id": name} for name in nodes],
        "edges": [{"source": source, "target": target} | said for source, target, said in edges],
    })  # fmt: skip


FILES["near.json"] = graph(("server", "hall", FAST), ("hall", "yard", SLOW))
FILES["far.json"] = graph(("server", "hall", SLOW), ("hall", "yard", SLOW))


class Case(NamedTuple):
    """Attributes: world, in which the keys of a section matter, as overrides of BASE; keys → overrides that change
    them."""

    world: tuple[str, ...]
    keys: dict[str, str | tuple[str, ...]]


def sets(prefix: str, **values: str) -> dict[str, str | tuple[str, ...]]:
    return {key: f"{prefix}.{key}={value}" for key, value in values.items()}


def availability(text: str) -> tuple[str, ...]:
    return (f"fleet.0.availability={text}", f"fleet.1.availability={text}")


def both(key: str, value: str) -> tuple[str, ...]:
    return (f"fleet.0.{key}={value}", f"fleet.1.{key}={value}")


COMING = availability("{kind: markov, on: 60 ms, off: 20 ms}")
DAYS = (
    "schedule={kind: periodic, concurrency: 4, every: 1 h, replace: at-tick}", "stop={time: 10 d}",
    "evaluate.every=5 d", "execution.backend=none",
)  # fmt: skip
DIURNAL = availability("{kind: diurnal, peak: 12:00, hours: 8 h, weekend: {peak: 14:00, hours: 10 h}}")
RULES = availability(
    "{kind: rules, signals: {a: {kind: markov, on: 60 ms, off: 40 ms}, b: {kind: markov, on: 50 ms, off: 50 ms}}, "
    "all: [{any: [a, b]}]}"
)
NONE = ("execution.backend=none",)
LONG = ("stop={time: 3 s}", *NONE)
BATTERY = (
    *LONG, "failures={transfer: resume, training: resume}",
    *both("battery", "{capacity: 1 J, start: 60 %, charger: 1.4 W, drain: 1 W, "
                     "charging: {kind: markov, on: 1 s, off: 300 ms}}"),
)  # fmt: skip
TREE = (
    "network={sharing: max-min, topology: {kind: tree, gateways: 2, gateway_down: 300 kbit/s, gateway_up: 200 kbit/s}}",
    *NONE,
)
GRAPH = ("network={sharing: max-min, topology: {kind: file, path: near.json, server: server, gateways: [yard]}}", *NONE)
SHARED = ("network={sharing: max-min, server_down: 300 kbit/s, server_up: 200 kbit/s}", *NONE)
STALE = ("fleet.0.link=ble", "schedule.concurrency=6", "schedule.buffer=1", "stop.aggregations=20")
CHAIN = "schedule={kind: hierarchical, edges: 2, edge: {kind: sync, cohort: 2}, "
EDGES = (CHAIN + "link: {down: 1 Mbit/s, up: 1 Mbit/s}}",)
CASES: dict[str, Case] = {
    # ── when devices are on line ────────────────────────────────────────────────────────────────────────────
    "Bernoulli": Case(
        (*availability("{kind: bernoulli, window: 60 ms, chance: 0.6}"), *NONE),
        {"window": both("availability.window", "90 ms"), "chance": both("availability.chance", "0.9")},
    ),
    "Markov": Case(
        (*COMING, *NONE),
        {
            "on": both("availability.on", "30 ms"), "off": both("availability.off", "60 ms"),
            "variation": both("availability.variation", "1.5"),
        },
    ),
    "Diurnal": Case(
        (*DIURNAL, *DAYS),
        {
            key: both(f"availability.{key}", value)
            for key, value in {
                "peak": "'15:00'", "hours": "3 h", "timezone": "+05:00", "weekend": "{}", "jitter": "3 h",
                "daily": "3 h", "variation": "1", "chance": "0.5",
            }.items()
        },
    ),
    "Weekend": Case(
        (*DIURNAL, *DAYS),
        {"peak": both("availability.weekend.peak", "'17:00'"), "hours": both("availability.weekend.hours", "2 h")},
    ),
    "Trace": Case(
        (*availability("{kind: trace, path: users.csv}"), "stop={time: 2 s}", *NONE),
        {
            "path": both("availability.path", "others.csv"),
            "format": availability("{kind: trace, path: users.pickle, format: fedscale}"),
            "period": both("availability.period", "900 ms"), "loop": both("availability.loop", "false"),
        },
    ),
    "Part": Case(
        (*RULES, *NONE),
        {"all": both("availability.all", "[{all: [a, b]}]"), "none": both("availability.all", "[{none: [a, b]}]"),
         "any": both("availability.all", "[a, {any: [b]}]")},
    ),
    "Rules": Case(
        (*RULES, *NONE),
        {
            "signals": both("availability.signals.a.off", "90 ms"),
            **{
                gate: availability(RULES[0].partition("=")[2].replace("all: [{any: [a, b]}]", f"{gate}: {parts}"))
                for gate, parts in {"all": "[a, b]", "any": "[a, {all: [a, b]}]", "none": "[a, b]"}.items()
            },
        },
    ),
    "Outages": Case(
        (*both("outages", "{every: 60 ms, lasts: 30 ms, name: x}"), "stop={time: 2 s}", *NONE),
        sets("fleet.0.outages", every="90 ms", lasts="60 ms", share="40 %", groups="4", name="y"),
    ),
    # ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────
    "Failures": Case(
        (*COMING, "fleet.0.device=./small.yaml", "stop={time: 1 s}", *NONE),
        sets(
            "failures", transfer="resume", training="restart", crash_every="100 ms", corruption="{share: 30 %}",
            server_outages="[{at: 30 ms, lasts: 50 ms}]", out_of_memory="shrink-batch",
        ),
    ),
    "Retry": Case(
        (*COMING, "failures.transfer={kind: retry, backoff: 20 ms, attempts: 4}", *LONG),
        sets("failures.transfer", backoff="40 ms", factor="5", longest="30 ms", jitter="60 %", attempts="2"),
    ),
    "Restart": Case(
        (*COMING, "training.epochs=5", "failures={transfer: resume, training: {kind: restart}}", *LONG),
        sets("failures.training", attempts="1"),
    ),
    "Corruption": Case(
        ("failures.corruption={share: 30 %, attempts: 3}", "stop={time: 2 s}", *NONE),
        sets("failures.corruption", share="60 %", attempts="2"),
    ),
    "OutageWindow": Case(
        ("failures.server_outages=[{at: 30 ms, lasts: 50 ms}]", *NONE),
        sets("failures.server_outages.0", at="50 ms", lasts="90 ms"),
    ),
    "RegularOutages": Case(
        ("failures.server_outages={every: 150 ms, at: 30 ms, lasts: 40 ms}", "stop={time: 1 s}", *NONE),
        sets("failures.server_outages", every="210 ms", at="60 ms", lasts="80 ms"),
    ),
    # ── devices and links ───────────────────────────────────────────────────────────────────────────────────
    "FleetEntry": Case(
        ("costs.carbon=carbon.csv", "fleet.0.region=DEU", "fleet.1.region=DEU", *NONE),
        sets(
            "fleet.0", name="hall", device="raspberry-pi-5", link="5g",
            availability="{kind: markov, on: 60 ms, off: 20 ms}", outages="{every: 60 ms, lasts: 30 ms}",
            battery="{capacity: 1 J, start: 25 %}", region="POL",
            connection="{round_trips: 2}", variation="{compute: 0.5}", jitter="{compute: 0.5}", dvfs="low",
            background="0.5",
        ) | {"share": ("fleet.0.share=0.25", "fleet.1.share=0.75")},
    ),
    "Variation": Case(NONE, sets("fleet.0.variation", compute="0.5", link="0.5")),
    "Connection": Case(NONE, sets("fleet.0.connection", round_trips="2", window="50 B")),
    "Jitter": Case(NONE, sets("fleet.0.jitter", compute="0.5", link="0.5")),
    "DeviceTrace": Case(
        ("fleet.0.device={kind: trace, path: speeds.csv, base: raspberry-pi-4}", *NONE),
        {
            **sets("fleet.0.device", path="slower.csv", base="raspberry-pi-5"),
            "name": "fleet.0.device={kind: trace, name: flash-phones, base: raspberry-pi-4}",
        },
    ),
    "LinkTrace": Case(
        ("fleet.0.link={kind: trace, path: lines.csv, base: lte}", *NONE),
        {
            **sets("fleet.0.link", path="slowlines.csv", base="wifi-home"),
            "name": "fleet.0.link={kind: trace, name: speedtest-5g, base: lte}",
        },
    ),
    "Battery": Case(
        BATTERY,
        {
            key: both(f"battery.{key}", value)
            for key, value in {
                "capacity": "2 J", "start": "[60 %, 90 %]", "stop_below": "10 %", "resume_above": "70 %",
                "charger": "3 W", "charging": "always", "drain": "0.5 W",
            }.items()
        },
    ),
    # ── network ─────────────────────────────────────────────────────────────────────────────────────────────
    "Network": Case(
        (*SHARED, "fleet.0.link=ble"),
        {
            **sets("network", server_down="100 kbit/s", server_up="90 kbit/s", server_trace="rates.csv",
                   device_trace="rates.csv"),
            "topology": "network.topology={kind: tree, gateways: 2, gateway_down: 90 kbit/s, gateway_up: 90 kbit/s}",
            "sharing": "network={sharing: none}",
        },
    ),
    "Tree": Case(
        TREE,
        sets(
            "network.topology", gateways="4", gateway_down="100 kbit/s", gateway_up="100 kbit/s",
            gateway_latency="20 ms", gateway_loss="30 %", gateway_trace="rates.csv",
            placement="{phone-mid: [gateway-0], raspberry-pi-4: [gateway-1]}",
        ),
    ),
    "network.File": Case(
        GRAPH,
        {
            **sets("network.topology", path="far.json", gateways="[hall]", server="hall"),
            "placement": ("network.topology.gateways=[yard, hall]", "network.topology.placement={phone-mid: [hall]}"),
        },
    ),
    # ── modes ───────────────────────────────────────────────────────────────────────────────────────────────
    "Sync": Case(("schedule={kind: sync, cohort: 3}", *NONE), sets("schedule", cohort="4")),
    "Deadline": Case(
        ("schedule={kind: deadline, cohort: 3, limit: 55 ms, late: kept}", *STALE[:1], "stop.aggregations=20"),
        sets(
            "schedule", cohort="2", over_selection="2.2", limit="90 ms", late="dropped",
            staleness="{kind: polynomial, exponent: 1}", max_staleness="0",
        ),
    ),
    "Async": Case(
        ("schedule={kind: async, concurrency: 6}", STALE[0], "stop.aggregations=20"),
        sets("schedule", concurrency="4", staleness="polynomial", max_staleness="2"),
    ),
    "Buffered": Case(
        STALE, sets("schedule", concurrency="4", buffer="3", staleness="polynomial", max_staleness="2")
    ),
    "Periodic": Case(
        ("schedule={kind: periodic, concurrency: 6, every: 50 ms}", STALE[0], "stop.aggregations=20"),
        sets("schedule", concurrency="4", every="70 ms", replace="at-tick", staleness="polynomial", max_staleness="1"),
    ),
    "Tiered": Case(
        ("schedule={kind: tiered, tiers: 2, cohort: 2}", "stop.aggregations=20", *both("variation", "{compute: 1}"),
         *COMING, "failures={transfer: resume, training: resume}", *NONE),
        sets("schedule", tiers="3", cohort="1", retier="2"),
    ),
    "Safa": Case(
        ("schedule={kind: safa, quota: 2, limit: 70 ms}", STALE[0], "stop.aggregations=20", *NONE),
        sets("schedule", quota="4", lag="1", limit="45 ms"),
    ),
    "TimelyFl": Case(
        ("schedule={kind: timelyfl, concurrency: 5, wait_for: 2}", "fleet.0.background=0.95", "fleet.0.link=wifi-home",
         "training.epochs=2", *COMING, *NONE, "failures={transfer: resume, training: resume}", "stop.aggregations=20"),
        sets("schedule", concurrency="4", wait_for="3", partial="false", max_epochs="1", slack="2.5"),
    ),
    "Hierarchical": Case(
        EDGES,
        sets("schedule", edges="4", edge="{kind: sync, cohort: 1}", cloud="async",
             link="{down: 100 kbit/s, up: 1 Mbit/s}"),
    ),
    "_Concurrent": Case(STALE, sets("schedule", concurrency="4")),
    "_AtEdge": Case(EDGES, sets("schedule.edge", rounds="2")),
    "CloudAsync": Case(
        (CHAIN + "cloud: {kind: async}, link: {down: 1 Mbit/s, up: 1 Mbit/s}}", STALE[0], "stop.aggregations=20"),
        sets("schedule.cloud", staleness="polynomial"),
    ),
    "CloudBuffered": Case(
        ("schedule={kind: hierarchical, edges: 4, edge: {kind: sync, cohort: 1}, cloud: {kind: buffered, buffer: 2}, "
         "link: {down: 1 Mbit/s, up: 1 Mbit/s}}", STALE[0], "stop.aggregations=20"),
        sets("schedule.cloud", buffer="3", staleness="polynomial"),
    ),
    "Backhaul": Case(
        (*EDGES, *NONE), sets("schedule.link", down="100 kbit/s", up="100 kbit/s", latency="30 ms", power="5 W")
    ),
    "Gossip": Case(("schedule={kind: gossip}", *NONE), sets("schedule", graph="complete", mode="async")),
    "Regular": Case(
        ("schedule={kind: gossip, graph: {kind: regular, degree: 3}}", *NONE), sets("schedule.graph", degree="5")
    ),
    "ErdosRenyi": Case(
        ("schedule={kind: gossip, graph: {kind: erdos-renyi, probability: 0.6}}", *NONE),
        sets("schedule.graph", probability="0.9"),
    ),
    "gossip.File": Case(
        ("schedule={kind: gossip, graph: {kind: file, path: star.graphml}}", *NONE),
        sets("schedule.graph", path="path.graphml"),
    ),
    "Polynomial": Case((*STALE, "schedule.staleness={kind: polynomial}"), sets("schedule.staleness", exponent="2")),
    "Hinge": Case(
        (*STALE, "schedule.staleness={kind: hinge, grace: 2}"), sets("schedule.staleness", slope="1", grace="0")
    ),
    "Threshold": Case(
        (*STALE, "schedule.staleness={kind: threshold, cutoff: 2, value: 0.5}"),
        sets("schedule.staleness", cutoff="3", value="0.1"),
    ),
    "Capped": Case(
        (*STALE, "stop.aggregations=60", "schedule.staleness={kind: capped, smoothness: 0.5}"),
        sets("schedule.staleness", smoothness="50"),
    ),
    # ── learning and costs ──────────────────────────────────────────────────────────────────────────────────
    "Task": Case(
        (),
        sets("task", dataset="{name: synthetic, samples: 200, features: 4, classes: 3}", partition="iid", clients="10",
             unseen="25 %", test_share="0.5", model="{name: mlp, hidden: [5]}"),
    ),
    "Training": Case(
        ("training.epochs=2",),
        sets("training", optimizer="adam", lr="0.2", momentum="0.5", weight_decay="0.1", lr_decay="0.9",
             batch_size="4", epochs="1", clip="0.1"),
    ),
    "Server": Case(
        ("schedule={kind: sync, cohort: 5}", "server.aggregator=median"),
        {
            **sets("server", aggregator="mean", before="bucketing", optimizer="{name: adam, lr: 0.1}",
                   worker_momentum="0.5"),
            "rule": "server={rule: fedasync}",
        },
    ),
    "Server that has much to compute": Case(
        ("algorithm={name: pfedla, hidden: 8, embedding: 8}", "schedule={kind: sync, cohort: 5}"),
        sets("server", device="raspberry-pi-4"),
    ),
    "Costs": Case(
        ("algorithm={name: fedspa, density: 0.2, masking: rsm}", "fleet.0.device=./small.yaml", *both("region", "DEU"),
         "costs.carbon=national", *NONE),
        sets("costs", sparse_speedup="ideal", carbon="carbon.csv"),
    ),
    "Evaluate": Case((), sets("evaluate", every="2 aggregations")),
    "Stop": Case(
        ("stop={aggregations: 100}", "evaluate.every=1 aggregation"),
        sets("stop", time="80 ms", updates="7", aggregations="9", accuracy="10 %", energy="1 J", bytes="3 kB"),
    ),
    "Scenario": Case(
        (),
        {
            "seed": "seed=1", "network": SHARED[0], "failures": ("failures.corruption={share: 50 %}"),
            "costs": ("costs.carbon=national", *both("region", "DEU")), "codec": "codec={name: top-k, share: 30 %}",
            "server": "server.aggregator=median", "attackers": "attackers={kind: sign-flip, share: 30 %}",
            "schedule": "schedule={kind: sync, cohort: 3}", "selector": "selector=round-robin",
            "algorithm": "algorithm=scaffold", "task": "task.test_share=0.5", "training": "training.lr=0.2",
            "fleet": "fleet.0.link=5g", "evaluate": "evaluate.every=2 aggregations", "stop": "stop.aggregations=9",
            "profiles": ("profiles=./other", "fleet.0.link=line"),
        },
    ),
}  # fmt: skip
ROUNDS = ("schedule={kind: sync, cohort: 6}", "stop.aggregations=6")
HOSTILE = ("attackers={kind: sign-flip, share: 30 %, scale: 20}",)
LATE = ("fleet.0.link=ble", "schedule={kind: buffered, concurrency: 6, buffer: 2}", "stop.aggregations=20")
# key of a choice → its world; kind → key → another value, of all that have keys
CHOICES: dict[str, tuple[tuple[str, ...], dict[str, dict[str, str]]]] = {
    "server.optimizer": (
        LATE,
        {
            "sgd": {"lr": "0.5", "momentum": "0.5"},
            "adam": {"lr": "0.01", "beta1": "0.5", "beta2": "0.5", "tau": "0.1"},
            "yogi": {"lr": "0.01", "beta1": "0.5", "beta2": "0.5", "tau": "0.1"},
            "adagrad": {"lr": "0.01", "beta1": "0.5", "tau": "0.1"},
            "fadas": {"lr": "0.01", "beta1": "0.5", "beta2": "0.5", "epsilon": "0.1", "delay": "9"},
        },
    ),
    "training.optimizer": (
        ("training.lr=0.01", "training.weight_decay=0.1"),
        {kind: {"beta1": "0.5", "beta2": "0.9", "epsilon": "0.1"} for kind in ("adam", "adamw")},
    ),
    "server.aggregator": (
        (*ROUNDS, *HOSTILE),
        {
            "trimmed-mean": {"byzantine": "0.4"},
            "krum": {"byzantine": "0", "best": "3"},
            "geometric-median": {"steps": "1", "smoothing": "3"},
            "centered-clipping": {"radius": "0.01", "steps": "1"},
        },
    ),
    "server.before": (
        (*ROUNDS, *HOSTILE, "server.aggregator=median"),
        {"bucketing": {"size": "3"}, "nearest-neighbours": {"byzantine": "0.4"}},
    ),
    "server.rule": (
        (*LATE, "schedule={kind: buffered, concurrency: 4, buffer: 3}"),  # fresh and stale ones together
        {
            "fedasync": {"mixing": "0.3"}, "ca2fl": {"lr": "0.5"},
            "port": {"similarity": "0.1", "freshness": "5", "beta": "1"}, "refl": {"beta": "0.9", "scale": "9"},
        },
    ),
    "codec": (ROUNDS, {"top-k": {"share": "30 %", "feedback": "false"}, "qsgd": {"s": "4"}}),
    "attackers": (
        ROUNDS,
        {
            **{kind: {"share": "40 %"} for kind in ("alie", "mimic", "label-flip", "free-rider")},
            "sign-flip": {"share": "40 %", "scale": "3"}, "scaled": {"share": "40 %", "scale": "3"},
            "gaussian": {"share": "40 %", "std": "3"}, "ipm": {"share": "40 %", "epsilon": "0.9"},
        },
    ),
    "task.partition": (
        ROUNDS,
        {
            "dirichlet": {"alpha": "3", "balanced": "true"}, "classes": {"per_client": "3", "dominance": "0.5"},
            "quantity": {"alpha": "3"},
        },
    ),
}  # fmt: skip
NEEDED = {"dirichlet": ", alpha: 0.5", "classes": ", per_client: 2", "quantity": ", alpha: 0.5"}
REGISTRIES: dict[str, Mapping[str, Any]] = {
    "training.optimizer": SOLVERS, "server.optimizer": OPTIMIZERS, "server.aggregator": AGGREGATORS,
    "server.before": PREPARATIONS, "server.rule": async_rules.RULES, "codec": CODECS,
    "attackers": ATTACKS, "task.partition": PARTITIONS,
}  # fmt: skip
WITHOUT = {
    "Scenario": {"name", "execution"},  # how it is called, and how it is carried out
    "Task": {"data_dir"},  # where the same data lie
    "Evaluate": {"target"},  # what the summary tells
    "natural": {"at_least"},  # of data that have owners
}
"""Keys that are meant to change nothing that this test looks at."""


def sections(of: type[BaseModel] = Section) -> Iterator[type[BaseModel]]:
    for one in of.__subclasses__():
        if is_ours(one):  # and not some other test's
            yield one
            yield from sections(one)


def name_of(section: type[BaseModel]) -> str:
    return f"{section.__module__.split('.')[-1]}.File" if section.__name__ == "File" else section.__name__


def test_every_key_of_every_section_is_here() -> None:
    """So whoever adds a key says what it changes."""
    known: dict[str, set[str]] = {}
    for name, case in CASES.items():
        known.setdefault(name.split()[0], set()).update(case.keys)
    for section in set(sections()):
        own = set(vars(section).get("__annotations__", {})) & set(section.model_fields) - {"kind"}
        name = {"_Fitted": "DeviceTrace"}.get(name_of(section), name_of(section))
        if section.__name__ != "Execution" and own:
            assert own - WITHOUT.get(name, set()) <= known[name], name


@pytest.mark.parametrize("key", REGISTRIES)
def test_every_parameter_of_every_choice_is_here(key: str) -> None:
    skip = 3 if key == "task.partition" else 0
    for kind, target in REGISTRIES[key].items():
        own = set(model_of(target, skip).model_fields) - WITHOUT.get(kind, set())
        assert own == set(CHOICES[key][1].get(kind, {})), kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    (made / "other").mkdir()
    for name, text in (FILES | {"keys.yaml": BASE}).items():
        (made / name).write_text(text)
    users = {0: {"active": [0, 0.3], "inactive": [0.2, 0.6], "finish_time": 0.7}}
    (made / "users.pickle").write_bytes(pickle.dumps(users))
    for name, drawn in (("star", nx.star_graph(7)), ("path", nx.path_graph(8))):
        nx.write_graphml(drawn, made / f"{name}.graphml")
    return made


@cache
def seen(folder: Path, world: tuple[str, ...]) -> str:
    """All that is recorded of a run, of its clients and of its server."""
    (planned,) = load(folder / "keys.yaml", world).scenarios
    run = assemble(planned.scenario, folder, folder / "out")
    run.begin()
    run.run()
    run.finish()
    clients: dict[str, Any] = {name: list(column) for name, column in client_table(run).items()}
    return repr((run.recorder.state(), clients, run.server.work.summary(run.now_ns)))


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, case in CASES.items() for key in case.keys])
def test_a_key_changes_what_a_run_does(folder: Path, name: str, key: str) -> None:
    world, change = CASES[name].world, CASES[name].keys[key]
    changed = seen(folder, (*world, *((change,) if isinstance(change, str) else change)))
    assert changed != seen(folder, world)
    assert len(changed) > 1000


@pytest.mark.parametrize(
    ("key", "kind", "parameter"),
    [(key, kind, name) for key, (_, kinds) in CHOICES.items() for kind, names in kinds.items() for name in names],
)
def test_a_parameter_changes_what_a_run_does(folder: Path, key: str, kind: str, parameter: str) -> None:
    world, kinds = CHOICES[key]
    word = "kind" if key in ("attackers", "task.partition") else "name"
    chosen = (*world, f"{key}={{{word}: {kind}{NEEDED.get(kind, '')}}}")
    assert seen(folder, (*chosen, f"{key}.{parameter}={kinds[kind][parameter]}")) != seen(folder, chosen)
