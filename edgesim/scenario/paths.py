"""Paths in a scenario: what they count from, and that something is there."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def folder_of(info: ValidationInfo) -> Path:
    """What relative paths count from: the scenario's folder, or where Python runs."""
    return Path((info.context or {}).get("folder", "."))


def profiles_of(info: ValidationInfo) -> Path | None:
    """The folder of the user's own profiles, if the scenario names one that exists."""
    text = (info.context or {}).get("profiles")
    folder = folder_of(info) / text if isinstance(text, str) else None
    return folder if folder is not None and folder.is_dir() else None


def stamp(path: Path) -> int:
    """Changes when the file does."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _is_folder(text: str, info: ValidationInfo) -> str:
    if not (folder_of(info) / text).is_dir():
        raise ValueError(f"there is no folder {folder_of(info) / text}; a path counts from the scenario's folder")
    return text


def _is_file(text: str, info: ValidationInfo) -> str:
    if not (folder_of(info) / text).is_file():
        raise ValueError(f"there is no file {folder_of(info) / text}; a path counts from the scenario's folder")
    return text


FolderPath = Annotated[str, AfterValidator(_is_folder)]
FilePath = Annotated[str, AfterValidator(_is_file)]
