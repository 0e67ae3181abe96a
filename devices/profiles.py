"""Profiles: devices and links by name, from the catalogue that ships with edgesim or from the user's own files.

What a file may say is in `format`.
"""

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, TypeAlias

from edgesim.devices.device import Device
from edgesim.devices.format import DeviceProfile
from edgesim.devices.link import Link
from edgesim.devices.linkformat import LinkProfile
from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.spelling import advice

__all__ = [
    "Device", "Link", "devices", "links", "find_device", "find_link", "read_folder", "DeviceProfile", "LinkProfile",
]  # fmt: skip

Kind: TypeAlias = Literal["device", "link"]
_SUFFIX = ".yaml"


def devices() -> dict[str, Device]:
    """The catalogue's devices by name, slowest first."""
    return _devices_of(_catalogue())


def links() -> dict[str, Link]:
    """The catalogue's links by name, slowest first."""
    return _links_of(_catalogue())


def read_folder(folder: Path) -> tuple[dict[str, Device], dict[str, Link]]:
    """Devices and links of a user's own folder, each slowest first.

    Raises:
        ScenarioError: no such folder, no profile in it, a file with mistakes, or a name of the catalogue's.
    """
    if not folder.is_dir():
        raise ScenarioError(f"no folder of profiles at {folder}")
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    if not paths:
        raise ScenarioError(f"{folder}: no profile in it; a profile is a file like my-board.yaml")
    found = [_own(path) for path in paths]
    return _devices_of(found), _links_of(found)


def find_device(name_or_path: str, folder: Path, profiles: Path | None = None) -> Device:
    """A device by its name in the folder `profiles` or in the catalogue, or from a .yaml file relative to `folder`.

    Raises:
        ValueError: no such name or file; the message has the nearest name and all of them.
        ScenarioError: the file is there but is not a device profile, or the name is in both places.
    """
    found = _find(name_or_path, folder, profiles, "device")
    assert isinstance(found, Device)
    return found


def find_link(name_or_path: str, folder: Path, profiles: Path | None = None) -> Link:
    """A link by its name in the folder `profiles` or in the catalogue, or from a .yaml file relative to `folder`.

    Raises:
        ValueError: no such name or file; the message has the nearest name and all of them.
        ScenarioError: the file is there but is not a link profile, or the name is in both places.
    """
    found = _find(name_or_path, folder, profiles, "link")
    assert isinstance(found, Link)
    return found


def _find(text: str, folder: Path, profiles: Path | None, kind: Kind) -> Device | Link:
    if text.endswith((_SUFFIX, ".yml")):
        path = folder / text
        if not path.is_file():
            raise ValueError(f"no {kind} profile at {path}; a path is relative to the scenario's folder")
        return _read(path, kind)
    own = None if profiles is None else profiles / f"{text}{_SUFFIX}"
    if own is not None and own.is_file():
        return _own(own, kind)
    shipped = _shipped(text)
    if shipped is None or not isinstance(shipped, _TYPES[kind]):
        raise ValueError(_unknown(kind, text, profiles))
    return shipped


_TYPES: dict[Kind, type[Device] | type[Link]] = {"device": Device, "link": Link}


def _own(path: Path, wanted: Kind | None = None) -> Device | Link:
    """A profile of the user's folder; not by a name of the catalogue, for which was meant could not be told."""
    if _shipped(path.stem) is not None:
        raise ScenarioError(
            f"{path}: {path.stem} is also in the catalogue, {_place(path.stem)}; rename one (its file and the "
            "name in it), or name this file by its path"
        )
    return _named(_read(path, wanted), path)


def _unknown(kind: Kind, text: str, profiles: Path | None) -> str:
    known: dict[str, Device] | dict[str, Link] = devices() if kind == "device" else links()
    own = read_folder(profiles)[0 if kind == "device" else 1] if profiles is not None else {}
    return (
        f"unknown {kind} {text!r}; {advice(text, [*own, *known])}; or give the path of your own {kind} profile (.yaml)"
    )


def _read(path: Path, wanted: Kind | None = None) -> Device | Link:
    """A profile, of the wanted kind if one is wanted."""
    document = Document.read(path)
    keys = document.data if isinstance(document.data, dict) else {}
    said: list[Kind] = [kind for kind in _TYPES if kind in keys]
    kind = said[0] if len(said) == 1 else (wanted or "device")
    if wanted not in (None, kind):
        raise ScenarioError(f"{path}: this is a {kind} profile; a {wanted} profile is wanted")
    return check(document, DeviceProfile).build() if kind == "device" else check(document, LinkProfile).build()


def _named(found: Device | Link, path: Path) -> Device | Link:
    if found.name != path.stem:
        raise ScenarioError(f"{path}: the name inside, {found.name}, must be the file's, as it is looked up by it")
    return found


def _devices_of(found: list[Device | Link]) -> dict[str, Device]:
    some = [one for one in found if isinstance(one, Device)]
    return {device.name: device for device in sorted(some, key=lambda device: device.compute_flops)}


def _links_of(found: list[Device | Link]) -> dict[str, Link]:
    some = [one for one in found if isinstance(one, Link)]
    return {link.name: link for link in sorted(some, key=lambda link: link.down_bps)}


def _place(name: str) -> str:
    return f"{files('edgesim.devices') / name}{_SUFFIX}"


@cache
def _shipped(name: str) -> Device | Link | None:
    """An entry of the catalogue; only its own file is read."""
    entry = files("edgesim.devices") / f"{name}{_SUFFIX}"
    if "/" in name or not entry.is_file():
        return None
    with as_file(entry) as path:
        return _named(_read(path), path)


def _catalogue() -> list[Device | Link]:
    names = sorted(entry.name for entry in files("edgesim.devices").iterdir() if entry.name.endswith(_SUFFIX))
    found = [_shipped(name.removesuffix(_SUFFIX)) for name in names]
    return [one for one in found if one is not None]
