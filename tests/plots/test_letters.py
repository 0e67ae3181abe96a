"""Names may have letters that the usual font has not: another installed one is taken, or one remark says so."""

import warnings
from pathlib import Path

import pytest
from made_up_results import VARIANTS, write_run
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

from edgesim.drawing import plot
from edgesim.errors import EdgesimWarning
from edgesim.plots import letters
from edgesim.plots.registry import find
from edgesim.results.store import Results

WATCH = "\N{WATCH}"  # STIX has it, which comes with matplotlib, and DejaVu has not
NOWHERE = "\N{CJK UNIFIED IDEOGRAPH-8FD1}"


@pytest.fixture
def only_matplotlibs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed besides."""
    its = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", its)
    letters._families.cache_clear()
    letters._tell.cache_clear()


def results(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setitem(VARIANTS, name, VARIANTS["fedavg_sync"])
    write_run(folder / "run", name, 0, 0)
    return Results.read(folder)


@pytest.mark.usefixtures("only_matplotlibs")
def test_a_font_that_has_them_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = find("time-use")(results(tmp_path, f"fed{WATCH}", monkeypatch))
    for text in [*figure.axes[0].get_yticklabels(), *figure.axes[0].get_xticklabels()]:
        families = text.get_fontfamily()
        assert families[0] == "sans-serif"
        has = [FT2Font(findfont(FontProperties(family=[family]))).get_char_index(ord(WATCH)) for family in families]
        assert any(has)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()


@pytest.mark.usefixtures("only_matplotlibs")
def test_the_usual_font_is_the_only_one_where_it_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = find("time-use")(results(tmp_path, "fed: α ≤ ½ été", monkeypatch))
    assert figure.axes[0].get_yticklabels()[0].get_fontfamily() == ["sans-serif"]


@pytest.mark.usefixtures("only_matplotlibs")
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_what_no_font_has_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """And not letter by letter, by matplotlib."""
    folder = results(tmp_path, f"{NOWHERE}{NOWHERE}{chr(ord(NOWHERE) + 1)}", monkeypatch).path
    with pytest.warns(EdgesimWarning, match=f"^boxes stand for '{NOWHERE}' and any other letter") as told:
        plot("time-use", [folder], {"metric": None, "cost": None}, tmp_path / f"a.{suffix}")
    assert len(told) == 1
    plot("waste", [folder], {"metric": None, "cost": None}, tmp_path / f"b.{suffix}")
