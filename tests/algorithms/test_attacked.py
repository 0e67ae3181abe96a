"""Algorithms under attack: forged updates are such as the algorithm could send."""

import numpy as np
import pytest
import torch
from toys import federation

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.dispfl import DisPfl
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.local_only import LocalOnly
from edgesim.engine.learning import Received
from edgesim.execution.attackers import Attackers
from edgesim.learning.attacks import Alie, Attack, Gaussian, InnerProduct, Mimic, SignFlip
from edgesim.learning.compression import Qsgd, TopK


@pytest.mark.parametrize("attack", [SignFlip(), Gaussian()])
@pytest.mark.parametrize(
    "algorithm",
    [
        FedSpa(density=0.3, masking="rsm"), DisPfl(density=0.3), Flash(mode="nst"), LocalOnly(),
        Flash(mode="pdst", layers="conv+linear"),
        CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.1)), CompressedUpdates(inner=FedAvg(), codec=Qsgd()),
    ],
)  # fmt: skip
def test_forged_is_what_travels_and_nothing_else(algorithm: Algorithm, attack: Attack) -> None:
    """Masks, levels and a codec's units are no part of a model; nor do weights move that nobody sends."""
    world = federation(algorithm)
    world._attackers = Attackers(attack, np.arange(8) < 2, 0)
    before = world._server
    for client in range(3):
        world.dispatch(client, client, 0)
    updates = [world._training.result(client)[1].update for client in range(3)]
    world.aggregate([Received(client, client, 0, 1.0) for client in range(3)])
    if isinstance(algorithm, FedSpa):
        for name in updates[0]["held"]:
            nobodys = ~torch.stack([update["held"][name] for update in updates]).any(0)
            assert torch.equal(world._server["params"][name][nobodys], before["params"][name][nobodys])


def test_a_hostile_peer_has_no_weights_outside_its_mask() -> None:
    """Its model is what it sends; its neighbours would count as held by others what it has there."""
    world = federation(DisPfl(density=0.3))
    world._attackers = Attackers(Gaussian(), np.arange(8) == 0, 0)
    world.dispatch(0, 0, 0)
    world.arrive(0, 0)
    world.aggregate([Received(0, 0, 0, 1.0)])
    for name, on in world._who(0).state["mask"].items():
        assert torch.equal(world._server["params"][name] != 0, on)


@pytest.mark.parametrize("attack", [Gaussian(), Alie(), InnerProduct(), Mimic()])
def test_an_attacker_sends_no_more_values_than_its_codec(attack: Attack) -> None:
    """A tenth of each tensor is what its message holds, and what it pays for; so no more than that moves."""
    world = federation(CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.1)))
    world._attackers = Attackers(attack, np.arange(8) == 0, 0)
    for client in range(4):
        world.dispatch(client, client, 0)
    sent = [world._training.result(client)[1].update["params"] for client in range(4)]
    before = world._server["params"]
    world.aggregate([Received(client, client, 0, 1.0) for client in range(4)])
    for name, tensor in world._server["params"].items():
        nobodys = ~torch.stack([update[name] != 0 for update in sent]).any(0)
        assert nobodys.any()
        assert torch.equal(tensor[nobodys], before[name][nobodys])
