"""Pictures in folders: PNG, JPEG, BMP and WebP, in one folder a class, or in such folders under train and test."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.learning.sources import PARTS, contents

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]


def holds_pictures(folder: Path) -> bool:
    """Whether there is at least one picture in a class's folder."""
    return any(_pictures(kind) for part in _parts(folder) for kind in _folders(part))


def read_pictures(folder: Path) -> Pictures:
    """All pictures, uint8 [n, 1 or 3, height, width], and the numbers of their classes.

    Classes are numbered in the order of their folders' names, numbers by value; training files come first, and
    files in the order of their names. Grey pictures among coloured ones become coloured. Raises ScenarioError for
    a class without pictures, and for a picture that cannot be read, has 16 bits a pixel, is transparent or has
    another size than the first.
    """
    kinds = sorted({kind.name for part in _parts(folder) for kind in _folders(part)}, key=_by_value)
    found = [
        (path, label)
        for part in _parts(folder)
        for label, name in enumerate(kinds)
        for path in _pictures(part / name)
    ]  # fmt: skip
    if not found:
        raise ScenarioError(f"{folder}: no class's folder holds pictures; there are {contents(folder)}")
    bare = sorted(set(range(len(kinds))) - {label for _, label in found})
    if bare:
        place = next(part / kinds[bare[0]] for part in _parts(folder) if (part / kinds[bare[0]]).is_dir())
        raise ScenarioError(
            f"{place}: holds no {', '.join(_ENDINGS)}, but {contents(place)}; convert these, or take the folder away"
        )
    read = [_pixels(path) for path, _ in found]
    for (path, _), pixels in zip(found, read, strict=True):
        if pixels.shape[1:] != read[0].shape[1:]:
            size, first = ("×".join(map(str, shape[1:])) for shape in (pixels.shape, read[0].shape))
            raise ScenarioError(f"{path}: {size} pixels, and {found[0][0].name} has {first}; one size is wanted")
    channels = max(len(pixels) for pixels in read)
    whole = [np.broadcast_to(pixels, (channels, *pixels.shape[1:])) for pixels in read]
    return np.stack(whole), np.array([label for _, label in found])


def _parts(folder: Path) -> list[Path]:
    """The folders that hold the classes' folders; a folder train without folders is a class of that name."""
    parts = [folder / part for part in PARTS if _folders(folder / part)]
    for beside in _folders(folder) if parts else ():
        if beside not in parts and _pictures(beside):
            raise ScenarioError(
                f"{beside}: holds pictures, where {parts[0].name} beside it holds a folder for each class; "
                "sort them likewise, or take the folder away"
            )
    return parts or [folder]


def _folders(folder: Path) -> list[Path]:
    """What a folder holds of them, hidden ones apart."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


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
            pixels = np.asarray(_opaque(picture, path).convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ScenarioError(f"{path}: cannot be read as a picture: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _opaque(picture: "Image", path: Path) -> "Image":
    """The picture without its alpha channel, which must not hold any of what it shows."""
    if picture.mode.startswith("I"):
        raise ScenarioError(f"{path}: has 16 bits a pixel; save it with 8, or write the numbers to an .npz")
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    whole = picture.convert("RGBA")
    if whole.getchannel("A").getextrema() != (255, 255):
        raise ScenarioError(f"{path}: parts of it are transparent; save it upon a background, e.g. white")
    return whole
