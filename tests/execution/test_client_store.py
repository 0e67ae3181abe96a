"""The store is a dict whose states may wait on disk, and a killed run finds those of its checkpoint."""

import signal
import time
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import Server, files, unlike, wait_until
from tiny import ALGORITHMS, sets, write

from edgesim.errors import RunError
from edgesim.execution import checkpoint, store
from edgesim.execution.slots import Slots
from edgesim.execution.store import ClientStore, FirstStates
from edgesim.learning.tree import State

STATE_BYTES = 5 * 64  # five tensors, each at a multiple of 64 bytes
BUDGET_BYTES = STATE_BYTES
_WHAT = ("put",) * 6 + ("get", "get", "checkpoint", "checkpoint", "save", "kill")
STEPS = st.lists(st.tuples(st.sampled_from(_WHAT), st.integers(0, 3), st.integers(0, 8)), min_size=15, max_size=60)


def made(number: int) -> State:
    """Three types, and STATE_BYTES or, each third, 64 more; one tensor has no dimensions, one no values."""
    rng = torch.Generator().manual_seed(number)
    width = 5 if number % 3 else 17
    return {
        "mask": {"a": torch.rand(3, 4, generator=rng) < 0.5, "b": torch.rand(9, generator=rng) < 0.5},
        "params": {"a": torch.randn(width, generator=rng), "nan": torch.tensor(float("nan"))},
        "count": {"steps": torch.tensor([number, -number]), "none": torch.empty(0, 3)},
    }


def same(one: State, two: State) -> bool:
    """Bit for bit, order, types and shapes included."""

    def plain(state: State) -> Any:
        return [
            (group, name, t.dtype, tuple(t.shape), t.reshape(-1).view(torch.uint8).tolist())
            for group, params in state.items()
            for name, t in params.items()
        ]

    return bool(plain(one) == plain(two))


def opened(folder: Path) -> ClientStore:
    return ClientStore(folder / "states", BUDGET_BYTES)


@settings(max_examples=200)
@given(STEPS)
def test_it_is_a_dict_that_survives_being_killed(steps: list[tuple[str, int, int]]) -> None:
    """Puts, gets, checkpoints and kills in any order, held against a dict and its copies. A checkpoint is saved
    at any time before the next one is taken; until then a kill leaves the one before it in force."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        kept, truth = opened(folder), dict[int, State]()
        saved = taken = deepcopy(kept.state()), dict[int, State]()
        for what, client, number in steps:
            if what == "put":
                truth[client] = made(number)
                kept.put(client, made(number))
            elif what == "get":
                assert (client in kept) == (client in truth)
                assert client not in truth or same(kept.get(client), truth[client])
            elif what == "checkpoint":
                saved, taken = taken, (deepcopy(kept.state()), dict(truth))
            elif what == "save":
                saved = taken
            else:
                taken = saved
                kept, truth = opened(folder), dict(saved[1])
                kept.restore(deepcopy(saved[0]))
            assert kept.resident_bytes <= BUDGET_BYTES
        for client, state in truth.items():
            assert same(kept.get(client), state)


def test_states_go_through_a_checkpoint_file(tmp_path: Path) -> None:
    """As a run saves them: plain data that torch loads without running code."""
    for budget, in_memory in ((BUDGET_BYTES, 0), (10**6, 6)):
        kept = ClientStore(tmp_path / f"states-{budget}", budget)
        for client in range(6):
            kept.put(client, made(client))
        (tmp_path / "checkpoint").mkdir(exist_ok=True)
        checkpoint.save(tmp_path, {"clients": kept.state()}, "hash")
        state = checkpoint.load(tmp_path, "hash")
        assert state is not None
        assert len(state["clients"]["memory"]) == in_memory
        again = ClientStore(tmp_path / f"states-{budget}", budget)
        again.restore(state["clients"])
        assert all(same(again.get(client), made(client)) for client in range(6))


def test_what_was_used_last_stays_in_memory(tmp_path: Path) -> None:
    kept = ClientStore(tmp_path / "states", 3 * STATE_BYTES)
    versions = [made(number) for number in (1, 2, 4)]
    for client, state in enumerate(versions):
        kept.put(client, state)
    assert not (tmp_path / "states").exists()
    kept.get(0)
    kept.put(3, made(5))  # client 1 is the one that was not used for longest
    assert (tmp_path / "states").stat().st_size == STATE_BYTES
    for client, state in enumerate(versions):
        assert same(kept.get(client), state)


@pytest.mark.parametrize("values", [1_000, 100_000])
def test_small_and_large_states_are_their_own(tmp_path: Path, values: int) -> None:
    """A copy goes in, so that later changes of the tensor outside do not show; large ones are mapped apart."""
    kept = ClientStore(tmp_path / "states", 5 * values)
    outside = torch.arange(values, dtype=torch.float32)
    for client in range(3):
        kept.put(client, {"own": {"w": outside}})
        outside += 1
    assert kept.resident_bytes == -(-4 * values // 64) * 64
    assert [float(kept.get(client)["own"]["w"].double().sum()) for client in range(3)] == [
        values * (values - 1) / 2 + client * values for client in range(3)
    ]


def test_a_row_of_a_cohort_does_not_keep_the_cohort_alive() -> None:
    cohort = torch.arange(50.0).reshape(10, 5)
    kept = ClientStore()
    kept.put(0, {"params": {"a": cohort[3]}})
    held = kept.get(0)["params"]["a"]
    assert held.tolist() == [15, 16, 17, 18, 19]
    assert held.untyped_storage().nbytes() == 64 < cohort.untyped_storage().nbytes()
    assert kept.resident_bytes == 64


def test_the_file_stops_growing(tmp_path: Path) -> None:
    """Slots are used again two checkpoints after they were left, so at most three versions lie in the file."""
    kept, clients = ClientStore(tmp_path / "states", STATE_BYTES), 20
    for turn in range(12):
        for client in range(clients):
            kept.put(client, made(3 * (clients * turn + client) + 1))
        kept.state()
    assert (tmp_path / "states").stat().st_size <= 3 * clients * STATE_BYTES


def test_a_slot_is_never_written_that_the_last_two_checkpoints_need() -> None:
    slots = Slots()
    first, second = slots.take(10), slots.take(10)
    slots.state()
    slots.give_back(10, first)
    assert slots.take(10) == 20
    assert slots.take(7) == 30  # no slot of 10 for that
    slots.state()
    assert slots.take(10) not in (first, second)
    slots.state()
    assert slots.take(10) == first
    slots.give_back(10, first)  # taken since the last checkpoint: at once free again
    assert slots.take(10) == first


def test_a_file_that_is_gone_or_cut_is_said_to_be(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    for client in range(6):
        kept.put(client, made(client))
    state = kept.state()
    path = tmp_path / "states"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"states: cut short"):
        opened(tmp_path).restore(state)
    path.unlink()
    with pytest.raises(RunError, match=r"states: .*No such file"):
        opened(tmp_path).restore(state)
    (tmp_path / "file").touch()
    lost = ClientStore(tmp_path / "file" / "states", 0)
    with pytest.raises(RunError, match=r"cannot be kept here"):
        lost.put(0, made(0))


def test_a_killed_run_finds_the_states_of_its_checkpoint(server: Server, tmp_path: Path) -> None:
    """FedSpa's masks (640 bytes each, of 16 clients) in room for two, killed at any instant and resumed: the same
    files as with room for all and nobody killing it."""
    scenario, out, chosen = write(tmp_path), tmp_path / "killed", sets(ALGORITHMS["fedspa-dst"])
    whole = server.start("run", scenario, "--out", tmp_path / "whole", *chosen)
    command: tuple[str | Path, ...] = ("run", scenario, "--out", out, *chosen, *sets("execution.memory=1.3 kB"))
    run, kills, spilled = out / "fedspa", 0, False
    for delay_s in (0.05, 0.11, 0.17):
        process = server.start(*command)
        wait_until((run / checkpoint.FILE).exists)
        time.sleep(delay_s)
        kills += process.kill().code == -signal.SIGKILL
        spilled = spilled or (run / store.FILE).exists()
        command = ("resume", out)
    assert server.run(*command).code == 0
    assert whole.wait().code == 0
    assert (kills >= 2, spilled) == (True, True)
    assert unlike(files(tmp_path / "whole"), files(out)) == ["fedspa/scenario.yaml"]  # which tells the budget


def test_first_states_are_kept_within_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 bytes hold two states of 40, whoever comes third; what takes no room is made when it is asked for."""
    monkeypatch.setattr(store, "_FIRST", 100)
    made: list[int] = []

    def init(client: int) -> State:
        made.append(client)
        return {"own": {"w": torch.full((10,), float(client))}} if client else {}

    first = FirstStates(init)
    for client in (0, 3, 4, 5, 3, 4, 5, 0):
        assert all(tensor.tolist() == [client] * 10 for tensor in first.of(client).get("own", {}).values())
    assert made == [0, 3, 4, 5, 5, 0]
