"""FedFomo: each client mixes the others' models by how they do on its own data (Zhang, Sapra, Fidler, Yeung,
Alvarez, ICLR 2021, arXiv:2012.08565).

The server keeps every client's last model θ_n and the affinities P, at first the identity.

    down    the M models of largest P_i that there are (the client has its own)
    weigh   w_n = (L_i(θ_i) − L_i(θ_n)) / ‖θ_n − θ_i‖         L_i: loss on data that the client holds out
    start   θ_i + Σ_n ŵ_n (θ_n − θ_i),   ŵ_n = max(w_n, 0) / Σ max(w, 0);  θ_i where none is positive
    local   SGD on the rest of the data
    up      θ_i and the M weights
    server  P_i ← P_i + w                                     as they are, so that what harms is asked for less

Since the ŵ add to 1, the start is Σ ŵ_n θ_n as well, which is how ports write it. At first all affinities are 0 but
a client's own: such ties are broken at random, anew in each aggregation. Nothing is merged, so discounts for
staleness play no part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Gt, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, dense, local_work
from edgesim.algorithms.costs import holding, phase_work, scaled
from edgesim.devices.workload import Workload
from edgesim.learning import shards, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part, size
from edgesim.learning.flat import difference
from edgesim.learning.phases import together
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class FedFomo(Algorithm):
    """Every client has its own model, and starts each job from a mixture of those that help it."""

    summary: ClassVar[str] = "personal models; each client mixes in those of others that do well on its own data"
    paper: ClassVar[str] = "Zhang et al. 2021, arXiv:2012.08565"
    refuses: ClassVar[Mapping[str, str]] = {"gossip": "a server keeps all clients' models; take apfl or ditto"}

    others: Annotated[int, Gt(0), Doc("M, how many models a client is sent at most")] = 5
    held_out: Annotated[float, Gt(0), Lt(1), Doc("share of its data that a client weighs them on")] = 0.2

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        affinity = torch.eye(context.task.clients)
        known = {"P": affinity, "count": torch.tensor(0), "sent": torch.zeros(context.task.clients, dtype=torch.bool)}
        return {**super().init_server(context), "known": known}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        chosen = self._chosen(context, server, client.id)
        others = {_other(j): server[_model(n)] for j, n in enumerate(chosen)}
        absent = {_other(j): server["params"] for j in range(len(chosen), self.others)}
        row = torch.tensor([*chosen, *[-1] * len(absent)])
        return Payload(
            state={"params": _last(server, client.id), "others": {"id": row}, **others, **absent},
            size_bytes=len(chosen) * context.dense_bytes,
        )

    def _chosen(self, context: Context, server: State, client: int) -> list[int]:
        """The clients of largest affinity, among those whose models there are."""
        known = server["known"]
        there = np.flatnonzero(known["sent"].numpy())
        there = there[there != client]
        ties = streams.generator(context.seed, "fedfomo/ties", client, int(known["count"])).random(len(there))
        order = np.lexsort((ties, -known["P"][client].numpy()[there]))
        chosen: list[int] = there[order[: self.others]].tolist()
        return chosen

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        held = shards.held_out(client.samples, self.held_out)
        models = int((payload.state["others"]["id"] >= 0).sum())
        training = local_work(context, max(client.samples - held, 1))
        if not models:
            return training
        weighing = scaled(phase_work(context, held, (), epochs=1), 1 + models)
        extra = 4 * models * context.profile.parameters  # of the others' models, while they are weighed
        return together(training, holding(weighing, extra))

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return size(_message(payload.state["params"], torch.zeros(self.others), payload.state["others"]["id"]))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return _message(update["params"], update["weights"]["w"], update["weights"]["id"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        affinity, models, sent = server["known"]["P"].clone(), {}, server["known"]["sent"].clone()
        sent[list(arrivals.clients)] = True
        for k, client in enumerate(arrivals.clients):
            weights = {name: tensor[k] for name, tensor in arrivals.update["weights"].items()}
            there = weights["id"] >= 0
            affinity[client, weights["id"][there]] += weights["w"][there]
            models[_model(client)] = tree.add(
                tree.row(arrivals.sent, k)["params"], tree.row(arrivals.update, k)["params"]
            )
        known = {"P": affinity, "count": server["known"]["count"] + 1, "sent": sent}
        return {**server, **models, "known": known}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        rest, held = learner.held_out(self.held_out)
        weights = self._weigh(payload, held, learner)
        local = self.local_run({"params": self._mixed(payload, weights)}, rest)
        update = difference(local["params"], payload["params"])
        return {"params": update, "weights": {"w": weights, "id": payload["others"]["id"]}}, client

    def _weigh(self, payload: State, held: Batch, learner: Learner) -> Tensor:
        """w, [client, M]; 0 for models that are not there, equal to the client's own, or of no finite loss."""
        own, columns = payload["params"], []
        loss = learner.loss(own, held)
        for j in range(self.others):
            other = payload[_other(j)]
            away = tree.squared_norm(learner.without_statistics(tree.subtract(other, own))).sqrt()
            gain = loss - learner.loss(other, held)
            counts = (payload["others"]["id"][:, j] >= 0) & (away > 0) & gain.isfinite()
            columns.append(torch.where(counts, gain / torch.where(counts, away, 1.0), 0.0))
        return torch.stack(columns, 1)

    def _mixed(self, payload: State, weights: Tensor) -> Params:
        positive = weights.clamp_min(0)
        share = positive / positive.sum(1, keepdim=True).clamp_min(torch.finfo(positive.dtype).tiny)
        start = payload["params"]
        for j in range(self.others):
            step = tree.scale(share[:, j], tree.subtract(payload[_other(j)], payload["params"]))
            taken = share[:, j] > 0
            start = tree.apply(lambda a, b, on=taken: torch.where(tree.per_client(on, b), a + b, a), start, step)
        return start

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return _last(server, client.id)


def _model(client: int) -> str:
    return f"model/{client}"


def _other(place: int) -> str:
    return f"other/{place}"


def _last(server: State, client: int) -> Params:
    """A client's last model; at first the common start."""
    return server.get(_model(client), server["params"])


def _message(params: Params, weights: Tensor, ids: Tensor) -> list[Part]:
    """A model, and a weight for each model that was sent."""
    there = ids >= 0
    return dense(params) + ([Part(values=weights, mask=there, mask_known=True)] if bool(there.any()) else [])
