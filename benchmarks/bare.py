"""Bare limits: each workload by the technique that is fastest for it, without a simulator around.

Whole rounds: clients chosen, batches drawn, trained, averaged. No events, no costs, no records, no evaluation.
Which technique wins where is in README.md; all of them do the same arithmetic as plain SGD.
"""

import heapq
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import simpy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Params = list[Floats]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A workload in numbers; `samples`, training samples of each client."""

    clients: int
    samples: int
    batch: int
    cohort: int
    rounds: int
    lr: float = 0.05
    classes: int = 10

    @property
    def updates(self) -> int:
        return self.cohort * self.rounds


W1 = Shape(clients=1000, samples=20, batch=10, cohort=100, rounds=20)
W2 = Shape(clients=200, samples=50, batch=10, cohort=20, rounds=10)
W3 = Shape(clients=50, samples=100, batch=20, cohort=10, rounds=3)
BUFFER = 10
CHUNK = 25  # clients stacked at once: 0.5 MB of weights, which stays in a core's own cache
FEATURES, HIDDEN = 64, 64
_SIZES = ((FEATURES, HIDDEN), (1, HIDDEN), (HIDDEN, 10), (1, 10))


# ── W1: stacked numpy, hand-written backward ────────────────────────────────────────────────────────────
class DenseCohort:
    """A stacked 64-64-10 perceptron for up to CHUNK clients, in buffers that stay in the cache.

    Attributes: params, w1 [client, 64, 64], b1 [client, 1, 64], w2 [client, 64, 10], b2 [client, 1, 10];
    weights are [in, out], so that the forward products need no transposition.
    """

    def __init__(self, shape: Shape, rng: np.random.Generator) -> None:
        self.shape, self._rng = shape, rng
        self.x = rng.standard_normal((shape.clients, shape.samples, FEATURES)).astype(np.float32)
        self.y = rng.integers(0, shape.classes, (shape.clients, shape.samples))
        self.params = [np.empty((CHUNK, *size), np.float32) for size in _SIZES]
        self._gradients = [np.empty_like(p) for p in self.params]

    def train(self, start: Params, clients: NDArray[np.int64]) -> Params:
        """The parameters [client, *shape] of clients trained from `start`, [*shape] or [client, *shape]."""
        count = len(clients)
        w1, b1, w2, b2 = params = [p[:count] for p in self.params]
        g1, _, g2, _ = (g[:count] for g in self._gradients)
        for p, value in zip(params, start, strict=True):
            np.copyto(p, value)
        size, samples = self.shape.batch, self.shape.samples
        order = np.argsort(self._rng.random((count, samples), np.float32), axis=1)
        row, column, owner = np.arange(count)[:, None], np.arange(size)[None, :], clients[:, None]
        for first in range(0, samples, size):
            index = order[:, first : first + size]
            x, y = self.x[owner, index], self.y[owner, index]
            h = x @ w1
            h += b1
            np.maximum(h, 0, out=h)
            delta = h @ w2
            delta += b2
            delta -= delta.max(2, keepdims=True)
            np.exp(delta, out=delta)
            delta /= delta.sum(2, keepdims=True)
            delta[row, column, y] -= 1
            delta *= np.float32(self.shape.lr / size)
            back = delta @ w2.transpose(0, 2, 1)
            back *= h > 0
            w2 -= np.matmul(h.transpose(0, 2, 1), delta, out=g2)
            b2 -= delta.sum(1, keepdims=True)
            w1 -= np.matmul(x.transpose(0, 2, 1), back, out=g1)
            b1 -= back.sum(1, keepdims=True)
        return params


def dense_rounds(shape: Shape = W1) -> Callable[[], float]:
    """W1's rounds; calling it gives their seconds."""
    rng = np.random.default_rng(0)
    cohort, start = DenseCohort(shape, rng), _dense_start(rng)
    share = np.full(CHUNK, 1 / shape.cohort, np.float32)

    def rounds() -> float:
        params = start
        begun = time.perf_counter()
        for _ in range(shape.rounds):
            chosen = rng.choice(shape.clients, shape.cohort, replace=False)
            total = [np.zeros_like(p) for p in params]
            for first in range(0, shape.cohort, CHUNK):
                trained = cohort.train(params, chosen[first : first + CHUNK])
                for whole, part in zip(total, trained, strict=True):
                    whole += (share @ part.reshape(CHUNK, -1)).reshape(whole.shape)
            params = total
        return time.perf_counter() - begun

    return rounds


def _dense_start(rng: np.random.Generator) -> Params:
    return [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in _SIZES]


# ── W4: the same task, buffered: a heap of finishing times, and cohorts trained when one is needed ─────
class Buffered:
    """`cohort` clients of unlike speeds in flight; every BUFFER arrivals are averaged."""

    def __init__(self, shape: Shape = W1) -> None:
        self._rng = np.random.default_rng(0)
        self._cohort = DenseCohort(shape, self._rng)
        self._speed = np.exp(0.5 * self._rng.standard_normal(shape.clients)).tolist()
        self._versions = [_dense_start(self._rng)]
        self._waiting: dict[int, tuple[int, int]] = {}  # job → (client, version), not yet trained
        self._trained: dict[int, Params] = {}  # job → its update
        self._flying: list[tuple[float, int, int]] = []  # (finishing time, job, client)
        self._idle = list(range(shape.clients))

    def run(self) -> float:
        """Seconds for the 2,000 updates of W4; once only."""
        shape = self._cohort.shape
        begun = time.perf_counter()
        for job in range(shape.cohort):
            self._dispatch(0.0, job)
        buffer: list[int] = []
        for next_job in range(shape.cohort, shape.cohort + shape.updates):
            now, job, client = heapq.heappop(self._flying)
            self._idle.append(client)
            buffer.append(job)
            if len(buffer) == BUFFER:
                self._aggregate(buffer)
                buffer.clear()
            self._dispatch(now, next_job)
        return time.perf_counter() - begun

    def _dispatch(self, now: float, job: int) -> None:
        idle, place = self._idle, int(random.random() * len(self._idle))
        idle[place], idle[-1] = idle[-1], idle[place]
        client = idle.pop()
        self._waiting[job] = (client, len(self._versions) - 1)
        heapq.heappush(self._flying, (now + self._speed[client], job, client))

    def _aggregate(self, jobs: Sequence[int]) -> None:
        if any(job in self._waiting for job in jobs):
            self._train()
        updates = [self._trained.pop(job) for job in jobs]
        last = self._versions[-1]
        self._versions.append([p + np.mean([u[i] for u in updates], 0) for i, p in enumerate(last)])

    def _train(self) -> None:
        """All that wait, in chunks."""
        jobs = list(self._waiting)
        for first in range(0, len(jobs), CHUNK):
            chunk = jobs[first : first + CHUNK]
            clients, versions = zip(*(self._waiting[job] for job in chunk), strict=True)
            start = [np.stack([self._versions[v][i] for v in versions]) for i in range(len(_SIZES))]
            for before, after in zip(start, self._cohort.train(start, np.array(clients)), strict=True):
                np.subtract(after, before, out=before)
            for row, job in enumerate(chunk):
                self._trained[job] = [update[row] for update in start]
        self._waiting.clear()


# ── W2, W3: one client at a time, channels last, hand-written backward ─────────────────────────────────
_convolve, _convolve_back = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
_pool, _pool_back = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward
_CONVOLUTION = (
    [1, 1],
    [2, 2],
    [1, 1],
    False,
    [0, 0],
    1,
)  # stride, padding, dilation, transposed, output padding, groups
_POOL = ([2, 2], [2, 2], [0, 0], [1, 1], False)


@dataclass(frozen=True, kw_only=True)
class Net:
    """Two 5×5 convolutions, each with 2×2 pooling and ReLU, then dense layers with ReLU between."""

    input: tuple[int, int, int]
    channels: tuple[int, int]
    dense: tuple[int, ...]

    def start(self) -> list[Tensor]:
        torch.manual_seed(0)
        depth, height, width = self.input
        first, second = self.channels
        units = (second * (height // 4) * (width // 4), *self.dense)
        sizes = [(first, depth, 5, 5), (first,), (second, first, 5, 5), (second,)]
        for i in range(len(self.dense)):
            sizes += [(units[i + 1], units[i]), (units[i + 1],)]
        made = [0.05 * torch.randn(size) for size in sizes]
        return [p.to(memory_format=torch.channels_last) if p.dim() == 4 else p for p in made]


NETS = {
    "W2": (W2, Net(input=(1, 28, 28), channels=(16, 32), dense=(128, 10))),
    "W3": (W3, Net(input=(3, 32, 32), channels=(64, 64), dense=(384, 192, 10))),
}


def sgd_step(params: list[Tensor], x: Tensor, y: Tensor, lr: float) -> None:
    """One step in place, x [batch, channel, height, width] in channels-last order."""
    kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for layer in (0, 2):
        z = _convolve(x, params[layer], params[layer + 1], *_CONVOLUTION)
        p, where = _pool(z, *_POOL)
        p.relu_()  # after pooling: the same numbers, a quarter of the work
        kept.append((x, z, where, p))
        x = p
    inputs, h = [], x.permute(0, 2, 3, 1).reshape(len(x), -1)  # a view: the weights are in this order from the start
    last = len(params) - 2
    for layer in range(4, len(params), 2):
        inputs.append(h)
        h = torch.addmm(params[layer + 1], h, params[layer].t())
        if layer < last:
            h.relu_()
    delta = torch.softmax(h, 1)
    delta -= F.one_hot(y, delta.shape[1])
    delta /= len(y)
    for layer in range(last, 2, -2):
        value = inputs.pop()
        back = delta @ params[layer]
        back *= value > 0
        params[layer].addmm_(delta.t(), value, alpha=-lr)
        params[layer + 1].sub_(delta.sum(0), alpha=lr)
        delta = back
    _, _, _, p = kept[-1]
    grad = delta.view(len(y), p.shape[2], p.shape[3], p.shape[1]).permute(0, 3, 1, 2)
    for layer, (x, z, where, p) in zip((2, 0), reversed(kept), strict=True):
        if layer == 0:
            grad *= p > 0
        grad = _pool_back(grad, z, *_POOL, where)
        below, weight, bias = _convolve_back(
            grad, x, params[layer], [len(params[layer])], *_CONVOLUTION, [layer > 0, True, True]
        )
        params[layer].sub_(weight, alpha=lr)
        params[layer + 1].sub_(bias, alpha=lr)
        grad = below


def _image_data(shape: Shape, net: Net) -> tuple[Tensor, Tensor]:
    """x [client, sample, height, width, channel] and y [client, sample]."""
    depth, height, width = net.input
    torch.manual_seed(1)
    x = torch.randn(shape.clients, shape.samples, height, width, depth)
    return x, torch.randint(0, shape.classes, (shape.clients, shape.samples))


def image_rounds(name: str, share: int = 1) -> Callable[[], float]:
    """Seconds for the rounds of W2 or W3, of which this process trains one `share`-th of every cohort."""
    shape, net = NETS[name]
    x, y = _image_data(shape, net)

    def rounds() -> float:
        rng = np.random.default_rng(0)
        params = net.start()
        begun = time.perf_counter()
        for _ in range(shape.rounds):
            chosen = rng.choice(shape.clients, shape.cohort // share, replace=False)
            total: list[Tensor] = []
            for client in chosen:
                local = _client(params, x[client], y[client], shape, rng)
                if total:
                    torch._foreach_add_(total, local)
                else:
                    total = local
            torch._foreach_div_(total, len(chosen))
            params = total
        return time.perf_counter() - begun

    return rounds


def _client(params: Sequence[Tensor], x: Tensor, y: Tensor, shape: Shape, rng: np.random.Generator) -> list[Tensor]:
    local = [p.clone() for p in params]
    order = torch.from_numpy(rng.permutation(shape.samples))
    for start in range(0, shape.samples, shape.batch):
        index = order[start : start + shape.batch]
        sgd_step(local, x[index].permute(0, 3, 1, 2), y[index], shape.lr)
    return local


# ── W5: SimPy alone ─────────────────────────────────────────────────────────────────────────────────────
def timeouts(jobs: int, cohort: int = 1_000) -> float:
    """Seconds for so many jobs of three timeouts each, in rounds; nothing is accounted for."""
    environment = simpy.Environment()

    def job(speed: float) -> Generator[simpy.Event, None, None]:
        for _ in range(3):
            yield environment.timeout(speed)

    def rounds() -> Generator[simpy.Event, None, None]:
        for _ in range(jobs // cohort):
            yield environment.all_of([environment.process(job(random.random())) for _ in range(cohort)])

    begun = time.perf_counter()
    environment.process(rounds())
    environment.run()
    return time.perf_counter() - begun
