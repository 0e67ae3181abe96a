"""Local solvers: what they remember from step to step; their steps are compared with torch's in test_cohort.py."""

import pytest
import torch

from edgesim.learning.solvers import direction
from edgesim.learning.training import Training


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("group", ["params", "personal"])
def test_tensors_without_a_gradient_keep_their_memory(optimizer: str, group: str) -> None:
    """As those that stand still in one phase of a job and move in the next."""
    training = Training(lr=0.1, batch_size=8, epochs=1, optimizer=optimizer, momentum=0.9 if optimizer == "sgd" else 0)
    params = {"moves": torch.ones(2, 3), "rests": torch.ones(2, 3)}
    _, memory = direction(training, params, params, {}, group)
    some = {"moves": torch.full((2, 3), 2.0)}
    along, after = direction(training, some, {"moves": params["moves"]}, memory, group)
    assert list(along) == ["moves"]
    assert after.keys() == memory.keys()
    assert all(name.startswith("personal/") == (group == "personal") for name in memory)
    for name, tensors in memory.items():
        assert torch.equal(after[name]["rests"], tensors["rests"])
        assert not torch.equal(after[name]["moves"], tensors["moves"])
