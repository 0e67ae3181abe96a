"""Data files: IDX (MNIST and its kin, plain or gzipped) and npz, as float32 samples and integer labels.

IDX: bytes 0, 0, type, number of dimensions; each dimension as a big-endian uint32; then the values
(http://yann.lecun.com/exdb/mnist/). An npz holds x and y, or x_train, y_train, x_test and y_test.
Pictures (uint8) are scaled to [0, 1] and laid out [sample, channel, height, width]; other types keep their
values and shape.
"""

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesim.errors import ScenarioError

Arrays: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]
AnyArray: TypeAlias = NDArray[Any]
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_folder(folder: Path, prefix: str) -> Arrays:
    """All samples of a folder: its IDX files named `prefix`…, training files first; or else its one npz."""
    found = sorted(folder.glob(f"{prefix}*images-idx3-ubyte*"), key=lambda path: ("train" not in path.name, path.name))
    if found:
        pairs = [tidy(read_idx(path), read_idx(_labels_of(path)), path) for path in found]
        return _joined(pairs, folder)
    archives = sorted(folder.glob("*.npz"))
    if len(archives) == 1 and not prefix:
        return read_npz(archives[0])
    raise ScenarioError(
        f"{folder}: {len(archives)} .npz files and no {prefix}…images-idx3-ubyte(.gz); "
        "one npz, or IDX files, are wanted"
    )


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
    """The samples of an npz: x and y, or x_train, y_train and then x_test, y_test."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files if name[:2] in ("x", "y", "x_", "y_")}
            names = ", ".join(archive.files)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ScenarioError(f"{path}: cannot be read as npz: {error}") from error
    ends = [end for end in ("", "_train", "_test") if f"x{end}" in held and f"y{end}" in held]
    if not ends or ("" in ends and len(ends) > 1):
        raise ScenarioError(f"{path}: holds {names}; x and y, or x_train, y_train, x_test and y_test, are wanted")
    return _joined([tidy(held[f"x{end}"], held[f"y{end}"], path) for end in ends], path)


def tidy(x: AnyArray, y: AnyArray, path: Path) -> Arrays:
    """Samples as float32 and labels as int64, checked; `path` is for the error."""
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ScenarioError(f"{path}: labels are {y.dtype} {list(y.shape)}; whole numbers, one a sample, are wanted")
    if x.ndim < 2 or len(x) != len(y):
        raise ScenarioError(f"{path}: samples are {list(x.shape)} for {len(y)} labels; one row a label is wanted")
    if x.dtype.kind not in "fiu":
        raise ScenarioError(f"{path}: samples are {x.dtype}; numbers are wanted")
    if x.dtype == np.uint8:
        scaled = _channels_first(x).astype(np.float32)
        scaled /= 255  # in place: a large data set should not be held twice
        return scaled, y.astype(np.int64)
    if not np.isfinite(x).all():
        raise ScenarioError(f"{path}: some samples are not finite numbers; remove or fill them")
    return x.astype(np.float32), y.astype(np.int64)


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


def _joined(pairs: list[Arrays], path: Path) -> Arrays:
    shapes = {x.shape[1:] for x, _ in pairs}
    if len(shapes) > 1:
        raise ScenarioError(f"{path}: train and test samples differ in shape: {sorted(map(list, shapes))}")
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
