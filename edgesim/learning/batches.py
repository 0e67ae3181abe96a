"""Mini-batches of a whole cohort, each client's drawn from its own stream.

A client of n samples makes ceil(n / B) steps an epoch over a fresh permutation; its last batch may be
short. Rows beyond a batch's real samples carry weight 0, so lockstep over unequal clients is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgesim import streams
from edgesim.learning.shards import Shards


@dataclass(frozen=True)
class Batch:
    """Attributes: x [client, B, *shape]; y [client, B]; weight [client, B], 1/real samples or 0."""

    x: Tensor
    y: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Batches:
    """All batches of a cohort. Attributes: index, weight [client, step, B]; steps and epoch_steps [client]."""

    x: Tensor
    y: Tensor
    index: Tensor
    weight: Tensor
    steps: NDArray[np.int64]
    epoch_steps: NDArray[np.int64]

    def at(self, step: int, clients: int) -> Batch:
        """The batches of the first `clients` clients at one step."""
        index = self.index[:clients, step]
        return Batch(take(self.x, index), take(self.y, index), self.weight[:clients, step])


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """A batch as two: its samples at even and at odd places; of a single sample both are that one."""
    first, second = _every_other(batch, 0), _every_other(batch, 1) if batch.weight.shape[1] > 1 else None
    if second is None:
        return first, first
    alone = (second.weight.sum(1) == 0)[:, None]
    if bool(alone.any()):  # rows of padding only
        width = second.weight.shape[1]
        x = torch.where(alone.view(-1, 1, *[1] * (batch.x.dim() - 2)), first.x[:, :width], second.x)
        y = torch.where(alone, first.y[:, :width], second.y)
        second = Batch(x, y, torch.where(alone, first.weight[:, :width], second.weight))
    return first, second


def _every_other(batch: Batch, start: int) -> Batch:
    weight = batch.weight[:, start::2]
    total = weight.sum(1, keepdim=True)
    return Batch(batch.x[:, start::2], batch.y[:, start::2], weight / total.clamp_min(torch.finfo(weight.dtype).tiny))


def take(data: Tensor, index: Tensor) -> Tensor:
    """`data[index]` along the first axis, in a fifth of the time: [*index, *sample]."""
    return data.index_select(0, index.reshape(-1)).view(*index.shape, *data.shape[1:])


def mean_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Each client's mean cross-entropy [client] of logits [client, B, class] over the real samples."""
    each = F.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="none")
    return (each.view(batch.y.shape) * batch.weight).sum(1)


def draw(
    x: Tensor,
    y: Tensor,
    shards: Shards,
    clients: NDArray[np.int64],
    jobs: NDArray[np.int64],
    *,
    seed: int,
    purpose: str,
    batch_size: int,
    epochs: int,
    steps: int | None = None,
    keys: NDArray[np.uint64] | None = None,
) -> Batches:
    """Draw the batches of a cohort; a client's depend on (seed, purpose, client, job) alone, or on its own of `keys`.

    `steps` cuts every client's list short: 1 draws one random mini-batch each.
    """
    samples = shards.count[clients]
    most, width = int(samples.max()), int(min(batch_size, samples.max()))
    if keys is None:
        keys = streams.fold(streams.fold(streams.key(seed, purpose), clients), jobs)
    order = np.stack([_permutations(streams.fold(keys, e), samples, most) for e in range(epochs)], axis=1)

    per_epoch = -(-samples // batch_size)  # [client]
    count = per_epoch * epochs if steps is None else np.minimum(per_epoch * epochs, steps)
    step = np.arange(int(count.max()))
    epoch = np.minimum(step[None, :] // per_epoch[:, None], epochs - 1)  # [client, step]
    position = (step[None, :] % per_epoch[:, None])[:, :, None] * batch_size + np.arange(width)
    going = step[None, :] < count[:, None]  # clients of fewer steps have finished before
    real = (position < samples[:, None, None]) & going[:, :, None]  # [client, step, B]
    local = order[np.arange(len(clients))[:, None, None], epoch[:, :, None], np.where(real, position, 0)]
    index = shards.index[shards.offset[clients][:, None, None] + local]
    weight = real / np.maximum(real.sum(axis=2, keepdims=True), 1)
    return Batches(x, y, torch.from_numpy(index), torch.from_numpy(weight.astype(np.float32)), count, per_epoch)


def _permutations(keys: NDArray[np.uint64], samples: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """A permutation of range(samples[i]) in the first samples[i] places of row i: [client, most]."""
    draws = streams.uniforms(keys, most)
    draws[np.arange(most)[None, :] >= samples[:, None]] = 2.0
    return np.argsort(draws, axis=1, kind="stable")
