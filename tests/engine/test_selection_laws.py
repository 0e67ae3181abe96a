"""Laws of all selectors: whom they may choose, that the seed says it all, and that a pause changes nothing."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from choosing import Past, candidates, facts
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Counting, events, fleet

from edgesim.devices.availability import Markov
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.engine.selection import SELECTORS, IdleClients, Selector
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in SELECTORS},
    "fastest-by-last": ("fastest-available", {"by": "last", "exploration": 0.3}),
    "power-of-choice-uniform": ("power-of-choice", {"draw_by": "uniform", "candidates": 3}),
    "refl-adaptive": ("refl", {"adaptive": True, "rest": 1}),
    "oort-soon": ("oort", {"exploration": 0.5, "pacer_step": 2, "most_jobs": 3}),
}
ADAPTIVE = {"refl-adaptive", "oort-soon"}  # which may choose fewer than there are
every_kind = pytest.mark.parametrize("name", KINDS)


def made(name: str, seed: int) -> Selector:
    kind, options = KINDS[name]
    return SELECTORS[kind](seed, **options)


def world(folder: Path, name: str, seed: int, schedule: Schedule, recorder: Recorder | None = None) -> Simulation:
    """A run of nine devices that come and go; `Counting` asserts that none is in flight twice."""
    devices = fleet([0.5, 1, 2, 3, 1, 1, 4, 0.2, 1], availability=Markov(mean_on_s=9.0, mean_off_s=5.0), seed=seed)
    return Simulation(
        fleet=devices, learning=Counting(len(devices)), schedule=schedule, selector=made(name, seed),
        rules=Rules(transfer="resume", training="resume"), recorder=recorder or Recorder(folder, devices.class_names),
        evaluate=Evaluate(every_aggregations=10**9), stop=Stop(aggregations=40),
    )  # fmt: skip


@every_kind
@given(st.data())
@settings(max_examples=40)
def test_only_idle_clients_on_line_are_chosen_and_none_twice(name: str, data: st.DataObject) -> None:
    """And as many as are wanted, where there are as many, unless it is the selector's way to choose fewer."""
    clients = data.draw(st.integers(1, 30))
    some = st.sets(st.integers(0, clients - 1))
    off, busy, refused = data.draw(some), data.draw(some), data.draw(some)
    samples = data.draw(st.lists(st.integers(1, 50), min_size=clients, max_size=clients))
    idle, past, selector = IdleClients(clients), Past(clients), made(name, data.draw(st.integers(0, 99)))
    selector.meet(facts([1.0 + client % 3 for client in range(clients)], samples))
    for client in data.draw(some):
        past.job(client, client % 3, took_s=1.0 + client, loss=data.draw(st.sampled_from([None, 0.0, 0.5, 2.0])))
    for client in busy:
        idle.leave(client)
    free = {*range(clients)} - off - busy - refused
    for draw in range(3):
        past.version, count = 3 + draw, data.draw(st.integers(1, clients))
        might = candidates(idle, off, now_s=10.0 * draw, among=(lambda c: c not in refused) if refused else None)
        chosen = selector.select(count, draw, might, past)
        assert len(chosen) == len(set(chosen))
        assert set(chosen) <= free
        assert len(chosen) == min(count, len(free)) or (name in ADAPTIVE and len(chosen) < count)


@every_kind
def test_a_run_with_pauses_is_the_run_without(tmp_path: Path, name: str) -> None:
    """The same seed gives the same events, also where all is written down and taken up again at any instant."""
    whole = world(tmp_path / "whole", name, 5, Buffered(4, 3, Polynomial(0.5)))
    whole.begin()
    whole.run()
    part = world(tmp_path / "part", name, 5, Buffered(4, 3, Polynomial(0.5)))
    part.begin()
    while not part.run(lambda _: True, events=7):
        state = copy.deepcopy(part.state())
        recorder = Recorder.restore(tmp_path / "part", state["recorder"])
        part = world(tmp_path / "part", name, 5, Buffered(4, 3, Polynomial(0.5)), recorder)
        part.restore(state)
    assert events(part) == events(whole)
    assert part.version == whole.version == 40


@given(st.integers(0, 1000), st.sampled_from(sorted(KINDS)), st.booleans())
@settings(max_examples=25)
def test_the_seed_says_it_all(seed: int, name: str, is_sync: bool) -> None:
    found = []
    with TemporaryDirectory() as folder:
        for turn in ("one", "two"):
            schedule = Sync(3) if is_sync else Buffered(4, 2, Polynomial(0.5))
            run = world(Path(folder) / turn, name, seed, schedule)
            run.begin()
            run.run()
            assert set(run.finish().values()) == {"holds"}
            found.append(events(run))
    assert found[0] == found[1]
