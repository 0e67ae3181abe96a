"""Every scenario that ships loads, and its data, models, fleets and algorithms can be made."""

import re
from pathlib import Path

import pytest

from edgesim import shipped
from edgesim.scenario import running
from edgesim.scenario.loading import load

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "scenario.schema.json"
PAPERS = ("fedspa", "ffgg", "flash", "pfedla")
CIFAR10 = "task.dataset={name: synthetic, shape: [3, 32, 32], samples: 1200}"
EMNIST = "task.dataset={name: synthetic, shape: [1, 28, 28], samples: 6200, classes: 62}"
NARROW = "task.model.width=0.125"
STAND_INS = {  # for data that does not ship, of its shape and much smaller; and for the time that models take to make
    "papers/fedspa-full": (CIFAR10, NARROW),
    "papers/ffgg-full": (EMNIST, NARROW, "task.clients=100"),
    "papers/ffgg-quadratic-full": ("task.dataset.rows=200",),
    "papers/flash-full": (CIFAR10, NARROW),
    "papers/pfedla-full": (CIFAR10, "task.model={name: cnn-bn, width: 0.125}"),
}


@pytest.mark.parametrize("name", shipped.scenarios())
def test_it_can_be_run(name: str) -> None:
    plan = load(shipped.find(Path(name)), STAND_INS.get(name, ()))
    running.check(plan)
    assert plan.name == name.replace("/", "-")


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_has_a_small_scenario_with_seeds_a_full_one_and_a_page(paper: str) -> None:
    small, full = (load(shipped.find(Path(f"papers/{paper}{size}")), ()) for size in ("", "-full"))
    assert {planned.scenario.seed for planned in small.scenarios} == {0, 1, 2}
    assert small.scenarios[0].scenario.task.dataset.name == "digits"
    assert len({planned.variant for planned in full.scenarios}) >= 9
    page = (ROOT / "docs" / "papers" / f"{paper}.md").read_text(encoding="utf-8")
    assert f"edgesim run papers/{paper}\n" in page


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*/*.yaml")), ids=lambda path: path.stem)
def test_it_tells_editors_where_the_schema_is(path: Path) -> None:
    hint = re.match(r"# yaml-language-server: \$schema=(\S+)\n# \S", path.read_text(encoding="utf-8"))
    assert hint, path
    assert (path.parent / hint[1]).resolve() == SCHEMA


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "papers").glob("*.md")), ids=lambda page: page.stem)
def test_links_and_pictures_of_its_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
