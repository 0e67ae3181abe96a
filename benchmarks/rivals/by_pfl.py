"""W1, W2 or W3 by pfl-research, in its own environment: prints the milliseconds of each round, as JSON."""

import json
import sys
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nets import SHAPES, net, samples
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn


class Net(nn.Module):
    """What pfl wants of a model: its loss and its metrics beside it."""

    def __init__(self, workload: str) -> None:
        super().__init__()
        self.body = net(workload)

    def loss(self, x: Tensor, y: Tensor, eval: bool = False) -> Tensor:
        return F.cross_entropy(self.body(x), y)

    def metrics(self, x: Tensor, y: Tensor, eval: bool = False) -> dict[str, Any]:
        return {}


class Clock(TrainingProcessCallback[Any]):
    """When each round ended."""

    def __init__(self) -> None:
        self.ends_s = [time.perf_counter()]

    def after_central_iteration(self, *what: Any, **more: Any) -> tuple[bool, Any]:
        self.ends_s.append(time.perf_counter())
        return super().after_central_iteration(*what, **more)


def main(workload: str, rounds: int) -> None:
    torch.set_num_threads(1)
    shape = SHAPES[workload]
    x, y = samples(workload)
    users = FederatedDataset(
        lambda user: Dataset(raw_data=[x[user], y[user]]),
        get_user_sampler("random", list(range(shape.clients))),
    )
    model, clock = Net(workload), Clock()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=rounds + 1,
            train_cohort_size=shape.cohort,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=users, val_data=users),
        model=PyTorchModel(
            model=model,
            local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        ),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=0.05, local_batch_size=shape.batch
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=shape.samples),
        callbacks=[clock],
    )
    print(json.dumps((1e3 * np.diff(clock.ends_s)).tolist()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
