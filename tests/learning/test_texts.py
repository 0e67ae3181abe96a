"""Plays: samples lie within one role, their label is the next character, and roles can be clients."""

from pathlib import Path

import numpy as np
import pytest

from edgesim.errors import ScenarioError
from edgesim.learning.data import load
from edgesim.learning.kernels import kernel
from edgesim.learning.task import make_task

PLAY = "ANN:\nabcdefgh\n\nBOB:\nhello you\n\nANN:\nijkl\n\nstill Ann\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGESIM_DATA", raising=False)
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text(PLAY, encoding="utf-8-sig")  # as Windows writes it
    return tmp_path


def test_samples_are_windows_of_what_a_role_says(home: Path) -> None:
    """Ann: abcdefgh⏎, ijkl⏎ and still Ann⏎ (24 characters), Bob: hello you⏎ (10); windows of 5, every 4."""
    data = load("shakespeare", {"length": 5, "stride": 4}, home, 0)
    symbols = sorted(set(PLAY))
    texts = ["".join(symbols[i] for i in row) for row in data.x.tolist()]
    ann, bob = "abcdefgh\nijkl\nstill Ann\n", "hello you\n"
    expected = [(said[i : i + 5], said[i + 5]) for said in (ann, bob) for i in range(0, len(said) - 5, 4)]
    assert [(text, symbols[y]) for text, y in zip(texts, data.y.tolist(), strict=True)] == expected
    assert data.owner is not None
    assert data.owner.tolist() == [0] * 5 + [1] * 2
    assert (data.tokens, data.classes, str(data.x.dtype)) == (True, len(symbols), "torch.int64")


def test_each_client_is_a_role_and_a_transformer_learns_its_text(home: Path) -> None:
    task = make_task(
        dataset="shakespeare", dataset_params={"length": 4, "stride": 1}, data_dir=home, partition="natural",
        clients=2, model="transformer", model_params={"dim": 8, "heads": 2, "layers": 1}, seed=0,
    )  # fmt: skip
    assert (task.train.count + task.test.count).tolist() == [20, 6]
    params = {name: tensor.unsqueeze(0) for name, tensor in task.model.init(0).items()}
    assert kernel(task.model.module, "loop").logits(params, task.x.unsqueeze(0)).shape == (1, 26, task.classes)


def test_what_cannot_be_read_is_said(home: Path) -> None:
    path = home / "tinyshakespeare" / "input.txt"
    with pytest.raises(ScenarioError, match=r"input\.txt: no role says more than 80 characters"):
        load("shakespeare", {}, home, 0)
    path.write_text("no role\n\nANN:\nabc\n")
    with pytest.raises(ScenarioError, match=r"it begins with 'no role'; the name of a role and a colon are wanted"):
        load("shakespeare", {}, home, 0)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(ScenarioError, match=r"input\.txt: cannot be read as text"):
        load("shakespeare", {}, home, 0)
    path.unlink()
    with pytest.raises(ScenarioError, match=r"no one \.txt file in .*shakespeare, .*tinyshakespeare"):
        load("shakespeare", {}, home, 0)


def test_owners_come_from_an_npz_and_others_have_none(tmp_path: Path) -> None:
    x, who = np.arange(24.0).reshape(8, 3), np.array(["u", "u", "v", "v", "v", "w", "u", "w"])
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(8) % 2, user=who)
    task = make_task(dataset="mine.npz", partition="natural", clients=3, seed=0, folder=tmp_path)
    held = [sorted([*task.train.of(client), *task.test.of(client)]) for client in range(3)]
    assert held == [[0, 1, 6], [2, 3, 4], [5, 7]]
    with pytest.raises(ScenarioError, match=r"task\.partition \(natural\): data set digits does not say whose"):
        make_task(dataset="digits", partition="natural", clients=3, seed=0)
    near = 2**60 + np.arange(4)  # as floats, which join int64 with uint64, they are the same
    np.savez(
        tmp_path / "ids.npz", x_train=x[:4], y_train=[0, 1, 0, 1], client_train=near,
        x_test=x[4:], y_test=[0, 1, 0, 1], client_test=near.astype(np.uint64),
    )  # fmt: skip
    owner = load("ids.npz", {}, None, 0, tmp_path).owner
    assert owner is not None
    assert owner.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(8) % 2, user=who[:5])
    with pytest.raises(ScenarioError, match=r"user is <U1 \[5\]; one number or name a sample is wanted"):
        load("mine.npz", {}, None, 0, tmp_path)
