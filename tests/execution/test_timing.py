"""Timing only: the costs of a real run without its training, exact or an upper bound, and nothing kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Client, Context, Payload
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.pfedhn import PFedHN
from edgesim.algorithms.pfedla import PFedLA
from edgesim.devices.workload import Workload
from edgesim.engine.learning import Assignment, Received
from edgesim.execution import timing
from edgesim.execution.attackers import Attackers
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.execution.timing import TimingOnly
from edgesim.learning import codecs
from edgesim.learning.attacks import FreeRider
from edgesim.learning.codecs import Part
from edgesim.learning.compression import Qsgd, TopK
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Training

CLIENTS = 6


def context(alpha: float = 0.5) -> Context:
    """Clients of unequal sizes, or of equal ones with a large alpha."""
    task = make_task(
        dataset="digits", partition="dirichlet", partition_params={"alpha": alpha, "balanced": alpha > 1},
        clients=CLIENTS, model="mlp", model_params={"hidden": [8]}, seed=0,
    )  # fmt: skip
    training = Training(lr=0.1, batch_size=20)
    return Context(task=task, profile=profile_model(task.model), training=training, seed=0, horizon=5)


def real(algorithm: Algorithm) -> Federation:
    where = context()
    return Federation(
        algorithm, where, in_process("stacked", algorithm, where.task, where.training, seed=0, cohort=128)
    )


def figures(assigned: Assignment) -> tuple[object, ...]:
    return assigned.download_bytes, assigned.upload_bytes, *timing._figures(assigned.workload)


@pytest.mark.parametrize(
    "algorithm",
    [FedAvg(), FedSpa(density=0.4, masking="rsm"), FedSpa(density=(0.2, 0.6), masking="rsm", layers="uniform")],
    ids=["fedavg", "fedspa-rsm", "fedspa-groups"],
)
def test_costs_that_do_not_depend_on_values_are_those_of_a_real_run(algorithm: Algorithm) -> None:
    """In the first round and, after real training, in the second."""
    world, only = real(algorithm), TimingOnly(algorithm, context())
    for turn in range(2):
        jobs = range(turn * CLIENTS, (turn + 1) * CLIENTS)
        for job in jobs:
            assert figures(only.dispatch(job, job % CLIENTS, turn)) == figures(world.dispatch(job, job % CLIENTS, turn))
        world.aggregate([Received(job, job % CLIENTS, 0, 1.0) for job in jobs])
    assert not any("upper bounds" in note for note in only.notes)


def test_costs_that_go_by_the_version_are_those_of_a_real_run() -> None:
    """Of FedSpa: from version T on no dense gradient is taken and no mask moves; forecasts and a restored one know."""
    algorithm = FedSpa(density=0.4, rounds=2)
    world, only, restored = real(algorithm), TimingOnly(algorithm, context()), TimingOnly(algorithm, context())
    for version in range(4):
        jobs = range(version * CLIENTS, (version + 1) * CLIENTS)
        for job in jobs:
            expected, found = world.dispatch(job, job % CLIENTS, version), only.dispatch(job, job % CLIENTS, version)
            assert timing._figures(found.workload) == timing._figures(expected.workload)
            assert (expected.upload_bytes is None) == (version < 2)
            assert found.upload_bytes == expected.upload_bytes or version < 2
        received = [Received(job, job % CLIENTS, 0, 1.0) for job in jobs]
        world.aggregate(received)
        only.aggregate(received)
        restored.restore(only.state())
        forecasts = [figures(it.cost(0)) for it in (world, only, restored)]
        assert forecasts[1:] == forecasts[:1] * 2 or version == 0


@pytest.mark.parametrize(
    "algorithm", [PFedHN(inner_steps=3), PFedLA(), CompressedUpdates(inner=PFedLA(), codec=Qsgd())]
)
def test_the_servers_own_work_is_that_of_a_real_run(algorithm: Algorithm) -> None:
    world, only = real(algorithm), TimingOnly(algorithm, context())
    for count in (1, 3):
        for client in range(count):
            world.dispatch(10 * count + client, client, 0)
        received = [Received(10 * count + client, client, 0, 1.0) for client in range(count)]
        found, expected = only.aggregate(received), world.aggregate(received)
        assert found is not None
        assert expected is not None
        assert timing._figures(found) == timing._figures(expected)
        assert found.flops > 0
    assert TimingOnly(FedAvg(), context()).aggregate(received) is None


@pytest.mark.parametrize("algorithm", [FedAvg(), FedSpa(density=0.4, masking="rsm")], ids=["alike", "unlike"])
@pytest.mark.parametrize("alpha", [0.5, 100.0], ids=["unequal sizes", "equal sizes"])
def test_free_riders_train_nothing_in_an_estimate_either(algorithm: Algorithm, alpha: float) -> None:
    attackers, where = Attackers.among(CLIENTS, FreeRider(share=0.3), 0), context(alpha)
    assert (len(set(where.task.train.count)) < CLIENTS) == (alpha > 1)
    work = in_process("stacked", algorithm, where.task, where.training, seed=0, cohort=128)
    world = Federation(algorithm, where, work, attackers=attackers)
    only = TimingOnly(algorithm, where, attackers)
    jobs = [it.dispatch_all(0, range(CLIENTS), 0) for it in (only, world)]
    assert [figures(job) for job in jobs[0]] == [figures(job) for job in jobs[1]]
    assert [job.workload.flops == 0 for job in jobs[0]] == attackers.hostile.tolist()


@pytest.mark.parametrize("algorithm", [FedAvg(), FedSpa(density=0.4, masking="rsm")], ids=["alike", "unlike"])
def test_who_forecasts_does_not_know_that_a_client_will_train_nothing(algorithm: Algorithm) -> None:
    """Or one free-rider would stand for all clients of its device and size, who then seem to be done at once."""
    attackers, where = Attackers.among(CLIENTS, FreeRider(share=0.3), 0), context()
    work = in_process("stacked", algorithm, where.task, where.training, seed=0, cohort=128)
    world = Federation(algorithm, where, work, attackers=attackers)
    for it in (world, TimingOnly(algorithm, where, attackers)):
        for client in range(CLIENTS):
            assert figures(it.cost(client)) == figures(TimingOnly(algorithm, where).cost(client))


def test_an_upload_that_depends_on_values_is_bounded() -> None:
    """FedSpa moves its masks (64·8 and 8·10 weights, biases 8 and 10) less each round: all stay below active
    values, their two masks as bitmaps, and headers: a count of parts, and a byte for each of six parts."""
    world, only = real(FedSpa(density=0.5)), TimingOnly(FedSpa(density=0.5), context())
    active = sum(int(mask.sum()) for mask in world._state(0)["mask"].values())
    bound = 4 * (active + 8 + 10) + ceil(64 * 8 / 8) + ceil(8 * 10 / 8) + 1 + 6
    for turn in range(5):
        for job in range(turn * CLIENTS, (turn + 1) * CLIENTS):
            assert only.dispatch(job, job % CLIENTS, turn).upload_bytes == bound
            assert world.dispatch(job, job % CLIENTS, turn).upload_bytes is None
            assert bound - 64 - 10 - 2 <= world.upload_bytes(job) <= bound
            world.arrive(job, job % CLIENTS)
        world.aggregate([Received(job, job % CLIENTS, 0, 1.0) for job in range(turn * CLIENTS, (turn + 1) * CLIENTS)])
    assert sum("upper bounds" in note and "FedSpa" in note for note in only.notes) == 1


@pytest.mark.parametrize("own", [FedSpa(masking="rsm"), FedSpa(rounds=1)], ids=["rsm", "dst-after-T"])
def test_masks_that_rest_are_not_in_the_bound_of_quantised_updates(own: FedSpa) -> None:
    """Each value takes as many bits, whatever it is: so nothing is left that training decides."""
    algorithm = CompressedUpdates(inner=own, codec=Qsgd(s=4))
    world, only = real(algorithm), TimingOnly(algorithm, context())
    for client in range(CLIENTS):
        world.dispatch(client, client, 1)
        assert only.dispatch(client, client, 1).upload_bytes == world.upload_bytes(client)


def test_of_a_codec_the_notes_say_whose_algorithm_it_is() -> None:
    """Nobody wrote CompressedUpdates in a scenario."""
    for codec in (TopK(share=0.05), Qsgd(s=4)):
        only = TimingOnly(CompressedUpdates(inner=FedAvg(), codec=codec), context())
        only.cost(0)
        assert not any("CompressedUpdates" in note for note in only.notes)


def parts(masks: list[list[bool]], known: bool, values: bool) -> Iterator[Part]:
    for mask in masks:
        on = torch.tensor(mask, dtype=torch.bool)
        yield Part(values=torch.zeros(len(mask)) if values else None, mask=on, mask_known=known)
    yield Part(values=torch.zeros(3), mask=None, mask_known=False)


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=4), st.sampled_from(((0, 0), (0, 1), (1, 1))))
def test_no_message_is_longer_than_the_longest(masks: list[list[bool]], kind: tuple[int, int]) -> None:
    """And it is the same for all masks that are not known."""
    known, values = map(bool, kind)
    longest = codecs.longest(list(parts(masks, known, values)))
    assert codecs.size(list(parts(masks, known, values))) <= longest
    if known:
        assert codecs.size(list(parts(masks, known, values))) == longest
    else:
        opposite = [[not on for on in mask] for mask in masks]
        assert codecs.longest(list(parts(opposite, known, values))) == longest


@dataclass(frozen=True, kw_only=True)
class Counted(FedSpa):
    """FedSpa that notes whose work was asked for."""

    asked: tuple[list[int], ...] = ([],)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        self.asked[0].append(client.id)
        return super().workload(context, payload, client)


@pytest.mark.parametrize("most", [65_536, 1])
def test_a_client_is_one_number(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Two groups of clients of equal samples make two kinds of jobs, however many clients there are; with room
    for fewer kinds than there are, costs stay right and the rest is worked out anew."""
    monkeypatch.setattr(timing, "_MOST_KINDS", most)
    task = make_task(dataset="synthetic", dataset_params={"samples": 400}, clients=100, seed=0)
    where = Context(
        task=task, profile=profile_model(task.model), training=Training(lr=1, batch_size=5), seed=0, horizon=9
    )
    algorithm = Counted(density=(0.2, 0.6), masking="rsm", asked=([],))
    only = TimingOnly(algorithm, where)
    costs = [[figures(only.dispatch(100 * turn + client, client, 0)) for client in range(100)] for turn in range(2)]
    assert costs[0] == costs[1]
    assert [costs[0][client] == costs[0][client % 2] for client in range(100)] == [True] * 100
    assert costs[0][0] != costs[0][1]
    assert len(only._kinds) == min(2, most)
    again = [] if most > 1 else list(range(1, 100, 2))
    assert algorithm.asked[0] == [*range(100), *again]


@dataclass(frozen=True, kw_only=True)
class Odd(FedAvg):
    """Jobs of every other client have more of one figure, and otherwise all are alike."""

    figure: str

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        work = super().workload(context, payload, client._replace(samples=10))
        return replace(work, **{self.figure: getattr(work, self.figure) * 3}) if client.id % 2 else work


@pytest.mark.parametrize(
    "figure",
    ["layer_flops", "other_flops", "traffic_bytes", "steps", "memory_bytes", "layer_calls", "activation_bytes"],
)
def test_clients_are_of_one_kind_only_if_all_their_figures_are_the_same(figure: str) -> None:
    only = TimingOnly(Odd(figure=figure), context())
    for _ in range(2):  # as it is found, and as it is remembered
        even, odd, *others = (only.cost(client) for client in range(4))
        assert np.array_equal(getattr(odd.workload, figure), 3 * getattr(even.workload, figure))
    assert others == [even, odd]


def test_nothing_is_trained_and_no_accuracy_made_up() -> None:
    only = TimingOnly(FedAvg(), context())
    assert all(np.isnan(value) for value in only.evaluate().values())
    assert np.isnan(only.scores().accuracy).all()
    assert only.evaluate().keys() == real(FedAvg()).evaluate().keys()
    assert only.notes == ["nothing was trained, so there are no accuracies"]


def test_what_is_of_states_before_any_training_is_said() -> None:
    """The server's own work among it, where an algorithm has any."""
    (_, note) = TimingOnly(FedSpa(density=0.4, masking="rsm"), context()).notes
    assert note.startswith("download and training are those of FedSpa's states before any training")
    (_, note) = TimingOnly(PFedLA(), context()).notes
    assert note.startswith("download, training and the server's own work are those of PFedLA's states")


def test_a_restored_one_says_what_the_old_one_said() -> None:
    old, new = (TimingOnly(FedSpa(density=0.5), context()) for _ in range(2))
    old.dispatch(0, 0, 0)
    assert new.notes != old.notes
    new.restore(old.state())
    assert new.notes == old.notes
