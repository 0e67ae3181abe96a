"""Sample job: what one job of an algorithm asks of any device, measured on a small task that is always there."""

from dataclasses import dataclass
from functools import cache

from edgesim.algorithms.contract import Algorithm, Context
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Training

_CLIENTS, _HORIZON = 20, 100
TASK = "a client of 68 samples of digits, model mlp, one epoch in batches of 10"


@dataclass(frozen=True, kw_only=True)
class SampleJob:
    """Attributes: down_bytes, up_bytes, on the wire; flops, of the active weights, and memory_bytes, at the
    peak, of the local training."""

    down_bytes: int
    up_bytes: int
    flops: float
    memory_bytes: int


def sample_job(algorithm: Algorithm) -> SampleJob:
    """The first job of client 0 under TASK; trains it where the upload's size depends on trained values.

    Raises ScenarioError where the algorithm refuses the task.
    """
    context = sample_context()
    algorithm.check(context)
    backend = in_process("loop", algorithm, context.task, context.training, seed=0, cohort=1)
    federation = Federation(algorithm, context, backend)
    assigned = federation.dispatch(0, 0, 0)
    return SampleJob(
        down_bytes=assigned.download_bytes,
        up_bytes=federation.upload_bytes(0) if assigned.upload_bytes is None else assigned.upload_bytes,
        flops=assigned.workload.flops,
        memory_bytes=assigned.workload.memory_bytes,
    )


@cache
def sample_context() -> Context:
    """What an algorithm is told of TASK."""
    task = make_task(clients=_CLIENTS, seed=0)
    training = Training(lr=0.1, batch_size=10)
    return Context(task=task, profile=profile_model(task.model), training=training, seed=0, horizon=_HORIZON)
