"""Checkpoints: a run's whole state in one file that is there or is not (P8).

Plain data and tensors only, so that loading one runs no code. Tensors that several places share (the model
that a cohort was sent) are stored once.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgesim.errors import RunError
from edgesim.results import atomic

FILE = Path("checkpoint") / "state.pt"
_FORMAT = 8
_ARRAY = "__array__"


def save(directory: Path, state: dict[str, Any], scenario_hash: str) -> None:
    """Replace the run's checkpoint by `state`. Raises OSError where the disk does not take it."""
    with atomic.replacing(directory / FILE) as path, path.open("wb") as file:
        try:
            torch.save({"format": _FORMAT, "scenario": scenario_hash, "state": _pack(state)}, file)
        except RuntimeError as error:  # PyTorch's, over a file that it cannot close any more
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(directory: Path, scenario_hash: str) -> dict[str, Any] | None:
    """The run's last checkpoint; None if it was killed before the first.

    Raises RunError for a checkpoint of another scenario or another format, or one that is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    saved = _read(path)
    if saved is None:
        raise RunError(
            f"{path}: this checkpoint is damaged, and the run cannot go on from it; remove {directory}, and once no "
            "other run there is unfinished, `edgesim run` with the same scenario makes this one anew"
        )
    if saved["format"] != _FORMAT or saved["scenario"] != scenario_hash:
        raise RunError(
            f"{path}: a checkpoint of scenario {saved['scenario']} in format {saved['format']}; this run is scenario "
            f"{scenario_hash} in format {_FORMAT}; start it again with `edgesim run --replace`"
        )
    state = _unpack(saved["state"])
    assert isinstance(state, dict)
    return state


def _read(path: Path) -> Any:
    """None unless the content is what was written, by its checksums: PyTorch does not look at them."""
    with path.open("rb") as file:
        try:
            broken = zipfile.ZipFile(file).testzip()
            file.seek(0)
            with torch.serialization.safe_globals([dict]):  # as which flat params are written
                return torch.load(file, weights_only=True) if broken is None else None
        except pickle.UnpicklingError as error:
            raise RunError(
                f"{path}: this checkpoint holds what is neither plain data nor a tensor, most likely in a state of "
                "your own algorithm; states are groups of tensors, so write torch.tensor(value) there, and start the "
                "run again with `edgesim run --replace`"
            ) from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError):
            return None


def _pack(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pack(item) for key, item in value.items()}
    return {_ARRAY: torch.from_numpy(value)} if isinstance(value, np.ndarray) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {key: _unpack(item) for key, item in value.items()}
    return value
