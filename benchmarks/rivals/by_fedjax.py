"""W1 by FedJAX, in its own environment: prints the milliseconds of each round, as JSON."""

import json
import sys
import time
from typing import Any

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from fedjax.algorithms import fed_avg

CLIENTS, SAMPLES, FEATURES, HIDDEN, CLASSES = 1000, 20, 64, 64, 10
COHORT, BATCH, LR = 100, 10, 0.05


def loss(params: Any, batch: Any, rng: Any) -> Any:
    """Of each sample: FedJAX takes the mean."""
    hidden = jax.nn.relu(batch["x"] @ params["w1"] + params["b1"])
    logits = jax.nn.log_softmax(hidden @ params["w2"] + params["b2"])
    return -jnp.take_along_axis(logits, batch["y"][:, None], 1)[:, 0]


def main(rounds: int) -> None:
    rng = np.random.default_rng(0)
    data = {
        b"%d" % client: {
            "x": rng.standard_normal((SAMPLES, FEATURES)).astype(np.float32),
            "y": rng.integers(0, CLASSES, SAMPLES),
        }
        for client in range(CLIENTS)
    }
    clients = fedjax.InMemoryFederatedData(data)
    one, two = jax.random.split(jax.random.PRNGKey(0))
    start = {
        "w1": 0.1 * jax.random.normal(one, (FEATURES, HIDDEN)),
        "b1": jnp.zeros(HIDDEN),
        "w2": 0.1 * jax.random.normal(two, (HIDDEN, CLASSES)),
        "b2": jnp.zeros(CLASSES),
    }
    algorithm = fed_avg.federated_averaging(
        fedjax.grad(loss),
        fedjax.optimizers.sgd(LR),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=BATCH, num_epochs=1, seed=0),
    )
    sampler = fedjax.client_samplers.UniformGetClientSampler(clients, num_clients=COHORT, seed=0)
    state, taken = algorithm.init(start), []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        state, _ = algorithm.apply(state, sampler.sample())
        jax.block_until_ready(state.params)
        taken.append(1e3 * (time.perf_counter() - begun_s))
    print(json.dumps(taken))


if __name__ == "__main__":
    main(int(sys.argv[2]))
