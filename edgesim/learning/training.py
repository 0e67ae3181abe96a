"""Local training: what a client does with its data between download and upload."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from edgesim import streams
from edgesim.learning import batches as batching
from edgesim.learning import masks, solvers, tree
from edgesim.learning.batches import Batch, Batches
from edgesim.learning.cohort import Cohort
from edgesim.learning.descent import Descent
from edgesim.learning.kernels import Kernel
from edgesim.learning.outputs import Loss, Network, network_of
from edgesim.learning.tree import Params, State
from edgesim.spelling import advice

if TYPE_CHECKING:
    from edgesim.learning.task import Task


@dataclass(frozen=True, kw_only=True)
class Training:
    """The local solver, the same for every algorithm: steps over mini-batches.

    Attributes: lr and its decay per server version (lr · lr_decay^version); momentum (of sgd); weight_decay;
    batch_size; epochs; clip, the largest norm of a gradient, or None; trained, the tensors that learn, or None: all;
    optimizer, one of `solvers.SOLVERS`; beta1, beta2, epsilon, of Adam.
    """

    lr: float
    lr_decay: float = 1.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int
    epochs: int = 1
    clip: float | None = None
    trained: tuple[str, ...] | None = None
    optimizer: str = "sgd"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def plain(self) -> bool:
        """Whether a step is w ← w − lr (g + λ w)."""
        return not self.words and self.clip is None

    @property
    def words(self) -> int:
        """How many values a weight the solver remembers from step to step."""
        return (1 if self.momentum else 0) if self.optimizer == "sgd" else 2


Step = Callable[[State, Batch, "Learner"], State]
"""One mini-batch of a cohort: (local state, batch, learner) → local state."""

S = TypeVar("S", bound=Callable[..., State])
_PLAIN: set[Callable[..., State]] = set()  # steps that are marked


def plain(step: S) -> S:
    """Mark a step, function or method, that is `descend` along the `gradient` of `params` and nothing else: `run` may
    leave all of them to the kernel at once, as `sgd` does. A subclass's own step is another function, not marked."""
    _PLAIN.add(step)
    return step


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What an algorithm's client side may use: its data, gradients, the local solver, random numbers.

    Everything is drawn from streams keyed by (seed, purpose, client, job): company changes nothing.

    Attributes:
        version: of the server that each client was sent, int64 [client].
        lr: a number, or [client].
        step, steps, epoch_steps: within `run`, the number of this step from 0; steps in all, and in one
            epoch, int64 [client].
    """

    task: "Task"
    training: Training
    kernel: Kernel
    seed: int
    cohort: Cohort
    version: Tensor
    lr: float | Tensor
    step: int = 0
    steps: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    epoch_steps: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @property
    def device(self) -> torch.device:
        """Where all tensors of the device hooks are: those that a hook makes of nothing must be made there."""
        return self.task.x.device

    @property
    def run_steps(self) -> Tensor:
        """How many steps a `run` makes, float32 [client]."""
        samples = self.task.train.count[self.cohort.clients]
        steps = -(-samples // self.training.batch_size) * self.training.epochs
        return torch.from_numpy(steps.astype(np.float32)).to(self.device)

    def run(
        self,
        local: State,
        step: Step,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        purpose: str = "batches",
    ) -> State:
        """`step` over mini-batches: `epochs` passes (the training's own by default), or so many `steps`.

        Clients of unequal sizes run in exact lockstep: the cohort is sorted by falling number of samples, each
        step runs on the prefix that still has work, and the prefix shrinks as clients finish. Passes of
        different `purpose` draw different batches.
        """
        drawn = self._draw(purpose, epochs, steps, batch_size or self.training.batch_size)
        if getattr(step, "__func__", step) in _PLAIN and (by_kernel := self._descending(0.0)):
            return {**local, "params": by_kernel(local["params"], drawn, self.lr, self._descent(0.0, {}, None))}
        steps_of, in_epoch = (torch.from_numpy(array).to(self.device) for array in (drawn.steps, drawn.epoch_steps))
        learner = replace(self, steps=steps_of, epoch_steps=in_epoch)
        finished, active = [], len(drawn.steps)
        for number, still in enumerate(drawn.still):
            if still < active:
                finished.append(tree.rows(local, still, active))
                local, learner, active = tree.rows(local, 0, still), learner.first(still), still
            local = step(local, drawn.at(number, active), learner.at(number))
        return tree.join([local, *reversed(finished)])

    def sgd(
        self,
        local: State,
        *,
        pull: float = 0.0,
        only: Collection[str] | None = None,
        lr: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        purpose: str = "batches",
    ) -> State:
        """A `run` whose steps are `descend` along the gradient of `params` and no more than this:

        - pulled by pull · (w − `local["anchor"]`);
        - plus `local["shift"]`, of the tensors that it has;
        - of the weights that `local["mask"]` has on; what it has off is 0 from the start;
        - of the tensors `only`; with an `lr` of its own.

        The groups need not be there. Kernels may take all steps at once, in a fraction of the time.
        """
        self._check_names(local, pull, only)
        by_kernel = self._descending(pull)
        if by_kernel:
            drawn = self._draw(purpose, epochs, steps, self.training.batch_size)
            descent = self._descent(pull, local, only)
            return {**local, "params": by_kernel(local["params"], drawn, self.lr if lr is None else lr, descent)}

        def step(local: State, batch: Batch, learner: Learner) -> State:
            params = local["params"]
            gradient = learner.gradient(params, batch)
            if only is not None:
                gradient = {name: tensor for name, tensor in gradient.items() if name in only}
            if pull:
                gradient = learner.pulled(gradient, params, local["anchor"], pull)
            if "shift" in local:
                shift = local["shift"]
                gradient = {name: t + shift[name] if name in shift else t for name, t in gradient.items()}
            if "mask" in local:
                gradient = masks.apply(local["mask"], gradient)
            return learner.descend(local, gradient, lr=lr)

        return self.run(local, step, epochs=epochs, steps=steps, purpose=purpose)

    @property
    def _net(self) -> Network:
        model = self.task.model
        return network_of(model.module, model.statistics, self.kernel)

    def _check_names(self, local: State, pull: float, only: Collection[str] | None) -> None:
        """Raise ValueError for names of tensors that there are not."""
        if pull and "anchor" not in local:
            raise ValueError('learner.sgd: a pull wants local["anchor"], the params to be pulled to')
        for what, names in (("only", only), *((group, local.get(group)) for group in ("anchor", "shift", "mask"))):
            for name in names or ():
                if name not in local["params"]:
                    raise ValueError(f"learner.sgd: {what}: no tensor {name!r}; {advice(name, local['params'])}")

    def _descending(self, pull: float) -> Callable[[Params, Batches, float | Tensor, Descent], Params] | None:
        """What takes all steps of plain SGD at once, if there is anything."""
        sgd = getattr(self.kernel, "sgd", None)  # of a `Descending` one: to ask for the protocol takes a step's time
        return sgd if self.training.plain and not (pull and self.training.weight_decay) else None

    def _descent(self, pull: float, local: State, only: Collection[str] | None) -> Descent:
        trained = self.training.trained
        if trained is not None:
            only = trained if only is None else [name for name in only if name in trained]
        return Descent(
            decay=self.training.weight_decay,
            pull=pull,
            anchor=local["anchor"] if pull else {},
            shift=local.get("shift", {}),
            mask=local.get("mask", {}),
            only=None if only is None else frozenset(only),
        )

    def gradient(self, params: Params, batch: Batch, *, loss: Loss | None = None) -> Params:
        """Gradient of each client's mean loss over its batch: [client, *shape]; of the tensors that learn.

        loss: one of your own, (logits [client, B, class], features [client, B, *shape]) → [client]; features
        are what the model's last layer is given. Rows of the batch whose weight is 0 are padding.
        """
        trained = self.training.trained
        gradient = self.kernel.gradient(params, batch) if loss is None else self._net.gradient(params, batch, loss)
        return gradient if trained is None else {name: gradient[name] for name in trained}

    def outputs(self, params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [client, B, class] and features [client, B, *shape] of each client's batch, as in use."""
        return self._net.outputs(params, batch)

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Mean loss of each client over its batch: [client]."""
        return self.kernel.loss(params, batch)

    def accuracy(self, params: Params, batch: Batch) -> Tensor:
        """Share of each client's batch that is predicted right: [client]."""
        real = batch.weight > 0
        right = (self.kernel.logits(params, batch.x).argmax(2) == batch.y) & real
        return right.sum(1) / real.sum(1).clamp_min(1)  # not a sum of shares: half of them may exceed 1/2

    def probe(self) -> Batch:
        """One random mini-batch a client, apart from those it trains on."""
        return self._draw("probe", 1, 1, self.training.batch_size).at(0, len(self.version))

    def samples(self) -> Batch:
        """All training samples of each client, padded to one length: weight 1/n or 0."""
        most = int(self.task.train.count[self.cohort.clients].max())
        return self._draw("samples", 1, 1, most).at(0, len(self.version))

    def held_out(self, share: float) -> "tuple[Learner, Batch]":
        """A learner over the rest of each client's samples, and the share held out, padded to one length; a client
        holds out the same samples in every job."""
        rest, held = _held_out(self.task, share, self.seed)
        return replace(self, task=rest), replace(self, task=held).samples()

    def uniforms(self, purpose: str, count: int) -> Tensor:
        """Random numbers in [0, 1), float32 [client, count]; another `purpose` gives others."""
        keys = self.cohort.keys(self.seed, f"learner/{purpose}")
        # the largest double below 1 would round up to 1
        return torch.from_numpy(streams.uniforms(keys, count).astype(np.float32)).clamp_max_(1 - 2**-24).to(self.device)

    def descend(
        self, local: State, gradient: Params, *, group: str = "params", lr: float | None = None, spend: bool = False
    ) -> State:
        """One step of `local[group]` by the training's solver, with its own `lr` where given.

        SGD: v ← μ v + (clip(g) + λ w);  w ← w − lr v.  Only tensors that have a gradient move; what the solver
        remembers lives in groups of `local`: `solvers.MEMORY`. Statistics of norm layers take their
        whole step: see Model.statistics. `spend`: nobody needs the gradient any more, so its memory may be used.
        """
        hyper, whole = self.training, local[group]
        statistics = {name: gradient[name] for name in self.task.model.statistics if name in gradient}
        if statistics:
            gradient = {name: tensor for name, tensor in gradient.items() if name not in statistics}
        params = whole if len(gradient) == len(whole) else {name: whole[name] for name in gradient}
        if hyper.clip is not None:
            norm = tree.squared_norm(gradient).sqrt()
            gradient = tree.scale((hyper.clip / norm.clamp_min(1e-12)).clamp_max(1.0), gradient)
        along, memory = solvers.direction(hyper, gradient, params, local, group)
        state = {**local, **memory}
        moved = self._step(params, along, self.lr if lr is None else lr, spend and not hyper.words)
        if statistics or len(moved) < len(whole):
            rest = {name: whole[name] - tensor for name, tensor in statistics.items()}
            moved = {name: moved[name] if name in moved else rest.get(name, tensor) for name, tensor in whole.items()}
        state[group] = moved
        return state

    def pulled(self, gradient: Params, params: Params, anchor: Params, strength: float | Tensor) -> Params:
        """The gradient of loss + (strength/2) ‖params − anchor‖²; statistics of norm layers are not pulled."""
        return {
            name: tensor if name in self.task.model.statistics
            else tensor + tree.broadcast(strength, tensor) * (params[name] - anchor[name])
            for name, tensor in gradient.items()
        }  # fmt: skip

    def scaled(self, gradient: Params, factor: float | Tensor) -> Params:
        """`factor` × gradient, [client] or a number; statistics of norm layers keep their whole step."""
        statistics = self.task.model.statistics
        return {n: g if n in statistics else tree.broadcast(factor, g) * g for n, g in gradient.items()}

    def without_statistics(self, params: Params, *, zero: bool = False) -> Params:
        """The tensors that gradients train; with `zero` the others are there, but 0."""
        statistics = self.task.model.statistics
        if not statistics:
            return params
        kept = {name: torch.zeros_like(t) if name in statistics else t for name, t in params.items()}
        return kept if zero else {name: t for name, t in params.items() if name not in statistics}

    def first(self, clients: int) -> "Learner":
        """The same for the first `clients` clients of the cohort."""
        lr = self.lr[:clients] if isinstance(self.lr, Tensor) else self.lr
        return replace(
            self,
            cohort=self.cohort.first(clients),
            version=self.version[:clients],
            lr=lr,
            steps=self.steps[:clients],
            epoch_steps=self.epoch_steps[:clients],
        )

    def at(self, step: int) -> "Learner":
        """The same at another step of a run."""
        return replace(self, step=step)

    def _step(self, params: Params, gradient: Params, lr: float | Tensor, spend: bool) -> Params:
        if isinstance(lr, Tensor):
            return tree.subtract(params, tree.scale(lr, gradient))
        if spend:
            return {name: torch.sub(params[name], g, alpha=lr, out=g) for name, g in gradient.items()}
        return tree.apply(lambda g, w: torch.sub(w, g, alpha=lr), gradient, params)

    def _draw(self, purpose: str, epochs: int | None, steps: int | None, batch_size: int) -> Batches:
        if epochs is None:
            least = int(self.task.train.count[self.cohort.clients].min())
            epochs = self.training.epochs if steps is None else -(-steps // -(-least // batch_size))
        return batching.draw(
            self.task.x, self.task.y, self.task.train, self.cohort,
            seed=self.seed, purpose=purpose, batch_size=batch_size, epochs=epochs, steps=steps,
            random=self.task.model.random,
        )  # fmt: skip


@lru_cache(maxsize=4)
def _held_out(task: "Task", share: float, seed: int) -> "tuple[Task, Task]":
    rest, held = task.train.without_held_out(share, seed)
    return replace(task, train=rest), replace(task, train=held)


def learner(task: "Task", training: Training, kernel: Kernel, *, seed: int, cohort: Cohort) -> Learner:
    """The learner of a cohort, whose clients are sorted by falling number of samples."""
    version = torch.from_numpy(cohort.versions)
    lr: float | Tensor = training.lr
    if training.lr_decay != 1.0:  # one by one: a vector's power may round otherwise, by a number's place in it
        rates = [training.lr * training.lr_decay**sent for sent in cohort.versions.tolist()]
        lr = torch.tensor(rates).to(task.x.device)
    version = version.to(task.x.device)
    return Learner(task=task, training=training, kernel=kernel, seed=seed, cohort=cohort, version=version, lr=lr)
