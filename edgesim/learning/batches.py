"""Mini-batches of a whole cohort, each client's drawn from its own stream.

A client of n samples makes ceil(n / B) steps an epoch over a fresh permutation; its last batch may be
short. Rows beyond a batch's real samples carry weight 0, so lockstep over unequal clients is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgesim import streams
from edgesim.learning.cohort import Cohort
from edgesim.learning.shards import Shards

Rows = TypeVar("Rows", NDArray[np.int64], NDArray[np.float32])


@dataclass(frozen=True)
class Batch:
    """Attributes: x [client, B, *shape]; y [client, B]; weight [client, B], 1/real samples or 0; keys, uint64 [client],
    of what a model draws at random of this batch, the same each time; None: its models draw nothing."""

    x: Tensor
    y: Tensor
    weight: Tensor
    keys: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class Batches:
    """All batches of a cohort. Attributes: index, weight [client, step, B]; steps and epoch_steps [client]; keys, of
    which those of each batch are made, uint64 [client], or None."""

    x: Tensor
    y: Tensor
    index: Tensor
    weight: Tensor
    steps: NDArray[np.int64]
    epoch_steps: NDArray[np.int64]
    keys: NDArray[np.uint64] | None = None

    @property
    def still(self) -> list[int]:
        """How many clients have work at each step; they are sorted by falling number of steps."""
        most = int(self.steps.max(initial=0))
        still: list[int] = np.searchsorted(-self.steps, -np.arange(most)).tolist()
        return still

    def some(self, clients: slice) -> "Batches":
        """Those of some clients."""
        return Batches(
            x=self.x, y=self.y, index=self.index[clients], weight=self.weight[clients],
            steps=self.steps[clients], epoch_steps=self.epoch_steps[clients],
            keys=None if self.keys is None else self.keys[clients],
        )  # fmt: skip

    def at(self, step: int, clients: int) -> Batch:
        """The batches of the first `clients` clients at one step."""
        return self.of(step, slice(clients))

    def of(self, step: int, clients: slice) -> Batch:
        """The batches of some clients at one step."""
        index = self.index[clients, step]
        keys = None if self.keys is None else streams.fold(self.keys[clients], step)
        return Batch(take(self.x, index), take(self.y, index), self.weight[clients, step], keys)


def mapped(batches: Batches, map_: Callable[[Tensor], Tensor], width: int) -> Batches:
    """The same batches of what `map_` makes of x; each sample of a client goes through it once.

    It is given blocks of so many samples of the first clients in their order, [client, width, *shape]: those that have
    some left, since clients have falling numbers of samples. So company changes how many clients there are in a block,
    and nothing else.
    """
    index = batches.index.cpu().numpy()
    rows = index.reshape(len(index), -1)
    order = rows.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    place = np.cumsum(np.diff(ordered, axis=1, prepend=ordered[:, :1]) != 0, axis=1)  # among the client's, each once
    blocks = place[:, -1] // width + 1  # of each client
    samples = np.repeat(ordered[:, :1], int(blocks.max()) * width, axis=1)  # short lists are filled up with their first
    np.put_along_axis(samples, place, ordered, 1)
    places = np.empty_like(rows)
    np.put_along_axis(places, order, place, 1)
    made, labels, start, begun = [], [], 0, []
    for block in range(int(blocks.max())):
        clients = int(np.flatnonzero(blocks > block)[-1]) + 1
        at = torch.from_numpy(samples[:clients, block * width : (block + 1) * width]).to(batches.index.device)
        made.append(map_(take(batches.x, at)).flatten(0, 1))
        labels.append(take(batches.y, at).flatten())
        begun.append(start)
        start += clients * width
    at_block, within = np.divmod(places, width)
    index = (np.array(begun)[at_block] + np.arange(len(rows))[:, None] * width + within).reshape(index.shape)
    return replace(
        batches, x=torch.cat(made), y=torch.cat(labels), index=torch.from_numpy(index).to(batches.index.device)
    )


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
        second = Batch(x, y, torch.where(alone, first.weight[:, :width], second.weight), second.keys)
    return first, second


def _every_other(batch: Batch, start: int) -> Batch:
    weight = batch.weight[:, start::2]
    total = weight.sum(1, keepdim=True)
    share = weight / total.clamp_min(torch.finfo(weight.dtype).tiny)
    keys = None if batch.keys is None else streams.fold(batch.keys, start)
    return Batch(batch.x[:, start::2], batch.y[:, start::2], share, keys)


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
    cohort: Cohort,
    *,
    seed: int,
    purpose: str,
    batch_size: int,
    epochs: int,
    steps: int | None = None,
    random: bool = False,
) -> Batches:
    """Draw the batches of a cohort; a client's depend on its samples and its stream of this purpose alone.

    `steps` cuts every client's list short: 1 draws one random mini-batch each. `random`: models draw, too, by `keys`.
    """
    clients, keys = cohort.clients, cohort.keys(seed, purpose)
    samples = shards.count[clients]
    width = min(batch_size, shards.most)  # of the task, so that company does not change the shape of anything
    per_epoch = -(-samples // batch_size)  # [client]
    places = np.arange(int(per_epoch.max()) * width)
    real = (places < samples[:, None]).reshape(len(clients), 1, -1, width)  # [client, 1, step of an epoch, B]
    order = np.stack([_permutations(streams.fold(keys, e), samples, len(places)) for e in range(epochs)], axis=1)
    index = shards.index[shards.offset[clients][:, None, None] + order].reshape(len(clients), -1, width)
    share = (real / np.maximum(np.count_nonzero(real, axis=3, keepdims=True), 1)).astype(np.float32)
    weight = np.tile(share, (1, epochs, 1, 1)).reshape(index.shape)
    count = per_epoch * epochs if steps is None else np.minimum(per_epoch * epochs, steps)
    if epochs > 1:
        index, weight = _closed_up(index, per_epoch, epochs), _closed_up(weight, per_epoch, epochs)
    most = int(count.max())
    at, shares = torch.from_numpy(index[:, :most]), torch.from_numpy(weight[:, :most])
    drawing = cohort.keys(seed, f"model/{purpose}") if random else None
    return Batches(x, y, at.to(x.device), shares.to(x.device), count, per_epoch, drawing)


def _closed_up(rows: Rows, per_epoch: NDArray[np.int64], epochs: int) -> Rows:
    """[client, epochs · most steps of any client, B] with each client's own steps first, one epoch after the other."""
    most = int(per_epoch.max())
    if int(per_epoch.min()) == most:
        return rows
    empty = np.arange(most) >= per_epoch[:, None]  # [client, step of an epoch]
    order = np.argsort(np.tile(empty, epochs), axis=1, kind="stable")
    return np.take_along_axis(rows, order[:, :, None], axis=1)


def _permutations(keys: NDArray[np.uint64], samples: NDArray[np.int64], places: int) -> NDArray[np.int64]:
    """A permutation of range(samples[i]) in the first samples[i] places of row i, and then zeros: [client, place]."""
    draws = streams.uniforms(keys, places)
    rest = np.arange(places) >= samples[:, None]
    draws[rest] = 2.0
    order = np.argsort(draws, axis=1, kind="stable")
    order[rest] = 0
    return order
