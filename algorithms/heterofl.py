"""HeteroFL (Diao, Ding, Tarokh, ICLR 2021, arXiv:2010.01264; github diaoenmao/HeteroFL).

Clients of little memory train a thinner model: the first ⌈r·C⌉ units of every hidden layer (see `nested`).

    local    E epochs of SGD on the slice; the outputs of hidden layers divided by r (scaler);
             logits of labels that the client does not have set to 0 (masked_loss)
    server   each value is the plain mean over the clients that hold it, a row of the last layer over those that have
             its label; values that nobody holds stay

The scaler makes thin layers as loud as whole ones. It stands before the norm, so where a batch norm follows it does
nothing, and is left out. Division by r is training at the point w/r, with a gradient that is divided by r as well;
logits of 0 are rows of the last layer that are 0 and get no gradient: both are exact for any model.

Static batch norm: training goes by the batch alone, and running statistics are taken once after it, over all of the
client's samples. The authors' code does so once after the whole training, with all clients' samples.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import MinLen
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Arrivals, Client, Context, Payload, local_work
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.nested import Nested, Rate, rate_of, thin
from edgesim.devices.workload import Workload
from edgesim.learning import tree, widths
from edgesim.learning.batches import Batch
from edgesim.learning.models import Model
from edgesim.learning.phases import together
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class HeteroFL(Nested):
    """Each client trains a slice of the model as wide as its device allows."""

    summary: ClassVar[str] = "slices of one model, as wide as each client's device allows; mean over the holders"
    paper: ClassVar[str] = "Diao, Ding, Tarokh 2021, arXiv:2010.01264"

    rates: Annotated[tuple[Rate, ...], MinLen(1), Doc("shares of the units of each hidden layer")] = (
        1.0, 0.5, 0.25, 0.125, 0.0625,
    )  # fmt: skip
    weighting: Annotated[Literal["samples", "uniform"], Doc("p_k: by training samples, or equal")] = "uniform"
    scaler: Annotated[bool, Doc("divide the outputs of hidden layers by r")] = True
    masked_loss: Annotated[bool, Doc("leave labels that a client does not have out of its loss")] = True
    norms: Annotated[
        Literal["static", "tracked"], Doc("running statistics: once after training, or moved by every batch")
    ] = "static"
    used: Annotated[
        Literal["own", "global"], Doc("what a client is tested with: its slice, or the whole model as in the paper")
    ] = "own"

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        state = super().init_client(context, client)
        rate = float(state["width"]["rate"])
        return {**state, "scale": _scale(context.task.model, rate if self.scaler else 1.0)}

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        own, samples = thin(context, rate_of(client)), client.samples
        if self.norms == "tracked" or not context.task.model.statistics:
            return local_work(own, samples)
        return together(local_work(own, samples), phase_work(own, samples, (), epochs=1))

    def held(self, context: Context, arrivals: Arrivals) -> Params:
        held, has = super().held(context, arrivals), arrivals.update["labels"]["has"]
        return {**held, **{name: _rows(has, held[name]) for name in widths.layout(context.task.model).head}}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        labels = {"has": self._labels(learner)}
        start = {**self.local_start(payload, client), "labels": labels, "scale": client["scale"]}
        local = self.local_run(start, learner)
        if self.norms == "static":
            local = {**local, "params": self._settled(local, learner)}
        update, after = self.local_end(payload, client, local, learner)
        return {**update, "labels": labels}, after

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        return learner.descend(local, self._gradient(local, batch, learner))

    def reported_model(self, payload: State, client: State) -> Params:
        """What a report of losses is of: the slice with its scaler."""
        return _scaled(self.local_start(payload, client)["params"], client["scale"])

    def _gradient(self, local: State, batch: Batch, learner: Learner) -> Params:
        """Of the loss with scaled layers and masked labels, by the chain rule."""
        head = widths.layout(learner.task.model).head
        at = learner.gradient(_stretched(local["params"], local, head), batch)
        return _stretched(at, local, head)

    def _labels(self, learner: Learner) -> Tensor:
        """The labels that each client has: bool [client, class]."""
        shape = (len(learner.version), learner.task.classes)
        if not self.masked_loss:
            return torch.ones(shape, dtype=torch.bool, device=learner.device)
        own = learner.samples()
        return own.weight.new_zeros(shape).scatter_add_(1, own.y, own.weight) > 0

    def _settled(self, local: State, learner: Learner) -> Params:
        """The params, with the statistics of all samples at once: a gradient of theirs is momentum · (before − now)."""
        model, params = learner.task.model, local["params"]
        if not model.statistics:
            return params
        decrease = self._gradient(local, learner.samples(), learner)
        momentum = {name: model.module.get_submodule(name.rpartition(".")[0]).momentum for name in model.statistics}
        return {n: t - decrease[n] / float(momentum[n]) if n in momentum else t for n, t in params.items()}  # type: ignore[arg-type]

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        if self.used == "global":
            return server["params"]
        own, scale = super().client_model(server, client), client.state["scale"]
        if own is server["params"]:
            return own
        return {name: tensor * scale[name] if name in scale else tensor for name, tensor in own.items()}


@lru_cache(maxsize=256)
def _scale(model: Model, rate: float) -> Params:
    """What the tensors before a scaler are multiplied by, 1/r: one object, however many clients have this rate."""
    return dict.fromkeys(widths.layout(model).free, torch.tensor(1 / rate))


def _stretched(params: Params, local: State, head: tuple[str, ...]) -> Params:
    """Hidden layers by 1/r, and rows of the last one by whether the client has their label."""
    rows = {name: _rows(local["labels"]["has"], params[name]) for name in head}
    return {**_scaled(params, local["scale"]), **rows}


def _scaled(params: Params, scale: Params) -> Params:
    """Hidden layers of stacked params by 1/r."""
    return {**params, **{name: tree.broadcast(each, params[name]) * params[name] for name, each in scale.items()}}


def _rows(has: Tensor, tensor: Tensor) -> Tensor:
    """A tensor [client, class, …], 0 or False in the rows of labels that a client does not have."""
    return tensor * has.view(*has.shape, *[1] * (tensor.dim() - 2))
