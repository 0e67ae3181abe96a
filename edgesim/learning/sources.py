"""Where data may come from: the user's data folder and what lies in it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgesim.errors import ScenarioError

PARTS = ("train", "val", "valid", "validation", "test")
"""What the parts of a data set may be called, in the order in which they are read."""
_SHOWN = 6  # names of files in an error


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where data may come from. Attributes: data_dir, the user's data folder, if any; seed, of the run."""

    data_dir: Path | None
    seed: int


def find(source: Source, name: str, serves: Callable[[Path], bool], wanted: str, *aliases: str) -> Path:
    """The place of a published data set: the first that `serves`.

    Looked at are <data>/<name>, with - or _, then what else in the data folder begins with that name (and no
    digit after it: cifar10 is not cifar100) and raw in it, the same for its `aliases`, then the data folder itself.
    Raises ScenarioError, with what was looked for and what was found, where none serves.
    """
    if source.data_dir is None:
        raise ScenarioError(
            f"data set {name}: no data folder is known; set task.data_dir in the scenario "
            "or EDGESIM_DATA in the environment"
        )
    places = list(dict.fromkeys(place for n in (name, *aliases) for place in _places(source.data_dir, n)))
    places.append(source.data_dir)
    for place in places:
        if place.exists() and serves(place):
            return place
    raise ScenarioError(
        f"data set {name}: no {wanted} in {listed(places)} ({_held(places)}); put the files there, or point "
        "task.data_dir or EDGESIM_DATA elsewhere"
    )


def _places(data_dir: Path, name: str) -> Iterator[Path]:
    yield data_dir / name
    yield data_dir / name.replace("-", "_")
    for path in sorted(data_dir.iterdir()) if data_dir.is_dir() else []:
        if begins(path.name, name):
            yield path
            if (path / "raw").is_dir():  # where torchvision leaves its files
                yield path / "raw"


def begins(text: str, name: str) -> bool:
    """Whether a file's or folder's name begins with that of a data set, whatever its capitals, - and _."""
    plain, own = (word.lower().replace("-", "").replace("_", "") for word in (name, text))
    return own.startswith(plain) and not own[len(plain) :][:1].isdigit()


def _held(places: Iterable[Path]) -> str:
    """What there is instead."""
    there = [place for place in places if place.is_dir()]
    return "; ".join(f"{place.name} holds {contents(place)}" for place in there) or "there are no such folders"


def contents(folder: Path) -> str:
    """The first names in a folder, for an error."""
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "nothing"


def listed(places: Iterable[Path]) -> str:
    """Paths, for an error."""
    return ", ".join(map(str, places))
