"""W4 by FLGo, in its own environment: prints the milliseconds of each ten updates, as JSON.

A task of FLGo is a folder with a copy of this file: the data, the model and what is done to a batch are taken from it.
"""

import json
import os
import sys
import tempfile
import time
from typing import Any

import flgo
import numpy as np
import torch.nn.functional as F
from flgo.algorithm import fedbuff
from nets import SHAPES, fresh, loss, samples
from torch import Tensor, nn

WORKLOAD, BUFFER = "W4", 10
Batch = tuple[Tensor, Tensor]

train_data = [list(zip(x, y, strict=True)) for x, y in zip(*samples(WORKLOAD), strict=True)]


def get_model() -> nn.Module:
    return fresh(WORKLOAD)


def data_to_device(batch: Batch, device: Any) -> Batch:
    return batch


def compute_loss(model: nn.Module, batch: Batch, device: Any) -> dict[str, Tensor]:
    x, y = batch
    return {"loss": F.cross_entropy(model(x), y)}


def eval(model: nn.Module, batches: Any, device: Any) -> dict[str, float]:
    raise NotImplementedError


class FedBuff:
    """FLGo's own, and when each update came."""

    class Server(fedbuff.Server):
        def __init__(self, option: dict[str, Any]) -> None:
            super().__init__(option)
            self.arrivals_s: list[float] = []

        def package_handler(self, received_packages: dict[str, Any]) -> bool:
            stepped: bool = super().package_handler(received_packages)
            self.arrivals_s += [time.perf_counter()] * len(received_packages["__cid"])
            return stepped

    class Client(fedbuff.Client):
        pass


def main(rounds: int) -> None:
    shape = SHAPES[WORKLOAD]
    option = {
        "num_rounds": rounds,
        "num_epochs": 1,
        "batch_size": shape.batch,
        "learning_rate": 0.05,
        "train_holdout": 0.0,
        "proportion": shape.cohort / shape.clients,
        "sample": "uniform_available",
        "algo_para": [BUFFER / shape.clients, 1.0],  # the server's step: 1
        # Its clock goes by whole units, and each takes time: log-normal with a mean of 100 (one arrival a unit, about)
        # and a variance of 2,840 (a spread of 0.5 in logarithms).
        "responsiveness": "LN-100-2840",
        "eval_interval": -1,
        "no_log_console": True,
        "no_tqdm": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        server = flgo.init(flgo.gen_direct_task_from_file("w4", __file__), FedBuff, option)
        before = loss(server.model, WORKLOAD)
        server.run()
        os.chdir("/")
    assert loss(server.model, WORKLOAD) < before, "nothing learnt"
    print(json.dumps((1e3 * np.diff(server.arrivals_s[::BUFFER])).tolist()))


if __name__ == "__main__":
    main(int(sys.argv[2]))
