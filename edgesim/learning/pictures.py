"""Pictures in folders: PNG and JPEG files, in one folder a class, or in such folders under train and test."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.learning.sources import contents

_PARTS = ("train", "val", "test")
_ENDINGS = (".png", ".jpg", ".jpeg")
Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]


def holds_pictures(folder: Path) -> bool:
    """Whether there is at least one picture in a class's folder."""
    return any(_pictures(kind) for part in _parts(folder) for kind in _folders(part))


def read_pictures(folder: Path) -> Pictures:
    """All pictures, uint8 [n, 1 or 3, height, width], and the numbers of their classes.

    Classes are numbered in the order of their folders' names, numbers by value; training files come first, and
    files in the order of their names. Grey pictures among coloured ones become coloured. Raises ScenarioError for
    a picture that cannot be read or has another size than the first.
    """
    kinds = sorted({kind.name for part in _parts(folder) for kind in _folders(part)}, key=_by_value)
    found = [
        (path, label)
        for part in _parts(folder)
        for label, name in enumerate(kinds)
        for path in _pictures(part / name)
    ]  # fmt: skip
    if not found:
        raise ScenarioError(f"{folder}: no class's folder holds PNG or JPEG files; there are {contents(folder)}")
    read = [_pixels(path) for path, _ in found]
    for (path, _), pixels in zip(found, read, strict=True):
        if pixels.shape[1:] != read[0].shape[1:]:
            size, first = ("×".join(map(str, shape[1:])) for shape in (pixels.shape, read[0].shape))
            raise ScenarioError(f"{path}: {size} pixels, and {found[0][0].name} has {first}; one size is wanted")
    channels = max(len(pixels) for pixels in read)
    whole = [np.broadcast_to(pixels, (channels, *pixels.shape[1:])) for pixels in read]
    return np.stack(whole), np.array([label for _, label in found])


def _parts(folder: Path) -> list[Path]:
    """The folders that hold the classes' folders."""
    parts = [folder / part for part in _PARTS if (folder / part).is_dir()]
    return parts or [folder]


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS), key=lambda path: _by_value(path.stem)
    )


def _by_value(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (-1, name)


def _pixels(path: Path) -> NDArray[np.uint8]:
    """[1 or 3, height, width]"""
    from PIL import Image  # only who reads pictures needs it

    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ScenarioError(f"{path}: cannot be read as a picture: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
