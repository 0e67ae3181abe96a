"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their forms without pickles.

binary    data_batch_1.bin … data_batch_5.bin and test_batch.bin, or train.bin and test.bin: records of the
          label (CIFAR-100: coarse, then fine) and 3 · 32 · 32 bytes, red, green and blue
          (https://www.cs.toronto.edu/~kriz/cifar.html)
npz       see datafiles
pictures  see pictures

Of several forms in one folder the first in this list is read.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Doc

from edgesim.errors import ScenarioError
from edgesim.learning.datafiles import Arrays, read_npz, tidy
from edgesim.learning.pictures import holds_pictures, read_pictures
from edgesim.learning.sources import Source, find

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
_WANTED = ".bin files of the binary version, one .npz or class folders of pictures"
Normalise: TypeAlias = Annotated[
    bool, Doc("subtract each channel's mean and divide by its standard deviation, as published work does; else 0 … 1")
]


def cifar10(source: Source, *, normalise: Normalise = True) -> Arrays:
    """60,000 photographs, 3×32×32, 10 classes (Krizhevsky 2009); binary, npz or pictures from the data folder."""
    place = _place(source, "cifar10", _BATCHES)
    binary = (place / _BATCHES[0]).is_file()
    read = _binary(place, _BATCHES, labels=1, at=0, classes=10) if binary else _other(place)
    # (0.2023, 0.1994, 0.2010), the usual figures, are means of each picture's own deviation
    return _normalised(read, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)) if normalise else read


def cifar100(
    source: Source,
    *,
    labels: Annotated[Literal["fine", "coarse"], Doc("100 classes, or the 20 that they form (binary only)")] = "fine",
    normalise: Normalise = True,
) -> Arrays:
    """60,000 photographs, 3×32×32, 100 classes (Krizhevsky 2009); binary, npz or pictures from the data folder."""
    files = ["train.bin", "test.bin"]
    place = _place(source, "cifar100", files)
    if (place / files[0]).is_file():
        read = _binary(place, files, labels=2, at=int(labels == "fine"), classes=100 if labels == "fine" else 20)
    elif labels == "coarse":
        raise ScenarioError(f"data set cifar100: {place} is not the binary version, which alone has coarse labels")
    else:
        read = _other(place)
    return _normalised(read, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)) if normalise else read


def _place(source: Source, name: str, files: list[str]) -> Path:
    def serves(path: Path) -> bool:
        if path.is_file():
            return path.suffix == ".npz"
        if (path / files[0]).is_file():
            return True
        if path == source.data_dir:  # other data sets lie here, too
            return False
        _refuse_pickles(path, name, files[0])
        return _archive(path) is not None or holds_pictures(path)

    return find(source, name, serves, _WANTED)


def _refuse_pickles(folder: Path, name: str, first: str) -> None:
    pickled = folder / first.removesuffix(".bin")
    if pickled.is_file():
        raise ScenarioError(
            f"data set {name}: {pickled} is a Python pickle, which is not read, since it could run any program; "
            "take the binary version of the data set"
        )


def _archive(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.npz"))
    return found[0] if len(found) == 1 else None


def _other(place: Path) -> Arrays:
    """An npz or pictures."""
    archive = place if place.is_file() else _archive(place)
    read = read_npz(archive) if archive else tidy(*read_pictures(place), place)
    x = read.x
    if x.shape[1:] == (_PIXELS,):
        x = x.reshape(-1, *_SHAPE)
    if x.shape[1:] != _SHAPE:
        raise ScenarioError(f"{archive or place}: samples are {list(x.shape[1:])}; {list(_SHAPE)} is wanted")
    if x.min() < 0 or x.max() > 1:
        raise ScenarioError(
            f"{archive or place}: values are {x.min()} to {x.max()}; bytes, or numbers from 0 to 1, are wanted"
        )
    return read._replace(x=x)


def _binary(folder: Path, files: list[str], *, labels: int, at: int, classes: int) -> Arrays:
    """Records of `labels` bytes, of which the one `at` counts, and then the pixels."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ScenarioError(f"{folder}: {', '.join(missing)} of the binary version is missing")
    records = np.concatenate([_records(folder / name, labels + _PIXELS) for name in files])
    y = records[:, at]
    if y.max() >= classes:
        raise ScenarioError(f"{folder}: a label is {y.max()}; at most {classes - 1} is possible, fetch the files again")
    return tidy(records[:, labels:].reshape(-1, *_SHAPE), y, folder)


def _records(path: Path, length: int) -> NDArray[np.uint8]:
    data = np.fromfile(path, np.uint8)
    if not len(data) or len(data) % length:
        raise ScenarioError(f"{path}: {len(data)} bytes are not whole records of {length}; fetch it again")
    return data.reshape(-1, length)


def _normalised(read: Arrays, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Arrays:
    x = read.x
    x -= np.array(mean, np.float32).reshape(3, 1, 1)
    x /= np.array(deviation, np.float32).reshape(3, 1, 1)
    return read
