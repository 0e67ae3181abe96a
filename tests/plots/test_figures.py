"""Figures say what the results say: read back from the artists that were drawn, and legible."""

import json
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_results import CLASSES, CLIENT_COUNT, VARIANTS, write_results, write_run
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from edgesim.drawing import plot
from edgesim.errors import EdgesimWarning, ScenarioError
from edgesim.plots import style
from edgesim.plots.registry import PLOTS, find
from edgesim.results.analysis.tables import mean, sections
from edgesim.results.columns import CLIENTS, METRICS
from edgesim.results.evenness import jain
from edgesim.results.frontier import non_dominated
from edgesim.results.recorder import Recorder
from edgesim.results.store import Results
from edgesim.results.trajectory import trajectory

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("frontier", {"cost": "time"}),
    ("frontier", {"cost": "energy"}),
    ("frontier", {"cost": "flops"}),
    ("curves", {"cost": "bytes"}),
    ("curves", {"metric": "accuracy_worst10"}),
    ("curves", {"metric": "accuracy_unseen"}),
    ("timeline", {}),
    ("timeline", {"clients": 7, "start_s": 600.0, "end_s": 3000.0}),
    ("staleness", {}),
    ("participation", {}),
    ("lorenz", {}),
    ("concurrency", {}),
    ("time-use", {}),
    ("time-use", {"cost": "energy"}),
    ("critical-path", {}),
    ("waste", {}),
    ("waste", {"cost": "bytes"}),
]

SMALL: dict[str, dict[str, Any]] = {"timeline": {"clients": 5, "end_s": 2000.0}}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return write_results(tmp_path_factory.mktemp("results") / "quickstart")


def texts(figure: Figure) -> list[Any]:
    """Every piece of text outside the scales, as drawn."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # type: ignore[attr-defined]
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_no_text_overlaps_or_leaves_the_figure(results: Results, name: str, options: dict[str, Any]) -> None:
    figure = find(name)(results, **options)
    check_texts(figure)
    assert all(axes.get_xlabel() for axes in figure.axes[-1:])


def check_texts(figure: Figure) -> None:
    boxes = {text.get_text(): text.get_window_extent() for text in texts(figure)}
    width, height = figure.bbox.size
    assert [t for t, b in boxes.items() if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1] == []
    pairs = combinations(boxes.items(), 2)
    assert [(a, b) for (a, one), (b, other) in pairs if one.overlaps(other)] == []
    assert min(text.get_fontsize() for text in texts(figure)) >= 10  # 7 points when a page shows 800 pixels


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_equal_results_make_equal_files(results: Results, suffix: str, tmp_path: Path) -> None:
    for name in ("frontier", "timeline"):
        for copy in (1, 2):
            style.save(find(name)(results, **SMALL.get(name, {})), tmp_path / f"{copy}.{suffix}")
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


def test_the_frontier_drawn_is_the_non_dominated_set(results: Results) -> None:
    """On the time axis in hours: the steps go through the points that no other evaluation beats."""
    axes = find("frontier")(results).axes[0]
    paths = [trajectory(runs, "time") for runs in results.variants().values()]
    time_h = np.concatenate([[*path.cost, path.end_cost.mean[0]] for path in paths]) / 3600
    accuracy = np.concatenate([[*path.accuracy.mean, path.end_accuracy.mean[0]] for path in paths])
    best = non_dominated(time_h, accuracy)
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert sorted(steps.get_xdata()) == pytest.approx(sorted(time_h[best]))
    assert sorted(steps.get_ydata()) == pytest.approx(sorted(accuracy[best]))
    assert axes.get_xlabel() == "simulated time (h)"
    assert axes.get_xlim()[1] >= time_h.max()


@pytest.mark.parametrize("name", ["frontier", "curves"])
def test_a_band_says_what_it_is(results: Results, name: str) -> None:
    title = find(name)(results).get_suptitle()
    assert title.splitlines()[1:] == ["means over seeds and their range"]
    some = list(results.runs)
    assert style.bands({"a": some[:1], "b": some[:5]}) == ["means over seeds and their 95 % interval"]
    assert style.bands({"a": some[:2], "b": some[:5]}) == ["means over seeds and their range or 95 % interval"]
    assert style.bands({"a": some[:1]}) == []


def test_every_seed_is_on_the_frontier_figure(results: Results) -> None:
    axes = find("frontier")(results).axes[0]
    drawn = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    for run in results.runs:
        metrics = run.metrics()
        assert (metrics["time_s"][-1] / 3600, metrics["accuracy"][-1]) in drawn


def test_timeline_bars_are_the_events(results: Results) -> None:
    """All clients and the whole run: as many bars of each colour as there are stretches of that phase."""
    run = results.runs[0]
    events, end_s = run.events(), float(run.events()["end_ns"].max()) * 1e-9
    axes = find("timeline")(results, clients=1000, end_s=end_s).axes[0]
    for phase in ("download", "train", "upload"):
        colour = pytest.approx([*_rgb(style.ACTIVITIES[phase])])
        bars = sum(len(c.get_paths()) for c in axes.collections if list(c.get_facecolor()[0][:3]) == colour)
        assert bars == np.sum((events["phase"] == phase) & (events["end_ns"] > 0)), phase
    crosses = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "x")
    assert crosses == np.sum(events["outcome"] == "lost")


def test_what_the_server_cancelled_has_a_cross_and_the_run_lasts_beyond_its_last_job(tmp_path: Path) -> None:
    """A job is told to stop after 2 s of training, and nothing happens for the rest of the hour."""
    (tmp_path / "a").mkdir()
    record = {"label": "a", "variant": "a", "scenario": {"name": "one", "seed": 0}}
    (tmp_path / "a" / "scenario.yaml").write_text(json.dumps(record))
    recorder = Recorder(tmp_path / "a", ("pixel-6",), chunk_rows=10)
    recorder.event((0, 0, 0, "download", 0, 10**9, 0, 1000, 0.0, 5.0, "done", None, None, None))
    recorder.event((0, 0, 0, "train", 10**9, 3 * 10**9, 0, 0, 1e9, 5.0, "cancelled", "deadline", None, None))
    for time_s in (0.0, 3600.0):
        recorder.metric(dict.fromkeys(METRICS.names, 0) | {"time_s": time_s})
    recorder.finish(clients=dict.fromkeys(CLIENTS.names, np.zeros(1, np.int64)), summary={}, availability=None)
    figure = find("timeline")(Results.read(tmp_path))
    assert "of 60 min" in figure.get_suptitle()
    crosses = [line.get_xdata().tolist() for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert crosses == [[pytest.approx(3 / 60)]]


def test_the_timeline_names_its_run_and_only_what_is_in_its_window(results: Results) -> None:
    first_ns = int(results.runs[0].events(["start_ns"])["start_ns"].min())
    figure = find("timeline")(results, clients=CLIENT_COUNT, end_s=(first_ns + 1) / 1e9)
    assert _legend(figure) == ["download", "on line, not at work"]
    title = f"quickstart: activity of the devices\n{results.runs[0].label} (one of 8 runs; "
    assert figure.get_suptitle().startswith(title)
    assert _legend(find("timeline")(results))[3:] == ["on line, not at work", "off line", "cut off or in vain"]


def test_the_timeline_of_rare_and_short_jobs_goes_on_until_there_are_some_and_shows_them(tmp_path: Path) -> None:
    """Four devices have a job of 2 s, the half of it training, every hour for ten hours: single bars can be told apart
    in 300 · 1 s, when there is one job a device. Two of each begin in an hour, and have a 600th of the width."""
    (tmp_path / "a").mkdir()
    record = {"label": "a", "variant": "a", "scenario": {"name": "one", "seed": 0}}
    (tmp_path / "a" / "scenario.yaml").write_text(json.dumps(record))
    recorder, hour, second = Recorder(tmp_path / "a", ("pixel-6",), chunk_rows=10), 3600 * 10**9, 10**9
    for job in range(40):
        at, whose = job // 4 * hour, (job, job % 4, 0)
        recorder.event((*whose, "train", at, at + second, 0, 0, 1e9, 5.0, "done", None, None, None))
        recorder.event((*whose, "upload", at + second, at + 2 * second, 0, 9, 0.0, 5.0, "done", None, None, None))
    recorder.metric(dict.fromkeys(METRICS.names, 0) | {"time_s": 36000.0})
    clients = dict.fromkeys(CLIENTS.names, np.zeros(4, np.int64)) | {"client": np.arange(4)}
    recorder.finish(clients=clients, summary={}, availability=None)
    figure = find("timeline")(Results.read(tmp_path))
    assert "(0 s to 63 min of 10 h" in figure.get_suptitle()
    axes = figure.axes[0]
    uploads = [c for c in axes.collections if list(c.get_facecolor()[0][:3]) == [*_rgb(style.ACTIVITIES["upload"])]]
    widths = [np.ptp(path.vertices[:, 0]) for bars in uploads for path in bars.get_paths()]
    assert widths == [pytest.approx(axes.get_xlim()[1] / 600)] * 8


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_staleness_shares_add_up(results: Results) -> None:
    figure = find("staleness")(results)
    for axes, runs in zip(figure.axes, results.variants().values(), strict=True):
        assert sum(_heights(axes)) == pytest.approx(100)
        means = mean([run.analysis()["staleness"]["all"] for run in runs])  # those that `edgesim analyze` prints
        told = f"{means['arrived']:,.6g} updates, mean {means['mean']:.2f}, at most "
        assert axes.get_title(loc="left").splitlines()[-1].startswith(told)
    assert figure.get_suptitle() == "quickstart: staleness of updates, means over seeds"


def test_areas_of_many_classes_have_colours_of_their_own() -> None:
    """Bars have neither marks nor dashes; none is black, as the frontier and crosses are."""
    colours = style.fills(map(str, range(21)))
    assert len(set(colours.values())) == 21
    assert "#000000" not in {*colours.values(), *style.COLOURS}
    assert [colour.upper() for colour in colours.values()][: len(style.COLOURS)] == [*style.COLOURS]


def test_staleness_of_none_has_whole_ticks(results: Results) -> None:
    """In rounds all updates are fresh: no staleness of 0.2 versions."""
    (axes,) = find("staleness")(Results(results.path, tuple(results.variants()["fedavg_sync"]))).axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0.0]


def test_shares_of_several_seeds_are_those_of_the_tables(results: Results) -> None:
    """Seeds spend different amounts: the mean of their shares would be another figure than the share of their sum."""
    tables = {
        each.title: each.rows
        for each in sections({n: mean([run.analysis() for run in runs]) for n, runs in results.variants().items()})
    }
    told = [text.get_text().split(" %")[0].strip() for text in find("waste")(results).axes[0].texts]
    assert told == [row[-1].removesuffix("%") for row in tables["wasted work"] if row[1] == "all of it"]
    figure = find("critical-path")(results)
    for axes, variant in zip(figure.axes, results.variants(), strict=True):
        drawn = [0.0] * len(CLASSES)
        for bar in axes.patches:
            if isinstance(bar, Rectangle) and bar.get_y() + 0.5 < len(CLASSES):
                drawn[round(bar.get_y() + 0.4)] += bar.get_width()
        rows = tables["what set the time of rounds"]
        printed = [float(row[3].removesuffix("%")) for row in rows if row[0] == variant and row[1] in CLASSES]
        assert drawn == pytest.approx(printed, abs=0.051)


def test_the_critical_path_says_what_the_analysis_calls_things(results: Results) -> None:
    """Waiting in a job may be for a partner, and before a dispatch a slot may have been taken."""
    figure = find("critical-path")(results)
    assert _legend(figure) == ["download", "train", "upload", "waiting in a job"]
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert ticks == [*CLASSES, "waiting for dispatch", "timer, or an edge"]


def test_participation_bars_are_the_updates(results: Results) -> None:
    figure = find("participation")(results)
    for axes, runs in zip(figure.axes, results.variants().values(), strict=True):
        heights = _heights(axes)
        assert heights == sorted(heights, reverse=True)
        updates = runs[0].clients()["jobs_aggregated"]
        assert sum(heights) == updates.sum()
        assert axes.get_title(loc="left").splitlines()[-1].startswith(f"Jain {jain(updates):.3f}, ")
    assert _legend(figure) == sorted(CLASSES)
    assert figure.get_suptitle() == "quickstart: participation of clients, seed 0 only"
    assert find("concurrency")(results).get_suptitle() == "quickstart: jobs in flight, seed 0 only"


def _heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]


@pytest.mark.parametrize("figure", ["frontier", "curves"])
def test_who_has_no_accuracies_is_left_out_with_a_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    """As an estimate beside a run: no line without a name, and no name without a line."""
    monkeypatch.setitem(VARIANTS, "estimate", (np.nan, *VARIANTS["fedavg_sync"][1:]))
    for name in ("fedavg_sync", "estimate"):
        write_run(tmp_path / name, name, 0, 0)
    with pytest.warns(EdgesimWarning, match=r"^estimate: no accuracies, so not in the figure$"):
        drawn = find(figure)(Results.read(tmp_path))
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert [name for name in names if not name.startswith("frontier")] == ["fedavg_sync"]
    with pytest.raises(ScenarioError, match="estimate: no accuracies: estimates train nothing"):
        find(figure)(Results.read(tmp_path / "estimate"))


def test_one_run_alone_can_be_drawn(results: Results) -> None:
    alone = Results.read(results.runs[0].path)
    for name in PLOTS:
        texts(find(name)(alone))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("frontier", {"cost": "tine"}, "unknown cost 'tine'; did you mean time"),
        ("curves", {"metric": "acuracy"}, "unknown metric 'acuracy'; did you mean accuracy"),
        ("timeline", {"start_s": 1e9}, "window 1e[+]09 s to .*: the run lasts from 0 to"),
        (
            "timeline",
            {"start_s": 80.0, "end_s": 60.0},
            "window 80 s to 60 s: .*; write a beginning within it, and an end",
        ),
    ],
)
def test_wrong_options_are_named(results: Results, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        find(name)(results, **options)


def test_which_run_is_drawn_is_told_once_it_is(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = dict.fromkeys(("cost", "metric", "from", "to"))
    with pytest.raises(ScenarioError, match="window"):
        plot("timeline", [results.path], {**asked, "from": "400 d"}, tmp_path / "no.png")
    assert capsys.readouterr().err == ""
    plot("timeline", [results.path], asked, tmp_path / "yes.png")
    assert f"{results.runs[0].path} is drawn" in capsys.readouterr().err


def test_an_unknown_figure_names_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="unknown figure 'fronteir'; did you mean frontier"):
        find("fronteir")


@pytest.mark.parametrize("name", PLOTS)
def test_long_names_and_many_variants_stay_legible(results: Results, name: str, tmp_path: Path) -> None:
    """Nine variants of 55 or 120 letters: nothing overlaps, and the axes keep at least 2.5 cm of height."""
    for index in range(9):
        folder = tmp_path / str(index)
        shutil.copytree(results.runs[index % 4].path, folder)
        variant = f"fedspa-density=0.{index}-averaging=intersection_buffered-x" + "-staleness=polynomial" * 4
        variant = variant[: 55 if index % 2 else 120]
        record = {"label": variant, "variant": variant, "scenario": {"name": "many" * 20, "seed": 0}}
        (folder / "scenario.yaml").write_text(json.dumps(record))
    figure = find(name)(Results.read(tmp_path))
    check_texts(figure)
    assert min(axes.get_window_extent().height / figure.dpi for axes in figure.axes) > 1


def test_looks_tell_many_variants_apart() -> None:
    looks = style.looks(map(str, range(21)))
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == 21
    assert len(VARIANTS) < 7


def test_listing_the_figures_costs_no_import_of_matplotlib() -> None:
    """`edgesim --help` lists them and must stay fast."""
    code = "import sys, edgesim.plots.registry; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
