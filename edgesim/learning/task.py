"""Task: what is learned: the data, who holds which of it, and the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edgesim.errors import ScenarioError
from edgesim.learning.data import load
from edgesim.learning.models import Model, make_model
from edgesim.learning.partition import PARTITIONS, split
from edgesim.learning.shards import Shards
from edgesim.spelling import advice
from edgesim.streams import generator


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Attributes: x, float32 [sample, *shape]; y, int64 [sample]; classes; train and test, each client's
    own samples (disjoint, at least one in each); model."""

    x: Tensor
    y: Tensor
    classes: int
    train: Shards
    test: Shards
    model: Model

    @property
    def clients(self) -> int:
        """How many clients share the data."""
        return self.train.clients


def make_task(
    *,
    dataset: str = "digits",
    dataset_params: Mapping[str, object] | None = None,
    data_dir: Path | None = None,
    partition: str = "iid",
    partition_params: Mapping[str, object] | None = None,
    clients: int,
    test_share: float = 0.25,
    model: str = "mlp",
    model_params: Mapping[str, object] | None = None,
    seed: int,
    folder: Path = Path(),
) -> Task:
    """Load, partition, split and build; pure in its arguments and the files they name.

    `folder` is what relative paths count from. Raises ScenarioError, which begins with the scenario's key.
    """
    if partition not in PARTITIONS:
        raise ScenarioError(f"task.partition: '{partition}' is unknown: {advice(partition, PARTITIONS)}")
    data = load(dataset, dataset_params or {}, data_dir, seed, folder)
    labels = data.y.numpy()
    try:
        parts = PARTITIONS[partition](labels, clients, generator(seed, "partition"), **(partition_params or {}))
        train, test = split(parts, labels, test_share, generator(seed, "split"))
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"task.partition ({partition}): {error}") from error
    return Task(
        x=data.x,
        y=data.y,
        classes=data.classes,
        train=Shards.of_parts(train),
        test=Shards.of_parts(test),
        model=make_model(
            model,
            model_params or {},
            input_shape=tuple(data.x.shape[1:]),
            classes=data.classes,
            folder=folder,
        ),
    )
