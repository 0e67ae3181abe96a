"""The Trace Event Format, which ui.perfetto.dev and chrome://tracing open: events as lines of JSON, and their file.

Described at https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. What viewers ask besides:

- Perfetto takes a thread's number to be unique among all processes, 0 to be none, and that of its process for it
  where there is none: numbers of processes and of threads must differ.
- Pieces of one track follow each other or lie one in the other; those that overlap otherwise are dropped.
- An arrow begins and ends at the piece of its track that began last, in the order of time and, at one instant, of the
  file. It leads from the piece that began first, whatever was said.
- Times are microseconds, with as many digits after the point as one likes. `displayTimeUnit` is left out: there are
  versions of Perfetto that read times in that unit.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from edgesim.results import atomic

_LINES = 4096  # written at once
_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Track(NamedTuple):
    """A row of the picture."""

    process: int
    thread: int


def process(track: Track, name: str, place: int) -> Iterator[str]:
    """The name of a track's process, and its place among all."""
    yield _named("process_name", track, {"name": name})
    yield _named("process_sort_index", track, {"sort_index": place})


def thread(track: Track, name: str, place: int) -> Iterator[str]:
    """The name of a track, and its place within its process."""
    yield _named("thread_name", track, {"name": name})
    yield _named("thread_sort_index", track, {"sort_index": place})


def piece(
    track: Track, name: str, start_ns: int, end_ns: int, *, kind: str, colour: str, told: Mapping[str, Any]
) -> str:
    """What a track does from start to end; `kind` is what to filter by, `told` what is told of it on a click."""
    length = f'"dur":{_us(end_ns - start_ns)},"cat":{_text(kind)},"cname":"{colour}"'
    return f'{{"ph":"X","name":{_text(name)},{_where(track, start_ns)},{length},"args":{_text(told)}}}'


def arrow(kind: str, number: int, start: tuple[Track, int], end: tuple[Track, int]) -> Iterator[str]:
    """An arrow from one track's piece at an instant to another's; no other one has its number."""
    named = f'"cat":"{kind}","name":"{kind}","id":{number}'
    yield f'{{"ph":"s",{named},{_where(*start)}}}'
    yield f'{{"ph":"f","bp":"e",{named},{_where(*end)}}}'


def level(track: Track, name: str, unit: str, at_ns: int, value: float) -> str:
    """What a curve of a track's process stands at, from an instant on."""
    return f'{{"ph":"C","name":{_text(name)},{_where(track, at_ns)},"args":{_text({unit: value})}}}'


def write(path: Path, lines: Iterable[str], about: Mapping[str, Any]) -> None:
    """The file, compressed if its name ends in .gz. It is whole or not there; equal lines give equal bytes."""
    with _target(path) as target, target.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                _write(packed, lines, about)
        else:
            _write(file, lines, about)


def _write(file: IO[bytes] | gzip.GzipFile, lines: Iterable[str], about: Mapping[str, Any]) -> None:
    file.write(b'{"traceEvents":[\n')
    rest = iter(lines)
    between = ""
    for first in rest:
        file.write((between + ",\n".join(chain([first], islice(rest, _LINES - 1)))).encode())
        between = ",\n"
    file.write(f'\n],"otherData":{_text(about)}}}\n'.encode())


@contextmanager
def _target(path: Path) -> Iterator[Path]:
    """Where to write: beside the place of the file, unless that is a pipe or the like."""
    if path.exists() and not path.is_file():
        yield path
        return
    with atomic.replacing(path) as temporary:
        try:
            yield temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _named(what: str, track: Track, told: Mapping[str, Any]) -> str:
    return f'{{"ph":"M","name":"{what}","pid":{track.process},"tid":{track.thread},"args":{_text(told)}}}'


def _where(track: Track, at_ns: int) -> str:
    return f'"ts":{_us(at_ns)},"pid":{track.process},"tid":{track.thread}'


def _us(ns: int) -> str:
    """Nanoseconds as microseconds, to the digit."""
    return f"{ns // 1000}.{ns % 1000:03d}"
