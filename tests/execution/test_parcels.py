"""Parcels: values cross a wire as they are, in memory that is used again."""

from collections.abc import Iterator
from mmap import mmap
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch
from torch import Tensor

from edgesim.execution import shared
from edgesim.execution.shared import Parcel, Shelf, receive

LARGE = shared._SMALL  # values of 4 bytes each: four times what goes as a message

Wire = tuple[Connection, Connection]


@pytest.fixture
def wire() -> Iterator[Wire]:
    ends = Pipe()
    yield ends
    for end in ends:
        end.close()


def crossed(wire: Wire, value: Tensor, shelf: Shelf, known: dict[int, mmap]) -> tuple[Tensor, int]:
    """The value as it comes out, and the place that it lay at."""
    parcel = Parcel([value], shelf)
    parcel.send(wire[0])
    found: Tensor = receive(wire[1], known).copy(0)
    parcel.close()
    return found, parcel._room.place


def test_values_cross_whatever_lay_there_before(wire: Wire) -> None:
    shelf, known = Shelf(), dict[int, mmap]()
    for sizes in ([LARGE, 2 * LARGE, 10], [2 * LARGE, LARGE, LARGE], [LARGE, LARGE, LARGE, LARGE]):
        shelf.clear()
        values = [torch.rand(size) for size in sizes]
        for value in values:
            found, _ = crossed(wire, value, shelf, known)
            assert torch.equal(found, value)


def test_memory_is_used_again_once_all_has_been_read(wire: Wire) -> None:
    shelf, known = Shelf(), dict[int, mmap]()
    places = []
    for size in (LARGE, LARGE // 2):
        shelf.clear()
        places.append([crossed(wire, torch.rand(size), shelf, known)[1] for _ in range(3)])
    assert places == [[0, 1, 2]] * 2
    assert len(known) == 3


def test_what_was_sent_since_is_not_written_over(wire: Wire) -> None:
    shelf, known = Shelf(), dict[int, mmap]()
    first, second = torch.rand(LARGE), torch.rand(LARGE)
    for value in (first, second):
        Parcel([value], shelf).send(wire[0])
    assert torch.equal(receive(wire[1], known).copy(0), first)
    assert torch.equal(receive(wire[1], known).copy(0), second)


def test_a_full_shelf_takes_no_more(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_SHELF", 10 * LARGE)
    shelf, known = Shelf(), dict[int, mmap]()
    values = [torch.rand(LARGE) for _ in range(4)]  # each of 4 · LARGE bytes, and a little
    found, places = zip(*(crossed(wire, value, shelf, known) for value in values), strict=True)
    assert all(torch.equal(one, value) for one, value in zip(found, values, strict=True))
    assert places == (0, 1, -1, -1)


def test_small_values_need_no_memory_of_their_own(wire: Wire) -> None:
    found, place = crossed(wire, torch.arange(3), Shelf(), {})
    assert (found.tolist(), place) == ([0, 1, 2], -1)
