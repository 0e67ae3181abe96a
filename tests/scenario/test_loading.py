"""Loading: all mistakes of a file at once, in its author's words; one hash for what is the same."""
# ruff: noqa: E501 (messages are asserted whole, each on its line)

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from edgesim.algorithms import registry
from edgesim.devices.profiles import devices, links
from edgesim.errors import ScenarioError
from edgesim.learning.data import DATASETS
from edgesim.scenario import running
from edgesim.scenario.loading import load, resolved, restore, scenario_hash

ALGORITHMS = ", ".join(sorted(registry.names()))
SCHEDULES = "async, buffered, deadline, gossip, hierarchical, periodic, safa, sync, tiered, timelyfl"
GOOD = """\
name: small
task:
  dataset: digits
  partition: {kind: dirichlet, alpha: 0.3}
  clients: 20
  model: mlp
training: {lr: 0.05}
fleet:
  - {device: raspberry-pi-4, share: 60 %, link: wifi-home}
  - {device: jetson-nano, share: 0.4, link: lte, availability: {kind: markov, on: 30 min, off: 10 min}}
schedule: {kind: buffered, concurrency: 10, buffer: 5, staleness: polynomial}
algorithm: {name: fedspa, density: [0.5, 1]}
evaluate: {every: 5 min}
stop: {time: 6 h}
"""

PLANTED = """\
name: Quick Start
sed: 3
task:
  data_dir: nowhere
  dataset: digitz
  partition: {kind: dirichlet, alpa: 0.3}
  clients: 20
  test_share: 130 %
  model: ./mine.py:net
training: {optimizer: sgdd, lr: -1, batch_size: 2.5, epochs: "3"}
fleet:
  - {device: rasberry-pi-4, share: 0.6, link: wifi-home}
  - {device: jetson-nano, share: 0.4, link: ltee, availability: {kind: markow, on: 30 min}}
  - {device: ./broken.yaml, share: 0.1, link: lte, availability: {kind: markov, on: 30, off: 2 W}}
failures: {transfer: retrie}
schedule: {kind: buffered, concurrency: 10, buffer: 50, staleness: {kind: hing}}
selector: {kind: best}
algorithm: {name: fedspa, density: 1.5, masking: 3}
evaluate: {every: 10 rounds, target: 0}
stop: {}
execution: {checkpoint_every: 1 Mb/s}
"""

BROKEN = """\
device: mine
familly: sbc
memory: {ram: 4 Gb, usable: 0.6}
family: sbc
processor: {training: 9 GFLOP/s, bandwidth: 12.8 GB/s, step_overhead: 2 ms, sparse_efficiency: 0.45}
power: {idle: 3.1 W, training: 6.6 W}
confidence: high
sources: [mine]
"""

TOLD = """\
1:7: name: got 'Quick Start'; write lower-case letters, digits, - and _, a letter or digit first
2:1: sed: unknown key; did you mean seed? (algorithm, attackers, codec, costs, evaluate, execution, failures, fleet, name, network, profiles, \
schedule, seed, selector, server, stop, task, training)
4:13: task.data_dir: there is no folder {folder}/nowhere; a path counts from the scenario's folder
5:12: task.dataset: unknown data set 'digitz'; did you mean digits? ({datasets})
6:14: task.partition.alpha: missing (concentration: small is very uneven, large is nearly iid)
6:32: task.partition.alpa: unknown key; did you mean alpha? (alpha, balanced)
8:15: task.test_share: '130 %' is above 1; a share is between 0 and 1, e.g. 30 %
9:10: task.model: './mine.py:net': cannot read {folder}/mine.py: No such file or directory
10:23: training.optimizer: unknown optimizer 'sgdd'; did you mean sgd? (adam, adamw, sgd)
10:33: training.lr: got -1; should be greater than 0
10:49: training.batch_size: got 2.5; should be a valid integer
10:62: training.epochs: got '3'; drop the quotes: 3
12:14: fleet.0.device: unknown device 'rasberry-pi-4'; did you mean raspberry-pi-4? ({devices}); or give the path of your \
own device profile (.yaml)
13:45: fleet.1.link: unknown link 'ltee'; did you mean lte? ({links}); or give the path of your own link profile \
(.yaml)
13:65: fleet.1.availability: unknown kind 'markow'; did you mean markov? (always, bernoulli, diurnal, markov, \
rules, trace)
14:14: fleet.2.device: './broken.yaml' has mistakes:
{folder}/broken.yaml:2:1: familly: unknown key; did you mean family? (confidence, device, family, memory, power, \
processor, sources, year)
{folder}/broken.yaml:3:15: memory.ram: '4 Gb': unknown unit 'Gb'; did you mean GB? (B, kB, MB, GB, TB, KiB, MiB, GiB)
14:85: fleet.2.availability.on: missing unit in 30; write e.g. 5 min (ns, us, ms, s, min, h, d)
14:94: fleet.2.availability.off: '2 W' is a power; a time is wanted, e.g. 5 min
15:22: failures.transfer: unknown kind 'retrie'; did you mean retry? (abort, resume, retry)
16:68: schedule.staleness: unknown kind 'hing'; did you mean hinge? (capped, constant, delay-adaptive, hinge, polynomial, threshold)
17:18: selector.kind: unknown selector 'best'; choose one of data-size, energy-aware, fastest-available, oort, \
power-of-choice, refl, round-robin, uniform
18:36: algorithm.density: got 1.5; should be less than or equal to 1
18:50: algorithm.masking: got 3; choose one of dst, rsm
19:19: evaluate.every: '10 rounds': unknown unit 'rounds'; write one of ns, us, ms, s, min, h, d, or 10 aggregations
19:38: evaluate.target: got 0; should be greater than 0
20:7: stop: the run would never end; write at least one of time, updates, aggregations, accuracy, energy, bytes
21:31: execution.checkpoint_every: '1 Mb/s': unknown unit 'Mb/s'; write one of ns, us, ms, s, min, h, d
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def _write(path: Path, data: dict[str, object]) -> None:
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(data, file)


def _refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ScenarioError, match=r".") as refusal:
        load(path, overrides)
    return str(refusal.value).replace(f"{path}:", "")


def test_a_page_of_mistakes_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    named = {"devices": list(devices()), "links": list(links()), "datasets": [*DATASETS, "quadratic"]}
    known = {what: ", ".join(sorted(names)) for what, names in named.items()}
    told = _refusal(_file(tmp_path, PLANTED)).split("\n")
    assert told == TOLD.format(folder=tmp_path, **known).splitlines()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schedule.buffer", "11", "schedule.buffer: a buffer of 11 with 10 clients at work; write at most 10, or more concurrency"),
        ("schedule.concurrency", "21", "schedule.concurrency: 21 of 20 clients; write at most 20, or more task.clients"),
        ("fleet.1.share", "0.5", "fleet: the shares add to 1.1; they must add to 1"),
        ("fleet", "[]", "fleet: there are no devices; write at least one entry, e.g. {device: …, share: 1, link: …}"),
        ("stop.accuracy", "1.5", "stop.accuracy: 1.5 is above 1; a share is between 0 and 1, e.g. 30 %"),
        ("stop.updates", "0", "stop.updates: got 0; should be greater than 0"),
        ("training.lr", ".inf", "training.lr: got inf; should be a finite number"),
        ("training", "{optimizer: adam, lr: 0.1, momentum: 0.9}", "training.momentum: adam has a momentum of its own, beta1; leave this out, and write optimizer: {name: adam, beta1: …}"),
        ("training.lr", "true", "training.lr: got true; should be a valid number"),
        ("evaluate.every", "0 aggregations", "evaluate.every: got '0 aggregations'; write more than nothing, e.g. 5 min or 10 aggregations"),
        ("evaluate.every", "1 ns", "evaluate.every: got '1 ns'; write 1 us or more, e.g. 5 min"),
        ("evaluate.every", "1 us", "evaluate.every: 2.2e+10 evaluations until stop.time, 6 h; write fewer than 10,000,000, e.g. 10 ms"),
        ("algorithm", "{density: 0.5}", f"algorithm: missing name; choose one of {ALGORITHMS}"),
        ("algorithm", "[fedavg]", "algorithm: got a list; write a name, or {name: …} with its parameters"),
        ("algorithm", "json:loads", "algorithm: 'json:loads' is no algorithm; write a dataclass that extends edgesim.algorithms.contract.Algorithm"),
        ("task.dataset", "{name: synthetic, sampels: 3}", "task.dataset.sampels: unknown key; did you mean samples? (classes, features, noise, samples, separation, shape)"),
        ("task.model", "{name: mlp, hidden: [0]}", "task.model.hidden.0: got 0; should be greater than 0"),
        ("task.model", "json:__name__", "task.model: 'json:__name__' is not a function; name one that returns a torch module"),
        ("schedule", "sync", "schedule.cohort: missing (clients in a round)"),
        ("schedule", "{name: sync}", f"schedule: missing kind; write {{kind: …}}; did you mean sync? ({SCHEDULES})"),
        ("schedule.quota", "3", "schedule.quota: unknown key; choose one of buffer, concurrency, kind, max_staleness, staleness; quota belongs to kind: safa"),
        ("schedule", "{kind: sync, cohort: 3, max_staleness: 3}", "schedule.max_staleness: unknown key; choose one of cohort, kind; max_staleness belongs to kind: deadline or async or buffered or periodic"),
        ("algorithm", "{name: fedavg, lr: 1}", "algorithm.lr: unknown key; choose one of weighting; lr belongs under training (training.lr)"),
        ("training.buffer", "1", "training.buffer: unknown key; choose one of batch_size, clip, epochs, lr, lr_decay, momentum, optimizer, weight_decay; buffer belongs under schedule (schedule.buffer)"),
        ("name", "2024", 'name: got 2024; quote it: "2024"'),
        ("task.model", "{name: mlp, hidden: 8}", "task.model.hidden: got 8; write a list: [8]"),
        ("fleet", "{device: x}", "fleet: got a mapping; write a list, a '- ' before the first key of each entry"),
        ("algorithm.density", "50%", "algorithm.density: got '50%'; write 0.5"),
        ("algorithm.density", "true", "algorithm.density: got true; should be a valid number; or got true; should be a valid list"),
        ("fleet.0.availability", "{kind: diurnal, peak: 02:00, hours: 30 h}", "fleet.0.availability.hours: got 1.25 d; should be less than or equal to 23 h"),
        ("fleet.0.availability", "{kind: markov, on: 0 s, off: 1 s}", "fleet.0.availability.on: got 0 s; should be greater than or equal to 1 ms"),
        ("fleet.0.availability", "{kind: diurnal, peak: 02:00, hours: 6 h, timezone: []}", "fleet.0.availability.timezone: got an empty list; write at least one entry"),
        ("fleet.0.battery", "{capacity: 1 Wh, start: []}", "fleet.0.battery.start: got an empty list; write at least one entry"),
        ("fleet.0", "{device: raspberry-pi-4, share: 1}", "fleet.0.link: missing (name in the catalogue (`edgesim devices`) or in `profiles`, or your own file (.yaml, relative to this one); or figures drawn from a trace, {kind: trace, name: …} or {kind: trace, path: …, base: …})"),
        ("stop.rounds", "1", "stop.rounds: unknown key; did you mean aggregations? (accuracy, aggregations, bytes, energy, time, updates)"),
        ("training.learning_rate", "1", "training.learning_rate: unknown key; did you mean lr? (batch_size, clip, epochs, lr, lr_decay, momentum, optimizer, weight_decay)"),
        ("fleet.0.battery", "{capacity: 1 Wh, charging: {kind: markov, on: 1 h, off: 1 h}}", "fleet.0.battery.charging: counts only with a charger; write its power, too, e.g. charger: 10 W"),
        ("network", "{sharing: max-min, topology: {kind: tree, gateways: 2, gateway_down: 1 Mbit/s, gateway_up: 1 Mbit/s, placement: {jetson-nan: [gateway-0]}}}", "network.topology.placement.jetson-nan: the fleet has no such entry or device; did you mean jetson-nano? (jetson-nano, raspberry-pi-4)"),
        ("server", "{rule: ca2fl, optimizer: {name: sgd, lr: 0.5}}", "server.optimizer: rule ca2fl merges updates its own way; leave this out, or rule: average"),
        ("stop.seed", "1", "stop.seed: unknown key; choose one of accuracy, aggregations, bytes, energy, time, updates; seed belongs at the top"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(tmp_path: Path, key: str, value: str, message: str) -> None:
    override = f"{key}={value}"
    told = _refusal(_file(tmp_path, GOOD), override).split("\n")
    place = told[0].removesuffix(message)
    assert told[0].endswith(message)
    assert place in (f"--set {override}: ", "9:3: ")  # the shares are a mistake of the whole fleet


def test_cross_checks_do_not_wait_for_the_rest(tmp_path: Path) -> None:
    """A cohort too large is told although the file has another mistake."""
    path = _file(tmp_path, GOOD.replace("lr: 0.05", "lr: 0").replace("concurrency: 10", "concurrency: 30"))
    assert _refusal(path).split("\n") == [
        "7:16: training.lr: got 0; should be greater than 0",
        "11:41: schedule.concurrency: 30 of 20 clients; write at most 20, or more task.clients",
    ]


def test_every_entry_without_a_region_is_told(tmp_path: Path) -> None:
    told = _refusal(
        _file(tmp_path, GOOD.replace("wifi-home}", "wifi-home, region: XX}") + "costs: {carbon: national}\n")
    )
    assert [line.partition("; ")[0] for line in told.split("\n")] == [
        "9:68: fleet.0.region: unknown 'XX'",
        "10:5: fleet.1: region is missing, since costs.carbon is given",
    ]


def test_what_is_resolved_has_every_default_and_loads_again(tmp_path: Path) -> None:
    (planned,) = load(_file(tmp_path, GOOD)).scenarios
    again = resolved(planned.scenario)
    assert again["training"]["momentum"] == 0.0
    assert again["fleet"][1]["availability"] == {"kind": "markov", "on": "30 min", "off": "10 min", "variation": 0.0}
    assert again["algorithm"]["prune_rate"] == 0.5
    assert again["task"]["model"] == {"name": "mlp", "hidden": [64]}
    _write(tmp_path / "scenario.yaml", again)
    assert load(tmp_path / "scenario.yaml").scenarios[0] == planned


def test_a_run_is_restored_from_its_own_directory(tmp_path: Path) -> None:
    """Its relative paths still count from the folder of the file that it came from."""
    (tmp_path / "mine.py").write_text("def net(input_shape, classes): ...\n")
    (planned,) = load(_file(tmp_path, GOOD.replace("mlp", "./mine.py:net"))).scenarios
    run = tmp_path / "results" / "scenario.yaml"
    run.parent.mkdir()
    _write(run, {"hash": scenario_hash(planned.scenario), "scenario": resolved(planned.scenario)})
    assert restore(run, tmp_path) == planned.scenario
    with pytest.raises(ScenarioError, match=r"scenario.yaml:\d+:12: task.model: './mine.py:net': cannot read"):
        restore(run, run.parent)
    _write(run, {"hash": "0", "label": "fedavg", "scenario": resolved(planned.scenario)})
    assert _refusal(run).startswith(f" the record of a run; `edgesim resume {run.parent}` goes on with it")
    with pytest.raises(ScenarioError, match=r"has no scenario in it; name the scenario.yaml of a run's directory"):
        restore(tmp_path / "scenario.yaml", tmp_path)


def test_parameters_arrive_as_python_values(tmp_path: Path) -> None:
    scenario = load(_file(tmp_path, GOOD)).scenarios[0].scenario
    assert scenario.task.model.parameters == {"hidden": (64,)}
    assert scenario.algorithm.parameters["density"] == (0.5, 1.0)
    assert scenario.fleet[0].share == 0.6
    assert scenario.evaluate.every.time_s == 300.0


@pytest.mark.parametrize(
    "same",
    [
        GOOD + "# a comment\n",
        GOOD.replace("{kind: dirichlet, alpha: 0.3}", "{alpha: 0.30, kind: dirichlet}"),
        GOOD.replace("5 min", "300 s"),
        GOOD.replace("lr: 0.05", "lr: 0.05, epochs: 1"),  # a default, written out
        GOOD.replace("name: small", "name: other"),
        GOOD + "execution: {backend: loop}\n",
    ],
)
def test_the_hash_stays_where_the_simulation_does(tmp_path: Path, same: str) -> None:
    one = load(_file(tmp_path, GOOD)).scenarios[0].scenario
    assert scenario_hash(one) == scenario_hash(load(_file(tmp_path, same)).scenarios[0].scenario)


@pytest.mark.parametrize("override", ["seed=1", "training.lr=0.06", "algorithm=fedavg", "fleet.0.link=lte"])
def test_the_hash_changes_with_what_is_simulated(tmp_path: Path, override: str) -> None:
    path = _file(tmp_path, GOOD)
    one, two = (load(path, given).scenarios[0].scenario for given in ([], [override]))
    assert len(scenario_hash(one)) == 16
    assert scenario_hash(one) != scenario_hash(two)


def test_ones_own_model_and_data_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def net(input_shape, classes, width: int = 8): ...\n")
    (tmp_path / "data.npz").write_bytes(b"")
    mine = GOOD.replace("model: mlp", "model: {name: './mine.py:net', width: 9}").replace("digits", "./data.npz")
    scenario = load(_file(tmp_path, mine)).scenarios[0].scenario
    assert (scenario.task.model.name, scenario.task.model.parameters) == ("./mine.py:net", {"width": 9})
    told = _refusal(_file(tmp_path, mine.replace("width: 9", "widht: 9")))
    assert told == "6:34: task.model.widht: unknown key; did you mean width? (width)"


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD)
    scenario = load(path, ["stop.time=2 h", "training={lr: 0.1, epochs: 3}", "task.data_dir=."]).scenarios[0].scenario
    assert (scenario.stop.time, scenario.training.epochs, scenario.task.data_dir) == (7200.0, 3, ".")
    assert _refusal(path, "training.lr") == "--set training.lr: write key=value, e.g. --set training.lr=0.1"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("digits", "mnist", "3:12: task.dataset: data set mnist: no data folder is known"),
        ("mlp", "lenet", "6:10: task.model: model lenet wants images [channel, height, width]"),
        ("clients: 20", "clients: 2000", "4:14: task.partition (dirichlet): client 898 gets 1 samples and needs 2"),
        ("fedavg", "{name: fedspa, density: 0.5}", "12:12: algorithm.rounds: fedspa anneals its prune rate"),
        ("fedavg", "fedavg\nsweep: {algorithm: [fedavg, fedspa], seed: [0, 1]}", "13:29: algorithm.rounds: fedspa anneals"),
        ("fedavg", "fedavg\nexecution: {device: 'cuda:99'}", "13:21: execution.device: got cuda:99"),
    ],
)  # fmt: skip
def test_what_data_and_models_refuse_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, instead: str, message: str
) -> None:
    monkeypatch.delenv("EDGESIM_DATA", raising=False)
    fine = GOOD.replace("{name: fedspa, density: [0.5, 1]}", "fedavg")
    path = _file(tmp_path, fine.replace(written, instead))
    with pytest.raises(ScenarioError, match="^" + re.escape(f"{path}:{message}")):
        running.check(load(path))


def test_mistakes_in_a_data_file_have_the_place_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"")
    path = _file(tmp_path, GOOD.replace("digits", "./data.npz").replace("density: [0.5, 1]", "rounds: 9"))
    with pytest.raises(
        ScenarioError, match="^" + re.escape(f"{path}:3:12: task.dataset: {tmp_path}/data.npz: cannot be read")
    ):
        running.check(load(path))


def test_the_schema_is_light() -> None:
    """`edgesim --help` must not wait for torch."""
    code = "import sys, edgesim.scenario.loading; sys.exit('torch' in sys.modules or 'simpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
