"""CIFAR without pickles: binary records, npz and pictures give the same samples, and what does not fit is named."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesim.errors import ScenarioError
from edgesim.learning.data import load

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)  # two in each of the six batches
FINE = np.arange(12, dtype=np.uint8) % 4
COARSE = FINE // 2
BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESIM_DATA", raising=False)


def records(*labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.column_stack([*labels, PIXELS.reshape(12, -1)])


def write_cifar10(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, rows in zip(BATCHES, np.split(records(FINE), 6), strict=True):
        (folder / name).write_bytes(rows.tobytes())
    return folder


def write_pictures(folder: Path) -> None:
    """The last two are test pictures; classes are called 9, 10, 11 and 12, and their order is that of numbers."""
    for number, (pixels, label) in enumerate(zip(PIXELS, FINE, strict=True)):
        home = folder / ("test" if number >= 10 else "train") / str(9 + label)
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(home / f"{number}.png")


@pytest.mark.parametrize("place", ["cifar10", "cifar-10-batches-bin", "CIFAR10_subset", "."])
def test_binary_records_are_a_label_and_three_planes(tmp_path: Path, place: str) -> None:
    write_cifar10(tmp_path / "data" / place) if place != "." else write_cifar10(tmp_path / "data")
    data = load("cifar10", {"normalise": False}, tmp_path / "data", 0)
    assert data.y.tolist() == FINE.tolist()
    np.testing.assert_allclose(data.x.numpy() * 255, PIXELS, atol=1e-4)


def test_npz_and_pictures_hold_the_same_samples(tmp_path: Path) -> None:
    last = PIXELS.transpose(0, 2, 3, 1)
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "cifar10.npz", x_train=last[:10], y_train=FINE[:10], x_test=last[10:], y_test=FINE[10:])
    (tmp_path / "b" / "cifar_10").mkdir(parents=True)
    np.savez(
        tmp_path / "b" / "cifar_10" / "rows.npz",
        data=PIXELS.reshape(12, -1), labels=FINE[:, None], names=FINE, user=COARSE,
    )  # fmt: skip
    for home in ("a", "b"):
        data = load("cifar10", {"normalise": False}, tmp_path / home, 0)
        assert data.y.tolist() == FINE.tolist()
        np.testing.assert_allclose(data.x.numpy() * 255, PIXELS, atol=1e-4)
    assert data.owner is not None
    assert data.owner.tolist() == COARSE.tolist()
    write_pictures(tmp_path / "c" / "cifar10")
    data = load("cifar10", {"normalise": False}, tmp_path / "c", 0)
    order = [*np.argsort(FINE[:10], kind="stable"), 10, 11]  # class by class, training first
    assert data.y.tolist() == FINE[order].tolist()
    np.testing.assert_allclose(data.x.numpy() * 255, PIXELS[order], atol=1e-4)


def test_channels_are_normalised_by_the_usual_constants(tmp_path: Path) -> None:
    """A red of 128 becomes (128/255 − 0.4914) / 0.2023."""
    write_cifar10(tmp_path / "cifar10")
    raw = load("cifar10", {"normalise": False}, tmp_path, 0).x.numpy()
    mean, deviation = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
    expected = (raw - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(load("cifar10", {}, tmp_path, 0).x.numpy(), expected, atol=1e-5)


def test_cifar100_has_a_coarse_and_a_fine_label(tmp_path: Path) -> None:
    home = tmp_path / "cifar-100-binary"
    home.mkdir()
    rows = records(COARSE, FINE)
    (home / "train.bin").write_bytes(rows[:10].tobytes())
    (home / "test.bin").write_bytes(rows[10:].tobytes())
    assert load("cifar100", {}, tmp_path, 0).y.tolist() == FINE.tolist()
    coarse = load("cifar100", {"labels": "coarse", "normalise": False}, tmp_path, 0)
    assert coarse.y.tolist() == COARSE.tolist()
    np.testing.assert_allclose(coarse.x.numpy() * 255, PIXELS, atol=1e-4)
    with pytest.raises(ScenarioError, match=r"data set cifar10: no \.bin files.*; put the files there"):
        load("cifar10", {}, tmp_path, 0)  # cifar-100 is another data set
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "b" / "cifar100.npz", x=PIXELS, y=FINE)
    assert load("cifar100", {}, tmp_path / "b", 0).y.tolist() == FINE.tolist()
    with pytest.raises(ScenarioError, match="is not the binary version, which alone has coarse labels"):
        load("cifar100", {"labels": "coarse"}, tmp_path / "b", 0)


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(
        ScenarioError, match=r"no \.bin files .* in .*cifar10, .* \(.* holds other\); put the files there"
    ):
        load("cifar10", {}, tmp_path, 0)
    home = write_cifar10(tmp_path / "cifar10")
    (home / BATCHES[2]).unlink()
    with pytest.raises(ScenarioError, match=r"cifar10: data_batch_3\.bin of the binary version is missing"):
        load("cifar10", {}, tmp_path, 0)
    (home / BATCHES[2]).write_bytes(b"\0" * 3072)
    with pytest.raises(ScenarioError, match=r"data_batch_3\.bin: 3072 bytes are not whole records of 3073"):
        load("cifar10", {}, tmp_path, 0)
    (home / BATCHES[2]).write_bytes(b"\x0a" * 3073)
    with pytest.raises(ScenarioError, match="a label is 10; at most 9 is possible"):
        load("cifar10", {}, tmp_path, 0)
    (home / BATCHES[0]).rename(home / "data_batch_1")
    with pytest.raises(ScenarioError, match="data_batch_1 is a Python pickle, which is not read"):
        load("cifar10", {}, tmp_path, 0)


def test_samples_that_are_no_cifar_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10.npz", x=PIXELS[:, :, :5], y=FINE)
    with pytest.raises(ScenarioError, match=r"samples are \[3, 5, 32\]; \[3, 32, 32\] is wanted"):
        load("cifar10", {}, tmp_path, 0)
    np.savez(tmp_path / "cifar10.npz", x=PIXELS - 128.0, y=FINE)
    with pytest.raises(ScenarioError, match=r"values are -128\.0 to 127\.0; bytes, or numbers from 0 to 1"):
        load("cifar10", {}, tmp_path, 0)


def test_a_users_folder_of_pictures_is_a_data_set(tmp_path: Path) -> None:
    """Grey pictures stay grey, [1, h, w]; one coloured picture makes all of them coloured."""
    for name, value in (("cat", 10), ("dog", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in (1, 2):
            Image.new("L", (4, 3), value + number).save(tmp_path / "pets" / name / f"{number}.jpg", quality=100)
    data = load("pets", {}, None, 0, tmp_path)
    assert tuple(data.x.shape) == (4, 1, 3, 4)
    assert data.y.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(255 * data.x[:, 0, 0, 0].numpy(), [11, 12, 201, 202], atol=1)
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "pets" / "dog" / "3.png")
    data = load("pets", {}, None, 0, tmp_path)
    assert tuple(data.x.shape) == (5, 3, 3, 4)
    assert data.x[4, :, 0, 0].tolist() == [1, 0, 0]
    Image.new("RGB", (5, 3)).save(tmp_path / "pets" / "dog" / "4.png")
    with pytest.raises(ScenarioError, match=r"4\.png: 3×5 pixels, and 1\.jpg has 3×4; one size is wanted"):
        load("pets", {}, None, 0, tmp_path)
    (tmp_path / "pets" / "dog" / "4.png").write_bytes(b"no picture")
    with pytest.raises(ScenarioError, match=r"4\.png: cannot be read as a picture"):
        load("pets", {}, None, 0, tmp_path)


def test_no_part_and_no_class_of_pictures_is_passed_over(tmp_path: Path) -> None:
    """Parts go by several names; a train among classes is a class; BMP and WebP are read."""
    for value, name in enumerate(("train/cat/1.png", "train/dog/1.bmp", "valid/cat/1.webp", "validation/dog/1.png")):
        (tmp_path / "a" / name).parent.mkdir(parents=True)
        Image.new("L", (4, 3), value).save(tmp_path / "a" / name, lossless=True)
    data = load("a", {}, None, 0, tmp_path)
    assert data.y.tolist() == [0, 1, 0, 1]
    assert (255 * data.x[:, 0, 0, 0]).tolist() == pytest.approx([0, 1, 2, 3])
    for name in ("bus", "train"):
        (tmp_path / "b" / name).mkdir(parents=True)
        Image.new("L", (4, 3)).save(tmp_path / "b" / name / "1.png")
    assert load("b", {}, None, 0, tmp_path).y.tolist() == [0, 1]
    (tmp_path / "b" / "van").mkdir()
    (tmp_path / "b" / "van" / "1.tif").touch()
    with pytest.raises(ScenarioError, match=r"van: holds no \.png, .*\.webp, but 1\.tif; convert these"):
        load("b", {}, None, 0, tmp_path)
    Image.new("L", (4, 3)).save(tmp_path / "a" / "valid" / "1.png")
    assert len(load("a", {}, None, 0, tmp_path).y) == 4
    (tmp_path / "a" / "test").mkdir()
    Image.new("L", (4, 3)).save(tmp_path / "a" / "test" / "1.png")
    with pytest.raises(ScenarioError, match="test: holds pictures, where train beside it holds a folder for each"):
        load("a", {}, None, 0, tmp_path)


@pytest.mark.parametrize(
    ("mode", "clear", "channels"),
    [("LA", (7, 9), 1), ("RGBA", (7, 7, 7, 9), 3), ("P", 7, 3), ("L", 7, 1)],
)
def test_pictures_that_are_transparent_are_refused(
    tmp_path: Path, mode: str, clear: int | tuple[int, ...], channels: int
) -> None:
    """What they show may stand in their alpha channel alone; one that is opaque throughout says nothing."""
    opaque = Image.new("L", (4, 3), 7).convert(mode)
    for name in "ab":
        (tmp_path / "icons" / name).mkdir(parents=True)
        opaque.save(tmp_path / "icons" / name / "1.png")
    assert load("icons", {}, None, 0, tmp_path).x.numpy() * 255 == pytest.approx(np.full((2, channels, 3, 4), 7))
    if isinstance(clear, tuple):
        opaque.putpixel((0, 0), clear)
        opaque.save(tmp_path / "icons" / "b" / "1.png")
    else:
        opaque.save(tmp_path / "icons" / "b" / "1.png", transparency=clear)
    with pytest.raises(ScenarioError, match=r"b/1\.png: parts of it are transparent; save it upon a background"):
        load("icons", {}, None, 0, tmp_path)


def test_pictures_of_16_bits_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "scans" / name).mkdir(parents=True)
        Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(tmp_path / "scans" / name / "1.png")
    with pytest.raises(ScenarioError, match=r"a/1\.png: has 16 bits a pixel; save it with 8, or write the numbers"):
        load("scans", {}, None, 0, tmp_path)
