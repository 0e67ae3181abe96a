"""Listings: names come out whole in a narrow terminal, and costs are those of a hand count."""

from importlib.resources import files
from pathlib import Path

import pytest
from rich.console import Console

from edgesim import hardware, listings, printing
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.registry import find
from edgesim.devices.profiles import devices, links
from edgesim.errors import ScenarioError
from edgesim.referencestep import reference_step
from edgesim.samplejob import sample_job


@pytest.fixture(params=[60, 80, 120])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    columns: int = request.param
    monkeypatch.setattr(printing, "out", Console(width=columns, highlight=False, force_terminal=False))
    return columns


def test_names_are_never_cut(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    hardware.show(None)
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line.strip()} >= {*devices(), *links()}


def test_nothing_is_cut_or_folded_in_eighty_columns(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    hardware.show(None)
    text = capsys.readouterr().out
    assert ("…" in text) == (width < 80)
    assert sum(line.startswith(" raspberry-pi-zero-2w ") for line in text.splitlines()) == 1


def test_figures_are_never_cut_however_long_the_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each figure stands whole on a line, beside its device, and the letters of the names are all there."""
    name = "fedspa-density=0.2-averaging=intersection_buffered-staleness=polynomial_" * 2 + "lr=1e-3"
    header = ("variant", "device", *(f"figure {i}" for i in range(9)))
    rows = [(name, device, *(f"{i}{i},345.67 MB" for i in range(9))) for device in ("raspberry-pi-zero-2w", "all")]
    for columns in (40, 80, 200):
        monkeypatch.setattr(printing, "out", Console(width=columns, highlight=False, force_terminal=False))
        printing.figures("a title", header, rows, names=2)
        lines = capsys.readouterr().out.splitlines()
        text = "\n".join(lines)
        assert "…" not in text
        assert max(map(len, lines)) <= columns
        assert all(text.count(cell) == 2 for cell in rows[0][2:])
        assert text.count("a title, continued") == text.count("a title") - 1 >= (columns < 200)
        names = "".join(line.split("  ")[0].strip() for line in lines)
        assert names.count(name) >= text.count("a title")


def test_an_entry_shows_its_sources_and_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    hardware.show("raspberry-pi-4")
    text = capsys.readouterr().out
    assert all(f"- {source}\n" in text for source in devices()["raspberry-pi-4"].sources)
    assert Path(text.rstrip().rpartition(": ")[2]).is_file()


def test_the_reference_step_is_what_the_cost_model_says() -> None:
    """cnn on 10 images of 28×28 on a Raspberry Pi 4: F = 651,361,280 of 9 GFLOP/s and 2 ms: 74.37 ms at 6.6 W.

    A sample: conv1 2·28²·25·32 forward and weight gradient (no input gradient), conv2 3 · 2·14²·25·32·64,
    fc1 3 · 2·3136·128, fc2 3 · 2·128·10.
    """
    flops = 10 * (2 * 2 * 28**2 * 25 * 32 + 6 * 14**2 * 25 * 32 * 64 + 6 * 3136 * 128 + 6 * 128 * 10)
    step = reference_step(devices()["raspberry-pi-4"])
    assert step is not None
    assert step.time_s == pytest.approx(flops / 9e9 + 2e-3, rel=1e-8)
    assert step.energy_j == pytest.approx(6.6 * step.time_s)
    assert reference_step(devices()["stm32h7"]) is None  # 11 MB are needed


def test_a_folder_of_ones_own_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of a catalogue's file under a name of its own."""
    text = Path(str(files("edgesim.devices") / "raspberry-pi-4.yaml")).read_text()
    (tmp_path / "my-pi.yaml").write_text(text.replace("raspberry-pi-4", "my-pi"))
    hardware.show(None, tmp_path)
    assert "my-pi" in capsys.readouterr().out
    hardware.show("my-pi", tmp_path)
    assert str(tmp_path / "my-pi.yaml") in capsys.readouterr().out
    with pytest.raises(ScenarioError, match=r"no device or link 'my-pie' in .*; did you mean my-pi\?"):
        hardware.show("my-pie", tmp_path)


def test_an_algorithm_shows_its_text_unfolded(capsys: pytest.CaptureFixture[str]) -> None:
    listings.algorithms("fedspa")
    text = capsys.readouterr().out
    assert "            DST: α_t = α_0/2 (1 + cos(π t/T)); per tensor the ⌈α_t nnz⌉ smallest" in text
    assert "schedules: sync, deadline, async, buffered, periodic, tiered, timelyfl, hierarchical\n  not safa: " in text


def test_an_unknown_name_is_explained() -> None:
    with pytest.raises(ScenarioError, match="no device or link 'lt' in the catalogue; did you mean lte"):
        hardware.show("lt")


def test_a_dense_job_costs_what_a_hand_count_says() -> None:
    """mlp 64-64-10: 4,810 values in 4 tensors; 68 samples, 7 steps; docs/cost-model.md."""
    job = sample_job(FedAvg())
    assert job.down_bytes == job.up_bytes == 1 + 4 + 4 * 4810
    assert job.flops == 68 * 2 * (64 * 64 * 2 + 64 * 10 * 3)  # no input gradient in the first layer
    assert job.memory_bytes == 8 * 4810 + 8 * 10 * 202  # 202 values come out of flatten, fc1, relu and fc2


def test_a_sparse_job_sends_active_values_and_its_new_mask() -> None:
    """Density 0.5 of 4,736 maskable values by ERK, 74 biases; up also the masks that moved, at most a bit a weight."""
    job, still = sample_job(FedSpa()), sample_job(find("fedspa", Path())(masking="rsm"))  # type: ignore[call-arg]
    assert still.down_bytes == still.up_bytes == job.down_bytes
    assert job.down_bytes == pytest.approx(1 + 4 + 4 * (0.5 * 4736 + 74), abs=8)
    assert 0 < job.up_bytes - job.down_bytes <= 4736 / 8 + 2
