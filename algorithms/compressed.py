"""Any algorithm whose updates are made smaller before they travel: algorithm × codec.

What is compressed is the group `params` of the update, as far as it travels at all; masks, control variates and the
like travel as they are. The server merges what arrived. The work of compressing is small beside training, and is not
counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, models_of, payloads_of
from edgesim.algorithms.costs import holding
from edgesim.algorithms.messages import SPARSE, travelling
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning.codecs import Part
from edgesim.learning.compression import Codec
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_MEMORY, _UNIT = "codec/error", "codec/unit"


@dataclass(frozen=True, kw_only=True)
class CompressedUpdates(Algorithm):
    """`inner` with its updates compressed by `codec`; everything else is the inner algorithm's."""

    inner: Algorithm
    codec: Codec

    def check(self, context: Context) -> None:
        self.inner.check(context)

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        return self.inner.init_server(context)

    def init_client(self, context: Context, client: int) -> State:
        state = self.inner.init_client(context, client)
        if not self.codec.remembers:
            return state
        return {**state, _MEMORY: {name: torch.zeros(shape) for name, shape in context.task.model.shapes.items()}}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return self.inner.download(context, server, self._own(client))

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        return payloads_of(self.inner, context, server, [self._own(client) for client in clients])

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        work = self.inner.workload(context, payload, self._own(client))
        extra = 4 * context.profile.parameters if self.codec.remembers else 0
        return holding(work, extra)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return None

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        name_of = {id(tensor): name for name, tensor in update["params"].items()}
        parts = self.inner.upload(update, _without(before), _without(after))
        return [sent for part in parts for sent in self._parts(part, name_of.get(id(part.values)), update)]

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return self.inner.aggregate(context, server, replace(arrivals, update=_without(arrivals.update)))

    def server_work(self, context: Context, server: State, arrivals: Arrivals) -> Workload | None:
        return self.inner.server_work(context, server, replace(arrivals, update=_without(arrivals.update)))

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        update, after = self.inner.local_train(payload, _without(client), learner)
        if "params" not in update:
            raise ScenarioError(f"codec: {type(self.inner).__name__} sends no update of a model; leave codec out")
        on, error = travelling(update), dict(client.get(_MEMORY, {}))
        sent: Params = {}
        units: Params = {}
        for name, tensor in update["params"].items():
            if name in learner.task.model.statistics:
                sent[name] = tensor * on[name] if name in on else tensor
                continue
            whole = tensor + error[name] if name in error else tensor
            whole = whole * on[name] if name in on else whole
            random = self._random(learner, name, whole)
            sent[name], units[name] = self.codec.compress(whole, random)
            if name in error:
                error[name] = whole - sent[name]
        memory = {_MEMORY: error} if self.codec.remembers else {}
        places = {SPARSE: {"is": torch.ones_like(learner.version, dtype=torch.bool)}} if self.codec.sparse else {}
        return {**update, "params": sent, _UNIT: units, **places}, {**after, **memory}

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return self.inner.client_model(server, self._own(client))

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return models_of(self.inner, server, [self._own(client) for client in clients])

    def personalise(self, model: Params, learner: Learner) -> Params:
        return self.inner.personalise(model, learner)

    # ── within ──────────────────────────────────────────────────────────────────────────────────────
    def _own(self, client: Client) -> Client:
        return client._replace(state=_without(client.state))

    def _random(self, learner: Learner, name: str, tensor: Tensor) -> Tensor:
        count = tensor[0].numel() if self.codec.levels else 0
        return learner.uniforms(f"codec/{name}", count)

    def _parts(self, part: Part, name: str | None, update: State) -> list[Part]:
        """What a part of the inner message becomes."""
        if name is None or name not in update[_UNIT] or part.values is None:
            return [part]
        if self.codec.levels:
            return [replace(part, levels=self.codec.levels, unit=float(update[_UNIT][name]))]
        if not self.codec.sparse:
            return [part]
        most = self.codec.most(part.values.numel())
        largest = Part(values=part.values, mask=part.values != 0, mask_known=False, most=most)
        if part.mask is None or part.mask_known:
            return [largest]
        # which values travel says no more which are active
        return [replace(part, values=None), largest]


def without_codec(algorithm: Algorithm) -> Algorithm:
    """The algorithm that a scenario names, whatever makes its updates smaller."""
    return algorithm.inner if isinstance(algorithm, CompressedUpdates) else algorithm


def _without(state: State) -> State:
    """A state without the codec's own groups."""
    return {group: params for group, params in state.items() if group not in (_MEMORY, _UNIT, SPARSE)}
