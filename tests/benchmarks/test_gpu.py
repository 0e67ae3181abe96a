"""The GPU's benchmark counts what it says it counts; on a CPU, since it must run before a card is there."""

import pytest
import torch

from benchmarks import gpu


def test_a_round_is_so_many_updates_of_the_models_flops() -> None:
    """W1, 20 samples: forward 2 · (64 · 64 + 64 · 10), as much for weights, 2 · 640 for the input of the last layer."""
    found = gpu.rate("W1", "stacked", "cpu", 3, seconds=0)
    assert (found.clients, found.flops) == (3, 20 * (2 * 9_472 + 1_280))
    assert found.updates > 0
    assert found.memory_gb == 0


def test_the_limit_is_that_of_a_real_product() -> None:
    """Between a hundred million and a hundred thousand million million: of any machine, but not of a wrong unit."""
    assert 1e8 < gpu.product_flops(torch.device("cpu"), 0) < 1e17


def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "execution.device: got cuda, but" in capsys.readouterr().err
