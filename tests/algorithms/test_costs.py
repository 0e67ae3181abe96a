"""What local training costs, on an mlp of 64-16-10: counted by hand, or as `learning.phases` counts it."""

from dataclasses import replace
from typing import Any

import pytest
from toys import TRAINING, context

from edgesim.algorithms.costs import holding, local_work, phase_work
from edgesim.learning import phases
from edgesim.learning.training import Training

HERE = context()
WEIGHTS = 64 * 16 + 16 + 16 * 10 + 10
NAMES = HERE.profile.names
HEAD = NAMES[2:]


@pytest.mark.parametrize(("solver", "words"), [({"momentum": 0.9}, 1), ({"optimizer": "adam"}, 2)])
def test_what_a_solver_remembers_is_words_a_weight(solver: dict[str, Any], words: int) -> None:
    """4 bytes in memory; and read and written in each of 2 · 4 steps of 5 of 20 samples."""
    heavy = context(training=replace(TRAINING, **solver))
    for with_, without in (
        (local_work(heavy, 20), local_work(HERE, 20)),
        (phase_work(heavy, 20, NAMES), phase_work(HERE, 20, NAMES)),
    ):
        assert with_.memory_bytes - without.memory_bytes == 4 * WEIGHTS * words
        assert with_.traffic_bytes - without.traffic_bytes == 2 * 4 * WEIGHTS * 8 * words
        assert with_.flops == without.flops


def test_training_of_some_tensors_is_a_phase_that_trains_them() -> None:
    """Of the training that is given, with the copies besides; the context's trains all."""
    own = Training(lr=0.1, batch_size=10, epochs=3, momentum=0.9, trained=HEAD)
    found = local_work(HERE, 20, training=own, copies=2)
    wanted = phases.phase_workload(HERE.profile, samples=20, batch_size=10, epochs=3, trained=HEAD, optimizer_words=1)
    assert found.memory_bytes == wanted.memory_bytes + 2 * 4 * WEIGHTS
    assert (found.flops, found.traffic_bytes, found.steps) == (wanted.flops, wanted.traffic_bytes, wanted.steps)
    with pytest.raises(AssertionError, match="a part of a masked model"):
        local_work(HERE, 20, training=own, density={HEAD[0]: 0.5})


def test_a_phase_takes_the_trainings_epochs_and_batches_unless_told() -> None:
    """Of 20 samples: 2 epochs of batches of 5, 3 of them, 2 of batches of 10, 7 steps."""
    steps = [
        phase_work(HERE, 20, NAMES, **asked).steps for asked in ({}, {"epochs": 3}, {"batch_size": 10}, {"steps": 7})
    ]
    assert steps == [8, 12, 4, 7]


def test_what_is_held_besides_is_memory_alone() -> None:
    work = local_work(HERE, 20)
    more = holding(work, 1000)
    assert more.memory_bytes == work.memory_bytes + 1000
    assert (more.flops, more.traffic_bytes, more.steps) == (work.flops, work.traffic_bytes, work.steps)
