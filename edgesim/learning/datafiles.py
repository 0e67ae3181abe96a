"""Data files: IDX (MNIST and its kin, plain or gzipped), npz and pictures, as float32 samples and integer labels.

IDX: bytes 0, 0, type, number of dimensions; each dimension as a big-endian uint32; then the values
(http://yann.lecun.com/exdb/mnist/). An npz holds x and y, or x_train, y_train, x_test and y_test, perhaps x_val
and y_val (valid, validation). The samples may also be called images or data, the labels labels or targets, and the
part may come first: train_images. An array client, user, writer, subject or owner, split likewise, says whose each
sample is.
Pictures (uint8) are scaled to [0, 1] and laid out [sample, channel, height, width]; other types keep their
values and shape.
"""

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.learning.pictures import holds_pictures, read_pictures
from edgesim.learning.sources import PARTS, contents

AnyArray: TypeAlias = NDArray[Any]
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_WORDS = {
    "x": ("x", "images", "data"),
    "y": ("y", "labels", "targets"),
    "owner": ("client", "user", "writer", "subject", "owner"),
}
_PARTS = ("", *PARTS)


class Arrays(NamedTuple):
    """Samples as they are read.

    Attributes: x, float32 [n, *shape], or int64 [n, length] tokens; y, int64 [n]; owner, whose each is: any numbers
    [n], or None; symbols, how many there are if x holds tokens: x and y are then 0 … symbols − 1.
    """

    x: AnyArray
    y: NDArray[np.int64]
    owner: NDArray[np.int64] | None = None
    symbols: int | None = None


def read_folder(folder: Path, prefix: str) -> Arrays:
    """All samples of a folder: its IDX files named `prefix`…, training files first; or its one npz; or pictures."""
    found = _image_files(folder, prefix)
    if found:
        pairs = [tidy(read_idx(path), read_idx(_labels_of(path)), path) for path in found]
        return _joined(pairs, folder)
    archives = sorted(folder.glob("*.npz"))
    if len(archives) == 1 and not prefix:
        return read_npz(archives[0])
    if not archives and not prefix and holds_pictures(folder):
        return tidy(*read_pictures(folder), folder)
    raise ScenarioError(
        f"{folder}: holds {contents(folder)}; one .npz, IDX files named {prefix}…images-idx3-ubyte(.gz), "
        "or a folder of pictures for each class, are wanted"
    )


def _image_files(folder: Path, prefix: str) -> list[Path]:
    """The IDX files of images, training files first; the plain one where it is gzipped, too."""
    plain_last = sorted(folder.glob(f"{prefix}*images-idx3-ubyte*"), reverse=True)
    found = {path.name.removesuffix(".gz"): path for path in plain_last}
    families = {_family(name): name for name in found}
    if len(families) > 1:
        raise ScenarioError(
            f"{folder}: {' and '.join(sorted(families.values()))} belong to different data sets; "
            "put each into a folder of its own"
        )
    return sorted(found.values(), key=lambda path: ("train" not in path.name, path.name))


def _family(name: str) -> str:
    """What a file's name begins with, its part apart: emnist-letters of emnist-letters-train-images-idx3-ubyte."""
    return re.sub("-?(train|t10k|test|val)[^-]*$", "", name.partition("images-idx3")[0].rstrip("-"))


def read_idx(path: Path) -> AnyArray:
    """The array in one IDX file. ScenarioError names the file when it is cut short or is something else."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ScenarioError(f"{path}: cannot be read, fetch it again: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise ScenarioError(f"{path}: not an IDX file: it begins with {data[:4].hex(' ') or 'nothing'}")
    kind, dims = np.dtype(_TYPES[data[2]]), data[3]
    start = 4 + 4 * dims
    if len(data) < start:
        raise ScenarioError(f"{path}: cut short within its header, fetch it again")
    shape = struct.unpack(f">{dims}I", data[4:start])
    wanted = start + math.prod(shape) * kind.itemsize
    if len(data) != wanted:
        raise ScenarioError(
            f"{path}: {len(data)} bytes, but its header {list(shape)} promises {wanted}; fetch it again"
        )
    return np.frombuffer(data, kind, offset=start).reshape(shape)


def read_npz(path: Path) -> Arrays:
    """The samples of an npz, training samples first; the top of this file says what its arrays may be called."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # of which numpy says that it might be a pickle
                raise zipfile.BadZipFile("it is cut short, or is not what numpy.savez writes")
        with np.load(path, allow_pickle=False) as archive:
            names = {(role, part): _name(archive.files, role, part, path) for role in _WORDS for part in _PARTS}
            parts = _labelled(names, archive.files, path)
            read = [_part(archive, names, part, path) for part in parts]
            kinds = {names["x", part]: kind for part, (_, kind) in zip(parts, read, strict=True)}
            if len(set(kinds.values())) > 1:
                held = " and ".join(f"{name} is {kind}" for name, kind in kinds.items())
                raise ScenarioError(f"{path}: {held}; write all with one type, for bytes alone are scaled to 0 … 1")
            return _joined([part for part, _ in read], path)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ScenarioError(f"{path}: cannot be read as npz: {error}") from error


def _name(names: list[str], role: str, part: str, path: Path) -> str | None:
    """What the array of that role and part is called."""
    spelled = {f"{word}_{part}".strip("_") for word in _WORDS[role]} | {
        f"{part}_{word}".strip("_") for word in _WORDS[role]
    }
    found = [name for name in names if name.lower() in spelled]
    if len(found) > 1:
        raise ScenarioError(f"{path}: {' and '.join(found)} could be the same; keep one of them")
    return found[0] if found else None


def _labelled(names: Mapping[tuple[str, str], str | None], held: list[str], path: Path) -> list[str]:
    """The parts that are there, each of them with its labels."""
    parts = [part for part in _PARTS if names["x", part] and names["y", part]]
    if not parts or ("" in parts and len(parts) > 1):
        raise ScenarioError(
            f"{path}: holds {', '.join(held)}; x and y, or x_train, y_train, x_test and y_test, are wanted"
        )
    lone = [name for part in _PARTS if part not in parts and (name := names["x", part])]
    if lone:
        raise ScenarioError(f"{path}: {lone[0]} comes without labels; add them, or leave {lone[0]} out")
    return parts


def _part(
    archive: Any, names: Mapping[tuple[str, str], str | None], part: str, path: Path
) -> tuple[Arrays, np.dtype[Any]]:
    """The samples of a part, and the type of number in which they were written."""
    x = archive[names["x", part]]
    read, kind = tidy(x, archive[names["y", part]], path), x.dtype
    who = names["owner", part]
    if who is None:
        return read, kind
    owner = archive[who]
    if owner.shape != read.y.shape or owner.dtype.kind not in "iuSU":
        raise ScenarioError(
            f"{path}: {who} is {owner.dtype} {list(owner.shape)}; one number or name a sample is wanted"
        )
    return read._replace(owner=owner), kind


def tidy(x: AnyArray, y: AnyArray, path: Path) -> Arrays:
    """Samples as float32 and labels as int64, checked; `path` is for the error."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ScenarioError(f"{path}: labels are {y.dtype} {list(y.shape)}; whole numbers, one a sample, are wanted")
    if x.ndim < 2 or len(x) != len(y):
        raise ScenarioError(f"{path}: samples are {list(x.shape)} for {len(y)} labels; one row a label is wanted")
    if x.dtype.kind not in "fiu":
        raise ScenarioError(f"{path}: samples are {x.dtype}; numbers are wanted")
    if x.dtype == np.uint8:
        scaled = _channels_first(x).astype(np.float32)
        scaled /= 255  # in place: a large data set should not be held twice
        return Arrays(scaled, y.astype(np.int64))
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    if not np.isfinite(single).all():
        raise ScenarioError(f"{path}: some samples are not finite numbers, or beyond 3.4e38; remove or fill them")
    return Arrays(single, y.astype(np.int64))


def _channels_first(x: AnyArray) -> AnyArray:
    """[n, h, w] and [n, h, w, 1|3|4] become [n, c, h, w]; anything else stays."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        return x.transpose(0, 3, 1, 2)
    return x


def _labels_of(images: Path) -> Path:
    """The label file of an image file, plain or gzipped."""
    stem = images.name.removesuffix(".gz").replace("images-idx3", "labels-idx1")
    for path in (images.with_name(stem), images.with_name(stem + ".gz")):
        if path.is_file():
            return path
    raise ScenarioError(f"{images}: its labels, {stem} or {stem}.gz, are not beside it")


def _joined(parts: list[Arrays], path: Path) -> Arrays:
    shapes = {part.x.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ScenarioError(f"{path}: train and test samples differ in shape: {sorted(map(list, shapes))}")
    x, y = np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    if not len(y):
        raise ScenarioError(f"{path}: holds no samples")
    owners = [part.owner for part in parts if part.owner is not None]
    if not owners:
        return Arrays(x, y)
    if len(owners) < len(parts):
        raise ScenarioError(f"{path}: only some of its parts say whose their samples are; all or none is wanted")
    kind = np.result_type(*owners)  # a float for int64 with uint64, which would make neighbours of 2^60 the same
    whole: AnyArray = np.concatenate(owners, dtype=object if kind.kind == "f" else kind)
    return Arrays(x, y, np.unique(whole, return_inverse=True)[1])
