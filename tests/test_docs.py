"""The documentation tells the truth: generated pages are current, examples run, links lead somewhere."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from typer.testing import CliRunner

from edgesim import cli, reference, units
from edgesim import run as simulate
from edgesim.algorithms import registry
from edgesim.algorithms.contract import Algorithm
from edgesim.devices import cost
from edgesim.devices.profiles import find_device, find_link
from edgesim.devices.workload import Workload
from edgesim.learning.training import Learner
from edgesim.learning.tree import State
from edgesim.results.columns import AGGREGATIONS, AVAILABILITY, CLIENTS, EVENTS, METRICS
from edgesim.results.store import Results
from edgesim.scenario.editor import json_schema
from edgesim.scenario.loading import load
from edgesim.scenario.schema import Scenario

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
STALE = "is not what the schema says now; run `make docs`"
SHORT = ("--workers", "1", "--set", "stop.time=1 s")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {reference.anchor(title) for title in found}


def edgesim(*arguments: str) -> str:
    """Run a command in this process; its output."""
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


# ── generated pages ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_schema_for_editors_is_current() -> None:
    written = json.loads((DOCS / "scenario.schema.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(json_schema())), f"docs/scenario.schema.json {STALE}"


def test_the_scenario_reference_is_current() -> None:
    written = (DOCS / "scenario.md").read_text(encoding="utf-8")
    assert written == reference.markdown(json_schema()), f"docs/scenario.md {STALE}"


def test_the_reference_has_every_key_with_value_and_meaning() -> None:
    """Every key of every section has a row; none of its cells is empty."""
    page = reference.markdown(json_schema())
    keys = {key for part in json_schema()["$defs"].values() for key in part["properties"]} - {"kind"}
    assert {f"| `{key}` |" for key in keys} <= set(re.findall(r"^\| `\w+` \|", page, re.MULTILINE))
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row for row in rows if len(row) != 4 or not all(cell.strip() for cell in row)] == []


def test_the_reference_has_the_units_of_every_kind_of_quantity() -> None:
    """Of the kinds that its own cells name, too: rate (`20 Mbit/s`), power (`3.7 W`)."""
    page = reference.markdown(json_schema())
    for kind, table in units.TABLE.items():
        assert f"| {kind}, e.g. `{units.EXAMPLES[kind]}` | {', '.join(f'`{unit}`' for unit in table if unit)} |" in page


# ── pages and what they point at ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not fragment or fragment in headings(target), f"{page.name}: no such heading: {link}"


def scenario_files() -> Iterator[Path]:
    for path in (*ROOT.glob("scenarios/*.yaml"), *DOCS.glob("examples/*.yaml")):
        if re.search(r"^schedule:", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield path


@pytest.mark.parametrize("path", list(scenario_files()), ids=lambda path: path.name)
def test_scenarios_tell_editors_where_the_schema_is(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    hint = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert hint, first
    assert (path.parent / hint[1]).resolve() == DOCS / "scenario.schema.json"


def test_every_column_is_explained_in_its_order() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    tables = (
        ("metrics", METRICS), ("events", EVENTS), ("aggregations", AGGREGATIONS), ("clients", CLIENTS),
        ("availability", AVAILABILITY),
    )  # fmt: skip
    for name, schema in tables:
        section = page.split(f"\n## {name}.parquet\n")[1].split("\n## ")[0]
        cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        assert re.findall(r"`(\w+)`", " ".join(cells)) == schema.names, name


def test_every_algorithm_is_in_the_table_that_helps_to_choose() -> None:
    table = (DOCS / "algorithms.md").read_text(encoding="utf-8").split("\n## Which one\n")[1].partition("\n\nRun ")[0]
    assert registry.names().keys() <= set(re.findall(r"`([\w-]+)`", table))


def test_every_hook_is_explained() -> None:
    page = (DOCS / "algorithms.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)\((.*?)\)` \|", page.split("\nThree rules")[0], re.MULTILINE)
    hooks = {name: hook for name, hook in vars(Algorithm).items() if callable(hook) and not name.startswith("_")}
    taken = {name: ", ".join(hook.__code__.co_varnames[1 : hook.__code__.co_argcount]) for name, hook in hooks.items()}
    assert dict(told) == taken


def test_what_is_said_of_the_learner_is_there() -> None:
    """Every method with arguments that it takes; those with a default by keyword."""
    page = (DOCS / "algorithms.md").read_text(encoding="utf-8").split("\n| of `learner` |")[1].split("\n\n")[0]
    told = dict(re.findall(r"`(\w+)(?:\((.*?)\))?`(?=.*\|.*\|$)", page, re.MULTILINE))
    assert {"gradient", "outputs", "descend", "run", "sgd", "uniforms", "device", "run_steps"} <= told.keys()
    for name, given in told.items():
        assert name in {*vars(Learner), *Learner.__dataclass_fields__}
        if given:
            names = [part.partition("=")[0] for part in given.split(", ")]
            assert set(names) <= set(signature(getattr(Learner, name)).parameters), name


def test_hooks_of_the_device_have_the_state_where_others_have_the_client() -> None:
    page = (DOCS / "algorithms.md").read_text(encoding="utf-8")
    sides = dict(re.findall(r"^\| `(\w+)\(.*?client.*?\)` \| (\w+) \|", page, re.MULTILINE))
    kinds = {name: vars(Algorithm)[name].__annotations__.get("client") for name in sides}
    assert {name for name, kind in kinds.items() if kind == State} == {
        n for n, side in sides.items() if side == "device"
    }


def test_the_example_of_the_cost_model_is_what_the_simulator_computes() -> None:
    """One job by cost.py, from the two profiles and the workload that the page counts by hand."""
    page = (DOCS / "cost-model.md").read_text(encoding="utf-8")
    board, link = find_device("raspberry-pi-4", ROOT), find_link("wifi-home", ROOT)
    work = Workload(
        layer_flops=np.array([68.0 * 20_224]), layer_density=np.ones(1), other_flops=0.0,
        traffic_bytes=4 * 4810 * 6 * 7 + 16 * 202 * 68, steps=7, memory_bytes=54_640,
    )  # fmt: skip
    down = cost.transfer_ns(19_245, link.down_bps, link.latency_s)
    up = cost.transfer_ns(19_245, link.up_bps, link.latency_s)
    train = cost.compute_ns(
        work, compute_flops=board.compute_flops, bandwidth=board.bandwidth_bytes_per_s,
        step_overhead_s=board.step_overhead_s, sparse_efficiency=board.sparse_efficiency, sparse_speedup="realised",
    )  # fmt: skip
    joules = (
        cost.energy_j(board.idle_w + link.receive_w, down) + link.tail_j,
        cost.energy_j(board.training_w, train),
        # the upload begins within the tail of the download, so it adds only as much of it as the training lasted
        cost.energy_j(board.idle_w + link.send_w, up) + cost.energy_j(link.tail_w, train),
    )
    told = re.findall(r"\| ([\d.]+) ms \| .*?([\d.]+) mJ \|$", page, re.MULTILINE)
    assert told == [(f"{ns / 1e6:.6f}", f"{1e3 * j:.1f}") for ns, j in zip((down, train, up), joules, strict=True)]


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example files in a folder of the test's own, where it stands."""
    folder = tmp_path / "desk"
    shutil.copytree(DOCS / "examples", folder)
    monkeypatch.chdir(folder)
    return folder


def test_the_first_scenario_and_its_commands_work(desk: Path) -> None:
    """The README's scenario, every command line beside it, and the blocks that read what they left."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scenario, readers = blocks(ROOT / "README.md", "yaml")[0], blocks(ROOT / "README.md", "python")[:2]
    (desk / "my-first.yaml").write_text(scenario, encoding="utf-8")
    assert load("my-first.yaml").name == "my-first"
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    edgesim (.*)$", text, re.MULTILINE)]
    assert [command[0] for command in commands] == ["validate", "run", "plot", "plot"]
    for command in commands:
        edgesim(*command, *(SHORT if command[0] == "run" else ()))
    assert "all runs are finished" in CliRunner().invoke(cli.app, ["resume", "results/my-first"]).output
    for code in readers:
        program = compile(code, "README.md", "exec")
        if find_spec("pandas") and find_spec("duckdb"):
            exec(program, {})
    named = re.findall(r'"(results/my-first/[^"*]+)"', "".join(readers))
    assert [(desk / name).is_dir() for name in named] == [True]
    wanted = set(re.findall(r"\b[a-z]+_[a-z]+\b", "".join(readers))) - {
        "read_parquet",
        "fedspa_seed",
    }  # the rest are columns
    assert wanted <= {*METRICS.names, *EVENTS.names}


def test_an_algorithm_is_one_short_file(desk: Path) -> None:
    code = (desk / "my_algorithm.py").read_text(encoding="utf-8")
    assert code in blocks(ROOT / "README.md", "python")
    assert len(code.splitlines()) <= 25
    [program] = blocks(DOCS / "results.md", "python")
    exec(program.replace("aggregations=5", "aggregations=2"), {})
    runs = {run.label: run.metrics() for run in Results.read(Path("results/short")).runs}
    assert sorted(runs) == ["FedNova", "FedProx", "Moon", "fedavg"]
    more = runs["FedNova"]["bytes_up"] - runs["fedavg"]["bytes_up"]
    assert (more == 5 * runs["fedavg"]["updates"]).all()  # a number of steps, and the byte that says its form
    # mlp on digits: two more forward passes, of 9472 FLOPs a sample each, besides 20,224 of training
    assert runs["Moon"]["flops"][-1] / runs["fedavg"]["flops"][-1] == pytest.approx(1 + 2 * 9472 / 20224)
    assert "pull towards the model sent" in edgesim("algorithms", "./my_algorithm.py:FedProx")


@pytest.mark.parametrize(
    "schedule", ["{kind: async, concurrency: 6}", "{kind: gossip, graph: {kind: regular, degree: 4}, mode: async}"]
)
def test_a_jobs_last_row_says_whether_it_is_over(desk: Path, schedule: str) -> None:
    """By the rule on the page as many were in flight at the end as the metrics have; devices come and go."""
    comes = "{device: raspberry-pi-4, share: 1, link: wifi-home, availability: {kind: markov, on: 2 s, off: 500 ms}}"
    changes = [f"fleet=[{comes}]", f"schedule={schedule}", "algorithm=fedavg", "stop={time: 4 s}", "sweep={}"]
    (run,) = simulate("my_algorithm.yaml", overrides=changes, out="results/over").runs
    events, metrics = run.events(["job", "outcome", "staleness"]), run.metrics()
    last = np.append(events["job"][1:] != events["job"][:-1], True)
    over = np.isin(events["outcome"], ["lost", "out-of-memory", "cancelled"]) | ~np.isnan(events["staleness"])
    assert (~over[last]).sum() == metrics["jobs_in_flight"][-1] > 0
    assert metrics["jobs_lost"][-1] > 0


def parts() -> Iterator[tuple[str, str]]:
    """Parts of scenarios that stand on the pages, indented or fenced, with the names of their pages."""
    keys = "|".join(Scenario.model_fields)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        indented = [dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)]
        for block in (*indented, *blocks(page, "yaml")):
            if re.match(rf"\s*({keys}):", block) and "\nstop:" not in block:
                yield page.name, block.strip("\n") + "\n"


@pytest.mark.parametrize(("page", "part"), list(parts()))
def test_parts_of_scenarios_can_be_put_into_one(desk: Path, page: str, part: str) -> None:
    board, measured = desk / "my_board.yaml", (DOCS / "fleets.md").read_text(encoding="utf-8").split("is CSV.")[1]
    (desk / "my-lines.csv").write_text(dedent(re.findall(r"(?:^    .*\n)+", measured, re.MULTILINE)[0]))
    (desk / "my-users.csv").write_text("device,start_s,end_s\none,0,60\nother,30,90\n")
    (desk / "mine.py").write_text(blocks(DOCS / "selection.md", "python")[0])
    (desk / "my-devices").mkdir()
    (desk / "my-devices" / "my-board.yaml").write_text(board.read_text(encoding="utf-8"))
    given = re.findall(r"^(\w+):", part, re.MULTILINE)
    base = (desk / "my_algorithm.yaml").read_text(encoding="utf-8").partition("sweep:")[0] + "algorithm: fedavg\n"
    base = base.replace(", target: 0.8", "").replace("cohort: 5", "cohort: 10")
    rest = [line for line in base.splitlines(keepends=True) if line.partition(":")[0] not in given]
    fleet = "  - {device: raspberry-pi-4, share: 1, link: wifi-home}\n"
    (desk / "whole.yaml").write_text("".join(rest).replace(fleet, "" if "fleet" in given else fleet) + part)
    assert "fine; 1 run" in edgesim("validate", "whole.yaml"), page


def test_a_device_a_link_a_model_and_data_of_ones_own(desk: Path) -> None:
    [making] = [code for code in blocks(ROOT / "README.md", "python") if "savez" in code]
    exec(making, {})
    assert "fine; 1 run" in edgesim("validate", "my_world.yaml")
    assert "fedspa" in edgesim("run", "my_world.yaml", *SHORT)
