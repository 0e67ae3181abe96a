"""Task: what is learned: the data, who holds which of it, and the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgesim.devices.arrays import IntArray
from edgesim.errors import ScenarioError
from edgesim.learning import quadratic
from edgesim.learning.data import Dataset, load
from edgesim.learning.models import Model, make_model
from edgesim.learning.partition import PARTITIONS, natural, split
from edgesim.learning.shards import Shards
from edgesim.spelling import advice
from edgesim.streams import generator


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Attributes: x, float32 [sample, *shape], or int64 tokens [sample, length]; y, int64 [sample]; classes; train
    and test, each client's own samples (disjoint, at least one in each; the same for quadratic problems); model;
    unseen, the numbers of clients that are tested and never train."""

    x: Tensor
    y: Tensor
    classes: int
    train: Shards
    test: Shards
    model: Model
    unseen: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def clients(self) -> int:
        """How many clients share the data."""
        return self.train.clients

    @cached_property
    def participants(self) -> IntArray:
        """The numbers of the clients that may train [n]."""
        return np.delete(np.arange(self.clients), self.unseen)


def draw_unseen(clients: int, share: float, seed: int) -> IntArray:
    """Who of the clients never trains: a share of them, rounded, drawn by the seed [n]."""
    return np.sort(generator(seed, "unseen").choice(clients, round(share * clients), replace=False))


def make_task(
    *,
    dataset: str = "digits",
    dataset_params: Mapping[str, object] | None = None,
    data_dir: Path | None = None,
    partition: str = "iid",
    partition_params: Mapping[str, object] | None = None,
    clients: int,
    unseen: float = 0.0,
    test_share: float = 0.25,
    model: str = "mlp",
    model_params: Mapping[str, object] | None = None,
    seed: int,
    folder: Path = Path(),
) -> Task:
    """Load, partition, split and build; pure in its arguments and the files they name.

    `unseen` is a share of the clients; `folder` is what relative paths count from. Raises ScenarioError, which begins
    with the scenario's key.
    """
    if partition not in PARTITIONS:
        raise ScenarioError(f"task.partition: '{partition}' is unknown: {advice(partition, PARTITIONS)}")
    if quadratic.NAME in (dataset, model):
        return _quadratic(dataset, dataset_params or {}, partition, model, clients, seed)
    try:
        data = load(dataset, dataset_params or {}, data_dir, seed, folder)
    except ScenarioError as error:
        raise ScenarioError(f"task.dataset: {error}") from error
    labels = data.y.numpy()
    try:
        parts = PARTITIONS[partition](
            _spread_by(partition, data), clients, generator(seed, "partition"), **(partition_params or {})
        )
        train, test = split(parts, labels, test_share, generator(seed, "split"))
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"task.partition ({partition}): {error}") from error
    return Task(
        x=data.x,
        y=data.y,
        classes=data.classes,
        train=train,
        test=test,
        model=make_model(
            model,
            model_params or {},
            input_shape=tuple(data.x.shape[1:]),
            classes=data.classes,
            folder=folder,
            tokens=data.tokens,
        ),
        unseen=draw_unseen(clients, unseen, seed),
    )


def _quadratic(dataset: str, params: Mapping[str, object], partition: str, model: str, clients: int, seed: int) -> Task:
    """A problem for each client, which is all that it holds: it is tested on what it trains on."""
    if dataset != model:
        key, found = ("model", model) if dataset == quadratic.NAME else ("dataset", dataset)
        raise ScenarioError(f"task.{key}: data set and model quadratic go together; write quadratic for '{found}'")
    if partition != "iid":
        raise ScenarioError(f"task.partition: quadratic makes a problem for each client; leave out '{partition}'")
    try:
        problem = quadratic.quadratic(None, **params)  # type: ignore[arg-type]
    except TypeError as error:
        raise ScenarioError(f"data set quadratic: {dict(params)} does not fit: {error}") from error
    x, smooth, smooth_w = quadratic.generate(problem, clients, seed)
    build = partial(quadratic.Quadratic, problem, smooth, smooth_w)
    own = Shards.of_parts([np.array([client]) for client in range(clients)])
    shape = tuple(x.shape[1:])
    template = build().to("meta").requires_grad_(False)
    return Task(
        x=x,
        y=torch.zeros(clients, dtype=torch.int64),
        classes=1,
        train=own,
        test=own,
        model=Model(module=template, build=build, input_shape=shape, classes=1),
    )


def _spread_by(partition: str, data: Dataset) -> IntArray:
    """What a partition goes by, of each sample: its label, or whose it is."""
    if PARTITIONS[partition] is not natural:
        labels: IntArray = data.y.numpy()
        return labels
    if data.owner is None:
        raise ValueError(
            f"data set {data.name} does not say whose its samples are; use shakespeare, an npz with an array "
            "client, user, writer, subject or owner, or another partition"
        )
    return data.owner
