"""Data sets: samples and labels as tensors, by name or from the user's own files.

The keyword-only arguments of a data set's function are its YAML keys.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from typing_extensions import Doc

from edgesim.devices.arrays import IntArray
from edgesim.errors import ScenarioError
from edgesim.learning.cifar import cifar10, cifar100
from edgesim.learning.datafiles import Arrays, read_folder, read_npz
from edgesim.learning.sources import Source, begins, find, listed
from edgesim.learning.texts import shakespeare
from edgesim.spelling import advice
from edgesim.streams import generator


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Attributes: x, float32 [sample, *shape], or int64 tokens 0 … classes − 1 [sample, length]; y, int64
    [sample], labels 0 … classes − 1; classes; name; tokens, whether x is such; owner, whose each sample is
    [sample], where the data say so."""

    x: Tensor
    y: Tensor
    classes: int
    name: str
    tokens: bool = False
    owner: IntArray | None = None


Maker: TypeAlias = Callable[..., Arrays]
Size: TypeAlias = Annotated[int, Gt(0)]
_BLOCK = 1 << 20  # numbers made at once


def digits(source: Source) -> Arrays:
    """1,797 handwritten digits of 8×8 pixels, shipped with scikit-learn (Alpaydin and Kaynak 1998, UCI)."""
    file = _shipped("sklearn", "datasets/data/digits.csv.gz")
    if file is not None:
        table = np.loadtxt(file, delimiter=",")
        images, target = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images, target = bunch.images, bunch.target
    return Arrays((images[:, None] / 16).astype(np.float32), target.astype(np.int64))


def _shipped(package: str, name: str) -> Path | None:
    """A file of a package that is not imported for it, which may take most of a second; None if it is not there."""
    found = find_spec(package)
    places = (found.submodule_search_locations or ()) if found else ()
    return next((file for place in places if (file := Path(place) / name).is_file()), None)


def synthetic(
    source: Source,
    *,
    samples: Annotated[int, Gt(0), Doc("how many samples")] = 2000,
    features: Annotated[int | None, Gt(0), Doc("numbers in a sample; 20 where no shape is given")] = None,
    shape: Annotated[Sequence[Size] | None, Doc("shape of a sample instead, e.g. [1, 28, 28]")] = None,
    classes: Annotated[int, Ge(2), Doc("how many classes, all equally frequent")] = 10,
    separation: Annotated[float, Ge(0), Doc("distance of the class centres from the origin")] = 3.0,
    noise: Annotated[float, Ge(0), Doc("standard deviation of each number around its class centre")] = 1.0,
) -> Arrays:
    """A mixture of Gaussians: one centre a class, in a random direction; drawn from the run's seed."""
    if samples < classes:
        raise ScenarioError(
            f"data set synthetic: {samples} samples cannot show {classes} classes; ask for more samples"
        )
    if features is not None and shape is not None:
        raise ScenarioError(
            f"data set synthetic: both features ({features}) and shape ({list(shape)}) are given; leave one out"
        )
    size = shape or (features or 20,)
    rng = generator(source.seed, "dataset")
    centre = rng.standard_normal((classes, prod(size)))
    centre *= separation / np.linalg.norm(centre, axis=1, keepdims=True)
    y = rng.permutation(np.arange(samples) % classes)
    x = np.empty((samples, prod(size)), np.float32)
    step = max(1, _BLOCK // prod(size))
    for first in range(0, samples, step):  # in blocks, for millions of samples in double precision are large
        block = y[first : first + step]
        x[first : first + step] = centre[block] + noise * rng.standard_normal((len(block), prod(size)))
    return Arrays(x.reshape(samples, *size), y)


def _images(source: Source, *, folder: str) -> Arrays:
    return read_folder(_find(source, folder), prefix="")


def mnist(source: Source) -> Arrays:
    """70,000 handwritten digits, 28×28 (LeCun et al. 1998); IDX files from the data folder."""
    return _images(source, folder="mnist")


def fashion_mnist(source: Source) -> Arrays:
    """70,000 pictures of clothes, 28×28, 10 classes (Xiao et al. 2017); IDX files from the data folder."""
    return _images(source, folder="fashion-mnist")


def kmnist(source: Source) -> Arrays:
    """70,000 Japanese letters, 28×28, 10 classes (Clanuwat et al. 2018); IDX files from the data folder."""
    return _images(source, folder="kmnist")


Split: TypeAlias = Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"]


def emnist(source: Source, *, split: Annotated[Split, Doc("which of the published selections")] = "balanced") -> Arrays:
    """Handwritten letters and digits, 28×28 (Cohen et al. 2017); IDX files from the data folder."""
    prefix = f"emnist-{split}-"
    return read_folder(_find(source, "emnist", prefix), prefix)


DATASETS: dict[str, Maker] = {
    "digits": digits,
    "synthetic": synthetic,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "kmnist": kmnist,
    "emnist": emnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "shakespeare": shakespeare,
}


def load(
    name_or_path: str,
    params: Mapping[str, object],
    data_dir: Path | None,
    seed: int,
    folder: Path = Path(),
) -> Dataset:
    """The data set of that name (DATASETS), or that folder or .npz file (see datafiles).

    A relative path counts from `folder`, then from the data folder. Train and test files become one data
    set, for each client gets a train and a test part of its own; labels are renumbered from 0 in rising
    order, but for texts. The data folder is `data_dir`, or else what the environment variable EDGESIM_DATA says.
    Raises ScenarioError: unknown name, missing or broken file.
    """
    named = os.environ.get("EDGESIM_DATA")
    source = Source(data_dir=data_dir or (Path(named) if named else None), seed=seed)
    maker = DATASETS.get(name_or_path) or _own(name_or_path, source, folder)
    try:
        x, y, owner, symbols = maker(source, **params)
    except TypeError as error:
        raise ScenarioError(f"data set {name_or_path}: {dict(params)} does not fit: {error}") from error
    labels, renumbered = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise ScenarioError(f"data set {name_or_path}: all labels are equal; at least 2 classes are wanted")
    return Dataset(
        x=torch.from_numpy(np.ascontiguousarray(x)),
        y=torch.from_numpy((renumbered if symbols is None else y).astype(np.int64)),
        classes=len(labels) if symbols is None else symbols,
        name=name_or_path,
        tokens=symbols is not None,
        owner=owner,
    )


def _own(text: str, source: Source, folder: Path) -> Maker:
    """A maker that reads the user's own files."""
    paths = [home / text for home in (folder, source.data_dir) if home is not None]
    for path in paths:
        if path.is_dir() or (path.suffix == ".npz" and path.is_file()):
            return partial(_read, path=path)
    for path in paths:
        if path.is_file():
            raise ScenarioError(
                f"data set '{text}': {path} is no .npz; write the path of one, or of a folder of IDX files or pictures"
            )
    if text.endswith(".npz") or "/" in text:
        raise ScenarioError(f"data set '{text}': no such file or folder; looked for {listed(paths)}")
    raise ScenarioError(
        f"data set '{text}' is unknown: {advice(text, DATASETS)}; your own data is the path of a folder of "
        "IDX files or pictures, or of an .npz file"
    )


def _read(source: Source, *, path: Path) -> Arrays:
    return read_npz(path) if path.is_file() else read_folder(path, prefix="")


def _called(folder: Path, name: str) -> bool:
    """Whether a folder has the name of a data set; torchvision's is its folder raw."""
    home = folder.resolve()
    return begins(home.parent.name if home.name == "raw" else home.name, name)


def _find(source: Source, name: str, prefix: str = "") -> Path:
    """The folder of IDX files, named `prefix`…, of a published data set."""

    def serves(path: Path) -> bool:
        found = path.is_dir() and any(path.glob(f"{prefix}*images-idx3-ubyte*"))
        if found and not prefix and path == source.data_dir and not _called(path, name):
            raise ScenarioError(
                f"data set {name}: {path} holds IDX files, but nothing says that they are {name}; "
                f"put them into {path / name}"
            )
        return found

    return find(source, name, serves, f"{prefix}…images-idx3-ubyte(.gz)")
