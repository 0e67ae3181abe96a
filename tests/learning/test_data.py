"""Data sets: the shipped ones, and the user's own files, whole or broken."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from edgesim.errors import ScenarioError
from edgesim.learning import data
from edgesim.learning.data import DATASETS, load
from edgesim.learning.datafiles import read_idx

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([2, 0, 1, 2], np.uint8)


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESIM_DATA", raising=False)


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, stem: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], zipped: bool) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for kind, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
        data = idx(array)
        (folder / (kind + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)


def test_digits_are_1797_images_of_ten_classes_in_the_unit_interval() -> None:
    data = load("digits", {}, None, 0)
    assert (tuple(data.x.shape), data.classes, data.name) == ((1797, 1, 8, 8), 10, "digits")
    assert (float(data.x.min()), float(data.x.max())) == (0, 1)
    assert data.y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as published


def test_digits_are_those_that_scikit_learn_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from its file, which takes no import, and by itself where the file is elsewhere."""
    read = load("digits", {}, None, 0)
    bunch = load_digits()
    assert torch.equal(read.x, torch.from_numpy((bunch.images[:, None] / 16).astype("float32")))
    assert read.y.tolist() == bunch.target.tolist()
    monkeypatch.setattr(data, "_shipped", lambda package, name: None)
    assert torch.equal(load("digits", {}, None, 0).x, read.x)


def test_synthetic_data_follow_the_seed_and_sit_around_their_centres() -> None:
    """Without noise a sample is its class centre, `separation` from the origin; classes are even."""
    params = {"samples": 30, "features": 5, "classes": 3, "separation": 2.0, "noise": 0.0}
    first, again, other = (load("synthetic", params, None, seed) for seed in (0, 0, 1))
    assert first.x.equal(again.x)
    assert first.y.equal(again.y)
    assert not first.x.equal(other.x)
    assert first.x.norm(dim=1).numpy() == pytest.approx(np.full(30, 2.0))
    assert len(np.unique(first.x.numpy(), axis=0)) == 3
    assert first.y.bincount().tolist() == [10, 10, 10]
    noisy = load("synthetic", {**params, "samples": 3000, "noise": 0.5}, None, 0)
    one = noisy.x[noisy.y == 0]
    spread = (one - one.mean(0)).std()
    assert float(spread) == pytest.approx(0.5, rel=0.05)  # 5,000 draws: ± 1 %, five times that allowed


def test_synthetic_samples_may_have_a_shape_and_are_the_same_numbers_then() -> None:
    flat = load("synthetic", {"samples": 30, "features": 24}, None, 0)
    image = load("synthetic", {"samples": 30, "shape": (2, 3, 4)}, None, 0)
    assert tuple(image.x.shape) == (30, 2, 3, 4)
    assert image.x.flatten(1).equal(flat.x)
    assert tuple(load("synthetic", {"samples": 30}, None, 0).x.shape) == (30, 20)
    with pytest.raises(ScenarioError, match=r"both features \(24\) and shape \(\[2, 3, 4\]\) are given; leave one out"):
        load("synthetic", {"features": 24, "shape": (2, 3, 4)}, None, 0)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", ["fashion-mnist", "fashion_mnist", "FashionMNIST/raw"])
def test_idx_files_are_found_scaled_and_joined_training_first(tmp_path: Path, zipped: bool, place: str) -> None:
    folder = tmp_path / place
    write_idx(folder, "train", IMAGES, LABELS, zipped)
    write_idx(folder, "t10k", 255 - IMAGES[:1], LABELS[:1], zipped)
    data = load("fashion-mnist", {}, tmp_path, 0)
    assert tuple(data.x.shape) == (5, 1, 3, 2)
    assert data.x[:4, 0].numpy() * 255 == pytest.approx(IMAGES)
    assert data.x[4, 0].numpy() * 255 == pytest.approx(255 - IMAGES[0])
    assert data.y.tolist() == [2, 0, 1, 2, 2]
    assert load("fashion-mnist", {}, folder, 0).x.equal(data.x)


def test_a_file_that_is_there_plain_and_gzipped_is_read_once(tmp_path: Path) -> None:
    """As torchvision leaves MNIST; the plain file counts."""
    for stem, zipped in (("train", True), ("train", False), ("t10k", True), ("t10k", False)):
        write_idx(tmp_path / "mnist", stem, IMAGES + zipped, LABELS, zipped)
    data = load("mnist", {}, tmp_path, 0)
    assert data.x[:, 0].numpy() * 255 == pytest.approx(np.concatenate([IMAGES, IMAGES]))


def test_files_of_one_set_are_not_taken_for_anothers(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", "train", IMAGES, LABELS, False)
    assert len(load("mnist", {}, tmp_path / "mnist", 0).y) == 4
    with pytest.raises(ScenarioError, match=r"nothing says that they are kmnist; put them into .*mnist/kmnist"):
        load("kmnist", {}, tmp_path / "mnist", 0)
    for stem in ("emnist-letters-train", "emnist-letters-test", "emnist-digits-train"):
        write_idx(tmp_path / "mine", stem, IMAGES, LABELS, True)
    with pytest.raises(
        ScenarioError, match=r"emnist-digits-train-images-.* and emnist-letters-.*-images-.* belong to different data"
    ):
        load("mine", {}, None, 0, tmp_path)
    assert len(load("emnist", {"split": "letters"}, tmp_path / "mine", 0).y) == 8  # whose names say what they are
    with pytest.raises(ScenarioError, match=r"no emnist-mnist-…images-idx3-ubyte\(\.gz\) in .*mine holds emnist"):
        load("emnist", {"split": "mnist"}, tmp_path / "mine", 0)


def test_the_data_folder_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "mnist", "train", IMAGES, LABELS, True)
    with pytest.raises(ScenarioError, match=r"set task\.data_dir in the scenario or EDGESIM_DATA"):
        load("mnist", {}, None, 0)
    monkeypatch.setenv("EDGESIM_DATA", str(tmp_path))
    assert len(load("mnist", {}, None, 0).y) == 4
    with pytest.raises(ScenarioError, match=r"kmnist.*in .*kmnist, .*; put the files there, or point task\.data_dir"):
        load("kmnist", {}, tmp_path / "elsewhere", 0)


def test_emnist_takes_the_split_and_renumbers_labels(tmp_path: Path) -> None:
    """EMNIST's letters are labelled from 1; here classes start at 0."""
    write_idx(tmp_path / "emnist", "emnist-letters-train", IMAGES, LABELS + 1, True)
    write_idx(tmp_path / "emnist", "emnist-digits-train", IMAGES[:2], LABELS[:2], True)
    letters = load("emnist", {"split": "letters"}, tmp_path, 0)
    assert (letters.classes, letters.y.tolist()) == (3, [2, 0, 1, 2])
    assert len(load("emnist", {"split": "digits"}, tmp_path, 0).y) == 2


def broken(tmp_path: Path, data: bytes, name: str = "x-idx3-ubyte") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (idx(IMAGES)[:-1], "a", r"39 bytes, but its header \[4, 3, 2\] promises 40; fetch it again"),
        (idx(IMAGES) + b"!", "a", "41 bytes, but its header"),
        (idx(IMAGES)[:9], "a", "cut short within its header"),
        (b"<!DOCTYPE html>", "a", "not an IDX file: it begins with 3c 21 44 4f"),
        (b"", "a", "not an IDX file: it begins with nothing"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "a.gz", "cannot be read, fetch it again"),
        (idx(IMAGES), "a.gz", "cannot be read, fetch it again: Not a gzipped file"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path: Path, data: bytes, name: str, message: str) -> None:
    path = broken(tmp_path, data, name)
    with pytest.raises(ScenarioError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_idx_numbers_of_other_types_are_big_endian(tmp_path: Path) -> None:
    data = bytes([0, 0, 0x0C, 1]) + struct.pack(">I2i", 2, -5, 70_000)
    assert read_idx(broken(tmp_path, data)).tolist() == [-5, 70_000]


def test_missing_labels_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", "train", IMAGES, LABELS, False)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(ScenarioError, match=r"its labels, train-labels-idx1-ubyte or .*\.gz, are not beside it"):
        load("mnist", {}, tmp_path, 0)


def test_npz_pictures_become_channels_first_and_other_numbers_stay(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), dtype=np.uint8)
    np.savez(tmp_path / "colour.npz", x_train=colour[:3], y_train=LABELS[:3], x_test=colour[3:], y_test=LABELS[3:])
    data = load("colour.npz", {}, None, 0, tmp_path)
    assert tuple(data.x.shape) == (4, 3, 8, 9)
    assert data.x.numpy() * 255 == pytest.approx(colour.transpose(0, 3, 1, 2))
    series = np.random.default_rng(0).standard_normal((4, 7, 3))
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine" / "only.npz", x=series, y=LABELS)
    data = load("mine", {}, None, 0, tmp_path)
    assert data.x.numpy() == pytest.approx(series.astype(np.float32))
    assert load("mine", {}, tmp_path, 0, tmp_path / "elsewhere").x.equal(data.x)  # found in the data folder


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": IMAGES, "Y": LABELS, "rank": LABELS},
        {"images": IMAGES, "labels": LABELS[:, None]},
        {"train_images": IMAGES[:2], "train_labels": LABELS[:2], "test_images": IMAGES[2:], "test_labels": LABELS[2:]},
        {"data_test": IMAGES[3:], "targets_test": LABELS[3:], "data_val": IMAGES[2:3], "targets_val": LABELS[2:3],
         "data_train": IMAGES[:2], "targets_train": LABELS[:2]},
        {"x_train": IMAGES[:2], "y_train": LABELS[:2], "x_valid": IMAGES[2:3], "y_valid": LABELS[2:3],
         "validation_images": IMAGES[3:], "validation_labels": LABELS[3:]},
    ],
)  # fmt: skip
def test_the_arrays_of_an_npz_may_go_by_other_names(tmp_path: Path, arrays: dict[str, NDArray[np.uint8]]) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    data = load("data.npz", {}, None, 0, tmp_path)
    assert data.x[:, 0].numpy() * 255 == pytest.approx(IMAGES)
    assert data.y.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "images": IMAGES, "y": LABELS}, "x and images could be the same; keep one of them"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "user_train": LABELS, "x_test": IMAGES, "y_test": LABELS},
            "only some of its parts say whose their samples are",
        ),
        ({"a": IMAGES}, "holds a; x and y, or x_train, y_train, x_test and y_test, are wanted"),
        ({"x": IMAGES, "y": LABELS[:3]}, r"samples are \[4, 3, 2\] for 3 labels"),
        ({"x": IMAGES, "y": LABELS / 2}, r"labels are float64 \[4\]; whole numbers"),
        ({"x": IMAGES * np.nan, "y": LABELS}, "some samples are not finite numbers"),
        ({"x": IMAGES > 3, "y": LABELS}, "samples are bool; numbers are wanted"),
        ({"x": IMAGES, "y": LABELS * 0}, "all labels are equal"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, :2], "y_test": LABELS},
            "differ in shape",
        ),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "x_test comes without labels; add them, or leave"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, r"data\.npz: holds no samples"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES.astype(int), "y_test": LABELS},
            "x_train is uint8 and x_test is int64; write all with one type, for bytes alone are scaled",
        ),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, NDArray[np.uint8]], message: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match=message):
        load("data.npz", {}, None, 0, tmp_path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data set 'digts' is unknown: did you mean digits\?"):
        load("digts", {}, None, 0)
    with pytest.raises(ScenarioError, match=r"data set './a.npz': no such file or folder; looked for .*a\.npz"):
        load("./a.npz", {}, None, 0, tmp_path)
    with pytest.raises(ScenarioError, match=r"holds nothing; one \.npz, IDX files named …images-idx3-ubyte\(\.gz\)"):
        load(str(tmp_path), {}, None, 0)
    broken(tmp_path, b"x,y", "table.csv")
    with pytest.raises(ScenarioError, match=r"data set 'table\.csv': .*table\.csv is no \.npz; write the path of one"):
        load("table.csv", {}, None, 0, tmp_path)
    with pytest.raises(ScenarioError, match=r"data set digits: \{'size': 3\} does not fit: .*'size'"):
        load("digits", {"size": 3}, None, 0)
    with pytest.raises(ScenarioError, match="5 samples cannot show 10 classes"):
        load("synthetic", {"samples": 5}, None, 0)
    broken(tmp_path, b"PK not a zip", "odd.npz")
    with pytest.raises(ScenarioError, match=r"odd\.npz: cannot be read as npz: it is cut short, or is not what numpy"):
        load("odd.npz", {}, None, 0, tmp_path)


def test_every_data_set_says_what_it_is() -> None:
    assert all((make.__doc__ or "").splitlines()[0].endswith(".") for make in DATASETS.values())
