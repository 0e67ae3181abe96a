"""Any algorithm whose clients report a loss with their updates: what selectors ask for that go by it.

The loss is that of the model from which local training begins, over the client's training samples: their mean, and
the mean of their squares. The device pays for it: one forward pass over its samples, of the whole model under the
job's densities, and two numbers more in the update.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, models_of, payloads_of
from edgesim.algorithms.costs import at_density, forward_work
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, phases, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.quadratic import QuadraticKernel
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

REPORT: Final = "report"
"""The group of an update that says the losses; `LossReports` alone knows of it."""


@dataclass(frozen=True, kw_only=True)
class LossReports(Algorithm):
    """`inner` with such reports; everything else is the inner algorithm's."""

    inner: Algorithm

    @property
    def stands_for(self) -> Algorithm:
        """Whose hooks count where it is asked which of them are an algorithm's own."""
        return self.inner

    def check(self, context: Context) -> None:
        self.inner.check(context)

    def check_reports(self, context: Context) -> None:
        """Raise ScenarioError for an algorithm that trains no model of which a loss could be told."""
        who = Client(0, int(context.task.train.count[0]), self.inner.init_client(context, 0))
        payload = self.inner.download(context, self.inner.init_server(context), who)
        self._model(tree.stack([payload.state]), tree.stack([who.state]))

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        return self.inner.init_server(context)

    def init_client(self, context: Context, client: int) -> State:
        return self.inner.init_client(context, client)

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return self.inner.download(context, server, client)

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        return payloads_of(self.inner, context, server, clients)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        work = self.inner.workload(context, payload, client)
        forward = forward_work(context, client.samples, density={})
        density = work.layer_density[: len(forward.layer_flops)]  # passes and phases follow one another, forward first
        if len(density) == len(forward.layer_flops):
            forward = at_density(forward, tuple(density.tolist()))
        return phases.together(work, forward)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        size = self.inner.upload_bytes(context, payload, client)
        return None if size is None else size + REPORT_BYTES

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return [*self.inner.upload(without_report(update), before, after), _part(update[REPORT]["loss"])]

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return self.inner.aggregate(context, server, arrivals)

    def server_work(self, context: Context, server: State, arrivals: Arrivals) -> Workload | None:
        return self.inner.server_work(context, server, arrivals)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        report = {"loss": losses(self._model(payload, client), learner)}
        update, after = self.inner.local_train(payload, client, learner)
        return {**update, REPORT: report}, after

    def _model(self, payload: State, client: State) -> Params:
        """The algorithm's `reported_model`, [client, *shape]."""
        algorithm = self.inner
        while (core := getattr(algorithm, "inner", None)) is not None:  # that of a codec, not the codec's
            algorithm = core
        try:
            return algorithm.reported_model(payload, client)
        except KeyError:
            raise ScenarioError(
                f"selector: it goes by the losses of the clients' models, and {type(algorithm).__name__} trains none "
                "that it could be asked of; take another selector"
            ) from None

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return self.inner.client_model(server, client)

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return models_of(self.inner, server, clients)

    def personalise(self, model: Params, learner: Learner) -> Params:
        return self.inner.personalise(model, learner)


def without_report(update: State) -> State:
    """An update as the algorithm knows it."""
    return {group: params for group, params in update.items() if group != REPORT}


def losses(params: Params, learner: Learner) -> Tensor:
    """Mean loss, and mean squared loss, of each client's model over all its training samples: [client, 2]."""

    def step(local: State, batch: Batch, at: Learner) -> State:
        each = _each({name: tensor[: len(batch.y)] for name, tensor in params.items()}, batch, at)
        each = each * (batch.weight > 0)
        return {"sum": {"loss": local["sum"]["loss"] + torch.stack([each.sum(1), each.square().sum(1)], 1)}}

    count = torch.from_numpy(learner.task.train.count[learner.cohort.clients]).to(learner.device)
    zero = torch.zeros(len(count), 2, device=learner.device)
    summed = learner.run({"sum": {"loss": zero}}, step, epochs=1, purpose=REPORT)
    return summed["sum"]["loss"] / count[:, None]


def _each(params: Params, batch: Batch, learner: Learner) -> Tensor:
    """Loss of each sample [client, B]."""
    if isinstance(learner.kernel, QuadraticKernel):  # a client has one sample
        return learner.loss(params, batch)[:, None]
    logits = learner.kernel.logits(params, batch.x)
    return F.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="none").view(batch.y.shape)


def _part(loss: Tensor) -> Part:
    return Part(values=loss.float(), mask=None, mask_known=False)


REPORT_BYTES: Final = codecs.size([_part(torch.zeros(2))]) - codecs.size([])
