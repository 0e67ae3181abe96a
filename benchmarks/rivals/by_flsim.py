"""W4 by FLSim, in its own environment: prints the milliseconds of each ten updates, as JSON."""
# ruff: noqa: E402, F401

import dataclasses
import functools
import json
import math
import sys
import time
from typing import Any

import hydra
import numpy as np
import opacus
import torch
import torch.nn.functional as F
from nets import SHAPES, loss, net, samples
from omegaconf import OmegaConf
from torch import Tensor, nn

# FLSim's configurations are one another's defaults: Python takes only hashable ones since 3.11. FLSim's alone, so what
# it imports is imported above.
plain = dataclasses.dataclass
dataclasses.dataclass = functools.partial(plain, unsafe_hash=True)

from flsim.clients.base_client import ClientConfig
from flsim.data.data_provider import FLDataProviderFromList
from flsim.interfaces.metrics_reporter import IFLMetricsReporter
from flsim.interfaces.model import IFLModel
from flsim.optimizers.async_aggregators import FedAvgWithLRFedBuffAggregatorConfig
from flsim.optimizers.local_optimizers import LocalOptimizerSGDConfig
from flsim.reducers.base_round_reducer import ReductionType, RoundReducerConfig
from flsim.trainers.async_trainer import AsyncTrainer, AsyncTrainerConfig
from flsim.utils.async_trainer.training_event_generator import (
    AsyncTrainingEventGeneratorConfig,
    ConstantAsyncTrainingStartTimeDistrConfig,
)
from flsim.utils.simple_batch_metrics import FLBatchMetrics
from flsim.utils.timing.training_duration_distribution import PerUserUniformDurationDistributionConfig

dataclasses.dataclass = plain

BUFFER = 10
Batch = tuple[Tensor, Tensor]


class Model(IFLModel):
    """What FLSim wants of a model."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def fl_forward(self, batch: Batch) -> FLBatchMetrics:
        x, y = batch
        scores = self._module(x)
        return FLBatchMetrics(
            loss=F.cross_entropy(scores, y), num_examples=len(y), predictions=scores, targets=y, model_inputs=x
        )

    def fl_create_training_batch(self, batch: Batch) -> Batch:
        return batch

    def fl_get_module(self) -> nn.Module:
        return self._module

    def fl_cuda(self) -> None:
        raise NotImplementedError

    def get_eval_metrics(self, batch: Batch) -> FLBatchMetrics:
        return self.fl_forward(batch)

    def get_num_examples(self, batch: Batch) -> int:
        return len(batch[1])


class Clock(IFLMetricsReporter):
    """When each ten updates were made: FLSim tells a reporter of every batch."""

    def __init__(self, batches: int) -> None:
        self._batches = batches  # of ten updates
        self.seen = 0
        self.ends_s = [time.perf_counter()]

    def add_batch_metrics(self, metrics: FLBatchMetrics) -> None:
        self.seen += 1
        if self.seen % self._batches == 0:
            self.ends_s.append(time.perf_counter())

    def aggregate(self, one_user_metrics: Any) -> None:
        raise NotImplementedError

    def report_metrics(self, *what: Any, **more: Any) -> tuple[Any, bool]:
        return None, False

    def reset(self) -> None:
        raise NotImplementedError


def main(workload: str, rounds: int) -> None:
    torch.set_num_threads(1)
    np.random.seed(0)
    shape, module = SHAPES[workload], net(workload)
    model, before = Model(module), loss(module, workload)
    data = [
        list(zip(x.split(shape.batch), y.split(shape.batch), strict=True))
        for x, y in zip(*samples(workload), strict=True)
    ]
    config = AsyncTrainerConfig(
        epochs=math.ceil(rounds * BUFFER / shape.clients),  # an epoch: as many updates as there are clients
        do_eval=False,
        report_train_metrics=False,
        client=ClientConfig(epochs=1, optimizer=LocalOptimizerSGDConfig(lr=0.05), shuffle_batch_order=True),
        aggregator=FedAvgWithLRFedBuffAggregatorConfig(
            lr=1.0, buffer_size=BUFFER, reducer=RoundReducerConfig(reduction_type=ReductionType.WEIGHTED_AVERAGE)
        ),
        # One starts at each unit of time and takes `cohort` units on average: so many are at work at once.
        training_event_generator=AsyncTrainingEventGeneratorConfig(
            training_start_time_distribution=ConstantAsyncTrainingStartTimeDistrConfig(training_rate=1.0),
            duration_distribution_generator=PerUserUniformDurationDistributionConfig(
                training_duration_mean=float(shape.cohort), training_duration_min=0.1 * shape.cohort
            ),
        ),
    )
    trainer = AsyncTrainer(model=model, **OmegaConf.structured(config))
    users = FLDataProviderFromList(train_user_list=data, eval_user_list=[], test_user_list=[], model=model)
    clock = Clock(BUFFER * shape.samples // shape.batch)
    trainer.train(users, clock, num_total_users=shape.clients)
    assert loss(module, workload) < before, "nothing learnt"
    print(json.dumps((1e3 * np.diff(clock.ends_s)).tolist()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
