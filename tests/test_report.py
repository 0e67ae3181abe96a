"""`edgesim report`: the page of real runs, in one file."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from processes import Server, refused
from tiny import write

import edgesim

SWEEP = (
    "sweep={schedule: {few: {kind: buffered, concurrency: 4, buffer: 2}, many: {kind: buffered, concurrency: 4, "
    "buffer: 4}}, seed: [0, 1]}"
)


class Page(HTMLParser):
    """The cells of its tables and the sources of its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.pictures: list[str] = []
        self.headings: list[str] = []
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._into = self.cells if tag in ("td", "th") else self.headings if tag in ("h1", "h2", "h3") else None
        if self._into is not None:
            self._into.append("")
        if tag == "img":
            self.pictures.append(str(dict(attrs)["src"]))

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported")
    edgesim.run(write(folder), out=folder / "out", overrides=[SWEEP])
    return folder / "out"


def test_the_page_holds_everything_and_needs_nothing_else(server: Server, finished: Path) -> None:
    ended = server.run("report", finished, "--target", "20 %")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "" or str(finished / "report.html") in ended.out
    text = (finished / "report.html").read_text("utf-8")
    page = Page(text)
    assert len(page.pictures) == 9  # three frontiers, six of what it took
    assert all(source.startswith("data:image/png;base64,") for source in page.pictures)
    assert not re.search(r"(src|href)=.(http|/)", text)
    assert page.headings[0] == "tiny"
    assert {"accuracy by device", "who takes part", "wasted work", "cheapest to an accuracy"} <= {*page.headings}
    assert "time to 0.2" in page.cells
    before = text
    assert server.run("report", finished, "--target", "20 %").code == 0
    assert (finished / "report.html").read_text("utf-8") == before


def test_folders_can_be_set_against_each_other(server: Server, finished: Path, tmp_path: Path) -> None:
    edgesim.run(write(tmp_path), out=tmp_path / "sync", overrides=["sweep={seed: [0, 1]}"])
    page = tmp_path / "both.html"
    ended = server.run("report", finished, tmp_path / "sync", "--against", "sync/fedavg", "--out", page)
    assert ended.code == 0, ended.err
    assert "against sync/fedavg, seed by seed" in Page(page.read_text("utf-8")).headings
    picture = tmp_path / "both.png"
    assert server.run("plot", "frontier", finished, tmp_path / "sync", "--out", picture).code == 0
    assert picture.stat().st_size > 0
    assert "sync/fedavg" in server.run("analyze", finished, tmp_path / "sync").out


def test_estimates_have_a_page_too(server: Server, tmp_path: Path) -> None:
    assert server.run("estimate", write(tmp_path), "--out", tmp_path / "out").code == 0
    assert server.run("report", tmp_path / "out").code == 0
    page = Page((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert "Which to choose" not in page.headings
    assert "energy a job" in page.cells
    assert "accuracy by device" not in page.headings
    refused(server.run("report", tmp_path / "out", "--against", "fedavg"), "no accuracies to compare")


def test_estimates_are_reported_apart_from_runs(server: Server, finished: Path, tmp_path: Path) -> None:
    """Set against a run an estimate would be no number better, and reach an accuracy of 0.000."""
    estimate = tmp_path / "estimate"
    assert server.run("estimate", write(tmp_path), "--out", estimate).code == 0
    refused(server.run("report", finished, estimate), "estimate/fedavg has no accuracies", "report them apart")
    assert server.run("analyze", finished, estimate).code == 0


def test_quadratic_problems_have_a_page_of_gradient_norms(server: Server, tmp_path: Path) -> None:
    overrides = ["task.clients=8", "stop={aggregations: 4}", "evaluate={every: 2 aggregations}", "sweep={seed: [0]}"]
    edgesim.run("papers/ffgg-quadratic", overrides=overrides, out=tmp_path / "out")
    ended = server.run("report", tmp_path / "out")
    assert (ended.code, ended.err) == (0, "")
    page = Page((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert "gradient norm" in page.cells
    assert "Which to choose" in page.headings
    assert "accuracy by device" not in page.headings
    refused(server.run("plot", "frontier", tmp_path / "out"), "no accuracies", "--metric gradient_norm")
    assert server.run("plot", "curves", tmp_path / "out", "--metric", "gradient_norm").code == 0
    assert (tmp_path / "out" / "curves-gradient_norm.png").stat().st_size > 0
    refused(server.run("plot", "curves", tmp_path / "out", "--metric", "gradient"), "did you mean gradient_norm?")


def test_what_cannot_be_reported_is_said(server: Server, finished: Path, tmp_path: Path) -> None:
    refused(server.run("report", tmp_path), "holds no run")
    refused(server.run("report", finished, "--against", "many"), "no variant 'many'")
    refused(server.run("report", finished, "--target", "80"), "--target 80")
    refused(server.run("report", finished, "--price", "2 GB"), "'2 GB'")
    refused(server.run("report", finished, "--price", "energy"), "has that cost anyway; write prices")
    refused(server.run("report", finished, "--out", tmp_path / "none" / "a.html"), "cannot be written")
