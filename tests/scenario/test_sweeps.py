"""Sweeps: the cross product of the axes, each combination under a name that says what sets it apart."""

from pathlib import Path

import pytest

from edgesim.algorithms import registry
from edgesim.errors import ScenarioError
from edgesim.scenario.labels import LONGEST, join
from edgesim.scenario.loading import Plan, load
from edgesim.scenario.schema import Scenario

BASE = """\
name: small
task: {dataset: digits, clients: 20, model: mlp}
training: {lr: 0.05}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 10}
algorithm: fedavg
evaluate: {every: 5 min}
stop: {time: 6 h}
"""


PHONES = "{device: phone-mid, share: 1, link: lte, availability: {kind: markov, on: 5 min, off: 1 min}}"
BOARDS = "{device: jetson-nano, share: 1, link: wifi-home}"


def _load(folder: Path, sweep: str, *overrides: str) -> Plan:
    (folder / "s.yaml").write_text(BASE + sweep)
    return load(folder / "s.yaml", overrides)


def _refusal(folder: Path, sweep: str, *overrides: str) -> str:
    with pytest.raises(ScenarioError, match=r".") as refusal:
        _load(folder, sweep, *overrides)
    return str(refusal.value).replace(f"{folder}/", "")


FULL = """\
sweep:
  algorithm: [fedavg, {name: fedspa, density: 0.5}, {name: fedspa, density: 0.2}]
  schedule: [{kind: sync, cohort: 10}, {kind: buffered, concurrency: 10, buffer: 5}]
  training.lr: [0.1]
  seed: [0, 1]
"""


def test_every_combination_is_a_run_under_its_own_name(tmp_path: Path) -> None:
    planned = _load(tmp_path, FULL).scenarios
    assert [one.label for one in planned[:5]] == [
        "fedavg_sync_lr=0.1_seed=0",
        "fedavg_sync_lr=0.1_seed=1",
        "fedavg_buffered_lr=0.1_seed=0",
        "fedavg_buffered_lr=0.1_seed=1",
        "fedspa-density=0.5_sync_lr=0.1_seed=0",
    ]
    assert len({one.label for one in planned}) == len(planned) == 3 * 2 * 1 * 2
    assert {one.variant for one in planned[:2]} == {"fedavg_sync_lr=0.1"}
    last = planned[-1].scenario
    assert (last.algorithm.parameters["density"], last.schedule.kind, last.training.lr, last.seed) == (
        0.2, "buffered", 0.1, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sweep", "labels"),
    [
        ("", ["fedavg"]),
        ("sweep: {seed: [3, 4]}", ["fedavg_seed=3", "fedavg_seed=4"]),
        ("sweep: {seed: [0], algorithm: [fedavg, fedspa]}", ["fedavg_seed=0", "fedspa_seed=0"]),
        ("sweep: {stop.time: [1 h, 90 min]}", ["time=1-h", "time=90-min"]),
        ("sweep: {training: [{lr: 0.1}, {lr: 0.2}]}", ["lr=0.1", "lr=0.2"]),
        ("sweep: {algorithm: [{name: fedspa, density: [1, 0.5]}, fedspa]}", ["fedspa-density=1,0.5", "fedspa"]),
        ("sweep: {costs.sparse_speedup: [ideal, realised]}", ["sparse_speedup=ideal", "sparse_speedup=realised"]),
        (f"sweep: {{fleet: {{homes: [{PHONES}], 'At work': [{BOARDS}]}}, seed: [0]}}",
         ["fleet=homes_seed=0", "fleet=At-work_seed=0"]),
        (f"sweep: {{fleet: [[{PHONES}], [{BOARDS}]], algorithm: [fedavg]}}", ["fleet=1_fedavg", "fleet=2_fedavg"]),
        ("sweep: {schedule: {few: {kind: sync, cohort: 2}, many: {kind: sync, cohort: 9}}}",
         ["schedule=few", "schedule=many"]),
    ],
)  # fmt: skip
def test_names_say_what_varies(tmp_path: Path, sweep: str, labels: list[str]) -> None:
    assert [one.label for one in _load(tmp_path, sweep).scenarios] == labels


def test_named_values_are_those_of_the_runs(tmp_path: Path) -> None:
    homes, works = _load(tmp_path, f"sweep: {{fleet: {{homes: [{PHONES}], works: [{BOARDS}]}}}}").scenarios
    assert [planned.scenario.fleet[0].device for planned in (homes, works)] == ["phone-mid", "jetson-nano"]
    told = _refusal(tmp_path, f"sweep: {{fleet: {{homes: [{PHONES.replace('lte', 'ltee')}], works: [{BOARDS}]}}}}")
    assert told.startswith("s.yaml:9:61: fleet.0.link: unknown link 'ltee'; did you mean lte?")


def test_names_are_safe_and_distinct(tmp_path: Path) -> None:
    """What a directory name cannot hold is replaced; what some file systems take for the same is numbered."""
    algorithm = (
        "from dataclasses import dataclass\nfrom edgesim.algorithms.contract import Algorithm\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mean(Algorithm):\n    a: int = 0\n"
    )
    for name in ("my.py", "MY.py"):
        (tmp_path / name).write_text(algorithm)
    plan = _load(tmp_path, "sweep: {algorithm: ['./my.py:Mean', './MY.py:Mean']}")
    assert [one.label for one in plan.scenarios] == ["Mean", "Mean+2"]


def test_names_keep_the_letters_of_every_script(tmp_path: Path) -> None:
    """Halls are called as people call them; ü is one character, however an editor has written it."""
    halls = "{süd: {lr: 0.1}, nord 2: {lr: 0.2}, su\u0308d-west: {lr: 0.3}, 工場: {lr: 0.4}}"
    labels = [planned.label for planned in _load(tmp_path, f"sweep: {{training: {halls}}}").scenarios]
    assert labels == ["training=süd", "training=nord-2", "training=süd-west", "training=工場"]


@pytest.mark.parametrize("name", ["", "..", "?"])
def test_a_name_that_would_leave_nothing_to_call_a_directory_by_is_refused(tmp_path: Path, name: str) -> None:
    told = _refusal(tmp_path, f"sweep: {{fleet: {{homes: [{PHONES}], '{name}': [{BOARDS}]}}}}")
    assert f"sweep.fleet: the name '{name}' has no letter or digit, by which a directory could be called" in told


@pytest.mark.parametrize("letter", ["x", "ü", "工"])
def test_a_long_name_is_cut_and_stays_distinct(letter: str) -> None:
    one, two = (join([letter * 150, f"seed={seed}"]) for seed in (0, 1))
    assert LONGEST - 4 < len(one.encode()) == len(two.encode()) <= LONGEST
    assert one != two


def test_mistakes_are_told_once_and_where_they_stand(tmp_path: Path) -> None:
    sweep = (
        "sweep:\n"
        "  algorithm: [fedavgg, {name: fedspa, densty: 1}]\n"
        "  schedule: [{kind: sync, cohort: 50}, {kind: sync, cohort: 10}]\n"
        "  trainin.lr: [0.1]\n"
        "  seed: [0, -1]\n"
    )
    known = ", ".join(sorted(registry.names()))
    assert _refusal(tmp_path, sweep).split("\n") == [
        f"s.yaml:10:15: algorithm: unknown algorithm 'fedavgg'; did you mean fedavg? ({known})",
        "s.yaml:11:35: schedule.cohort: 50 of 20 clients; write at most 20, or more task.clients",
        f"s.yaml:12:3: trainin: unknown key; did you mean training? ({', '.join(sorted(Scenario.model_fields))})",
        "s.yaml:13:13: seed: got -1; should be greater than or equal to 0",
        "s.yaml:10:39: algorithm.densty: unknown key; did you mean density? (density, divisor, initial_masks, layers, "
        "masking, prune_rate, regrow, rounds)",
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("sweep: [1]", "s.yaml:9:8: sweep: got a list; write {key: [values]}"),
        ("sweep: {seed: 3}", "s.yaml:9:15: sweep.seed: got 3; write a list of values, e.g. [0, 1]"),
        ("sweep: {seed: []}", "s.yaml:9:15: sweep.seed: got an empty list; write a list of values, e.g. [0, 1]"),
        ("sweep: {seed: [1, 1]}", "s.yaml:9:19: sweep.seed: entry 1 repeats an earlier one; remove it"),
        ("sweep: {algorithm: {name: fedspa}}",
         "s.yaml:9:27: sweep.algorithm: got 'fedspa' under the name 'name'; only lists and mappings can have "
         "names here, write a list of values, e.g. [0, 1]"),
        ("sweep: {stop: {a: {time: 1 h}, b: {time: 1 h}}}",
         "s.yaml:9:35: sweep.stop: entry b repeats an earlier one; remove it"),
        ("sweep: {stop: {}}", "s.yaml:9:15: sweep.stop: got a mapping; write a list of values, e.g. [0, 1]"),
        ("sweep: {name: [a, b]}", "s.yaml:9:9: sweep.name: cannot be swept; write name outside the sweep"),
        ("sweep: {training.lr: [1], training: [{lr: 1}]}",
         "s.yaml:9:27: sweep: training.lr and training vary the same part; keep one of them"),
        (f"sweep: {{seed: {list(range(101))}, task.clients: {list(range(10, 110))}}}",
         "s.yaml:9:8: sweep: 10,100 combinations; at most 10,000 are run"),
        ("sweep: {algorithm.density: [0.5]}",
         "s.yaml:9:29: algorithm is 'fedavg' and has no parts; set algorithm as a whole"),
    ],
)  # fmt: skip
def test_sweeps_that_cannot_be(tmp_path: Path, sweep: str, message: str) -> None:
    assert _refusal(tmp_path, sweep) == message


def test_an_unknown_key_is_told_once_at_the_sweeps_line_with_where_it_belongs(tmp_path: Path) -> None:
    (told,) = _refusal(tmp_path, "sweep: {lr: [0.1, 0.2]}").split("\n")
    assert told.startswith("s.yaml:9:9: lr: unknown key; choose one of algorithm, ")
    assert told.endswith("; lr belongs under training (training.lr)")


def test_what_is_swept_may_be_missing_outside(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(BASE.replace("algorithm: fedavg\n", "") + "sweep: {algorithm: [fedspa]}\n")
    assert load(tmp_path / "t.yaml").scenarios[0].scenario.algorithm.name == "fedspa"


def test_a_sweep_can_be_overridden_but_not_overlooked(tmp_path: Path) -> None:
    assert [one.label for one in _load(tmp_path, FULL, "sweep=null").scenarios] == ["fedavg"]
    schedule = "sweep.schedule=[{kind: sync, cohort: 3}]"
    plan = _load(tmp_path, FULL, "sweep.algorithm=[fedavg]", schedule, "sweep.seed=[7]", "sweep.training.lr=[1, 2]")
    assert [one.label for one in plan.scenarios] == ["fedavg_sync_lr=1_seed=7", "fedavg_sync_lr=2_seed=7"]
    assert _refusal(tmp_path, FULL, "algorithm.density=0.3") == (
        "--set algorithm.density=0.3: algorithm is swept (s.yaml:10:3); "
        "write --set sweep.algorithm=[…], or --set sweep=null for no sweep"
    )
