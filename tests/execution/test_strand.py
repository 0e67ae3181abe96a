"""Strands advance one at a time, in their owner's order, and end whatever happens to one of them."""

import threading

import pytest
import torch

from edgesim.execution.strand import Strand


def test_strands_advance_in_turn() -> None:
    said: list[str] = []

    def work(name: str, times: int, strand: Strand) -> None:
        for number in range(times):
            said.append(f"{name}{number}")
            strand.rest()

    strands = [Strand(lambda s, n=name, t=times: work(n, t, s)) for name, times in (("a", 1), ("b", 3), ("c", 2))]  # type: ignore[misc]
    while any(not strand.over for strand in strands):
        for strand in strands:
            if not strand.over:
                strand.go_on()
    assert said == ["a0", "b0", "c0", "b1", "c1", "b2"]


def test_what_a_strand_raises_comes_to_its_owner_once_and_the_others_go_on() -> None:
    done: list[str] = []

    def fail(strand: Strand) -> None:
        strand.rest()
        raise ValueError("in the middle")

    def last(strand: Strand) -> None:
        strand.rest()
        done.append("done")

    failing, other = Strand(fail), Strand(last)
    for strand in (failing, other):
        strand.go_on()
    with pytest.raises(ValueError, match="in the middle"):
        failing.go_on()
    assert failing.over
    other.go_on()
    assert (other.over, done) == (True, ["done"])


@pytest.mark.parametrize("rests", [0, 1], ids=["not begun", "resting"])
def test_an_abandoned_strand_leaves_from_where_it_rests_and_cleans_up(rests: int) -> None:
    told: list[str] = []

    def work(strand: Strand) -> None:
        try:
            strand.rest()
            told.append("went on")
        finally:
            told.append("cleaned up")

    strand, threads = Strand(work), threading.active_count()
    for _ in range(rests):
        strand.go_on()
    strand.abandon()
    strand.abandon()  # once more changes nothing
    assert told == ["cleaned up"] * rests
    assert threading.active_count() == threads


def test_a_strand_at_work_learns_that_it_is_not_wanted() -> None:
    """As after Ctrl-C in the owner, which does not wait for it any more."""
    begun, go = threading.Event(), threading.Event()
    asked: list[bool] = []

    def work(strand: Strand) -> None:
        begun.set()
        go.wait()
        asked.append(strand.is_wanted())

    strand = Strand(work)
    owner = threading.Thread(target=strand.go_on)
    owner.start()
    begun.wait()
    ending = threading.Thread(target=strand.abandon)
    ending.start()
    while not strand._abandoned:
        pass
    go.set()
    for thread in (owner, ending):
        thread.join()
    assert (asked, strand.over) == ([], True)


def test_a_strand_computes_on_as_many_threads_as_its_owner() -> None:
    found: list[int] = []
    Strand(lambda _: found.append(torch.get_num_threads())).go_on()
    assert found == [torch.get_num_threads()]
