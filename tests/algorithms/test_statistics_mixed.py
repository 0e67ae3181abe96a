"""Running statistics of norms, merged by rules that mix the models that clients end with."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import bn_task, context, federation

from edgesim.algorithms.asofed import AsoFed
from edgesim.algorithms.async_rules import FedAsync
from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.algorithms.rules import ServerRule
from edgesim.engine.learning import Received

STALE = (0, 2, 1, 0, 2, 0, 1, 0)  # versions that arrivals are behind


@pytest.mark.parametrize("algorithm", [FedAvg(), AsoFed()], ids=["fedavg", "asofed"])
@pytest.mark.parametrize("rule", [FedAsync(mixing=0.6), LagTolerant(samples=np.array([1.0, 2.0, 1.0, 4.0]))])
def test_running_statistics_are_mixed_as_the_models_are_that_they_belong_to(
    rule: ServerRule, algorithm: Algorithm
) -> None:
    """By the rule on what clients end with, stale ones too; so no variance falls below 0."""
    world = federation(algorithm, replace(context(bn_task()), rule=rule), "loop")
    names, shares = sorted(bn_task().model.statistics), (0.125, 0.25, 0.125, 0.5)
    server = {name: world._server["params"][name] for name in names}
    cached = [server] * 4
    for client in range(4):
        world.dispatch(client, client, 0)
    for job, staleness in enumerate(STALE):
        client = job % 4
        order, (update, _) = world._training.result(job)
        ended = {name: order.payload["params"][name] + update["params"][name] for name in names}
        world.arrive(job, client)
        world.aggregate([Received(job, client, staleness, 0.5)])
        if isinstance(rule, FedAsync):
            server = {name: 0.7 * server[name] + 0.3 * ended[name] for name in names}
        else:
            cached[client] = ended
            server = {n: torch.stack([k * own[n] for k, own in zip(shares, cached, strict=True)]).sum(0) for n in names}
        for name in names:
            torch.testing.assert_close(world._server["params"][name], server[name])
            assert "var" not in name or (world._server["params"][name] >= 0).all()
        world.dispatch(job + 4, client, job + 1)
