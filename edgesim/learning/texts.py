"""Texts as sequences of characters, each with the character that follows it as its label."""

import re
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray
from typing_extensions import Doc

from edgesim.errors import ScenarioError
from edgesim.learning.datafiles import Arrays
from edgesim.learning.sources import Source, find

_ROLE = re.compile(r"^(?:([^\n]+):\n)?(.*)$", re.DOTALL)


def shakespeare(
    source: Source,
    *,
    length: Annotated[int, Gt(0), Doc("characters in a sample")] = 80,
    stride: Annotated[int, Gt(0), Doc("characters from the start of one sample to that of the next")] = 20,
) -> Arrays:
    """Next character in plays, by speaking role, as in LEAF (Caldas et al. 2018); one .txt from the data folder.

    The file is plain: "ROLE:" on a line of its own, then what is said, then an empty line. No sample spans two
    roles; the partition `natural` makes each client a role. LEAF's samples start at every character (stride 1).
    """
    path = _file(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text: {error}") from error
    symbols, codes = np.unique(_characters(text), return_inverse=True)
    samples = [_windows(np.concatenate(said), length, stride) for said in _roles(text, codes, path).values()]
    x, y = np.concatenate([x for x, _ in samples]), np.concatenate([y for _, y in samples])
    if not len(y):
        raise ScenarioError(f"{path}: no role says more than {length} characters; write a smaller length")
    owner = np.repeat(np.arange(len(samples)), [len(y) for _, y in samples])
    return Arrays(x, y, owner, symbols=len(symbols))


def _file(source: Source) -> Path:
    def serves(path: Path) -> bool:
        return path.suffix == ".txt" or (path != source.data_dir and path.is_dir() and len([*path.glob("*.txt")]) == 1)

    place = find(source, "shakespeare", serves, "one .txt file", "tinyshakespeare")
    return place if place.is_file() else next(place.glob("*.txt"))


def _characters(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _roles(text: str, codes: NDArray[np.int64], path: Path) -> dict[str, list[NDArray[np.int64]]]:
    """What each role says, speech by speech, in the order of first words; a speech ends with its line break."""
    said: dict[str, list[NDArray[np.int64]]] = {}
    role, at = None, 0
    for block in re.split(r"(\n\n+)", text):
        found = _ROLE.match(block)
        if found and block.strip():
            role = found[1] or role
            if role is None:
                raise ScenarioError(f"{path}: it begins with {block[:30]!r}; the name of a role and a colon are wanted")
            said.setdefault(role, []).append(codes[at + found.start(2) : at + len(block) + 1])
        at += len(block)
    return said


def _windows(codes: NDArray[np.int64], length: int, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples [n, length] and what follows each [n]."""
    start = np.arange(0, len(codes) - length, stride)
    return codes[start[:, None] + np.arange(length)], codes[start + length]
