"""pFedLA and HeurpFedLA: layer-wise personalised aggregation (Ma, Zhang, Guo, Xu 2022, arXiv:2205.03993).

The server keeps each client's last model θ_i and, for each client, a hypernetwork that weighs all of them, layer by
layer:

    α_i = HN_i(v_i; ψ_i),  α_i^{l,j} ≥ 0,  Σ_j α_i^{l,j} = 1          [layer, client]
    down    θ̄_i^l = Σ_j α_i^{l,j} θ_j^l
    local   E epochs of SGD from θ̄_i;  up  D_i = θ_i' − θ̄_i
    server  θ_i ← θ̄_i + D_i
            (v_i, ψ_i) ← (v_i, ψ_i) + η_hn (∂θ̄_i / ∂(v_i, ψ_i))ᵀ D_i

The last line is gradient *descent* on client i's loss, for which −D_i stands. It needs only the inner products
s_i^{l,j} = ⟨θ_j^l, D_i^l⟩, since Σ s α has the gradient that is wanted: no graph of the size of the model.

HeurpFedLA: the `retained` layers of largest own weight α_i^{l,i} are kept as the client has them (their row is one-hot
on i and not trained this time), so they need not be sent down.

The paper leaves the hypernetwork open; it is that of the community's code (github KarhouTam/pFedLA): an embedding,
three ReLU layers, a linear map and a ReLU for each layer's row, divided by its sum; output weights start in U(0, 1).
That code steps uphill; this does not. Running statistics of batch norms are always the client's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms import hypernetwork
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload
from edgesim.algorithms.messages import dense_bytes
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import tree
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class PFedLA(Algorithm):
    """Every client has its own mixture of all clients' models in every layer."""

    summary: ClassVar[str] = "a hypernetwork per client weighs everyone's layers into its own model"
    paper: ClassVar[str] = "Ma, Zhang, Guo, Xu 2022, arXiv:2205.03993"

    hyper_lr: Annotated[float, Gt(0), Doc("η_hn, step of the hypernetworks")] = 5e-3
    embedding: Annotated[int, Gt(0), Doc("length of v_i")] = 100
    hidden: Annotated[int, Gt(0), Doc("units of a hypernetwork's hidden layers")] = 100
    unit: Annotated[
        Literal["block", "tensor"], Doc("what a layer is: a module with its norm, or each tensor by itself")
    ] = "block"
    retained: Annotated[int, Ge(0), Doc("k of HeurpFedLA: layers kept as the client has them; 0 is pFedLA")] = 0
    upload_retained: Annotated[
        bool, Doc("send retained layers up, so that others may use them; the paper does not say")
    ] = True

    def check(self, context: Context) -> None:
        layers = self._layers(context)
        if self.retained > layers:
            raise ScenarioError(
                f"algorithm.retained: {self.retained} of the model's {layers} layers; write at most {layers}"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        params, clients = context.task.model.init(context.seed), context.task.clients
        models = {name: tensor.expand(clients, *tensor.shape).clone() for name, tensor in params.items()}
        rng = streams.generator(context.seed, "pfedla/hypernetwork")
        networks = hypernetwork.start(rng, clients, self._layers(context), self.embedding, self.hidden)
        for client, network in enumerate(networks):  # who never trains has a part in nobody's mixture but its own
            network["A"][:, [other for other in context.task.unseen.tolist() if other != client]] = 0.0
        # Which layer a tensor belongs to travels with the state, so that it alone says what a client's model is.
        layer = hypernetwork.layers(context.task.model, self.unit)
        # Together the networks grow with the square of the clients, and few move at a time: each is a group.
        hyper = {_network(client): network for client, network in enumerate(networks)}
        return {"models": models, "layer": {n: torch.tensor(row) for n, row in layer.items()}, **hyper}

    def _layers(self, context: Context) -> int:
        return 1 + max(hypernetwork.layers(context.task.model, self.unit).values())

    def init_client(self, context: Context, client: int) -> State:
        if not self._keeps:
            return {}
        return {"own": context.task.model.init(context.seed)}

    @property
    def _keeps(self) -> bool:
        """Whether a device must keep layers that the server does not have."""
        return self.retained > 0 and not self.upload_retained

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return PFedLA.downloads(self, context, server, [client])[0]

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        mixed, kept = self._mixtures(server, [client.id for client in clients])
        shapes, payloads = context.task.model.shapes, []
        for i, stays in enumerate(kept):
            sent = dense_bytes({name: shapes[name] for name in mixed if name not in stays})
            mark = {name: torch.tensor(name in stays) for name in mixed}
            params = {name: tensor[i] for name, tensor in mixed.items()}
            payloads.append(Payload(state={"params": params, "kept": mark}, size_bytes=sent))
        return payloads

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        kept = payload.state["kept"]
        return dense_bytes({n: tuple(t.shape) for n, t in payload.state["params"].items() if self._sent(kept[n])})

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        kept = update["kept"]
        return [
            Part(values=tensor, mask=None, mask_known=False)
            for name, tensor in update["params"].items()
            if self._sent(kept[name])
        ]

    def _sent(self, kept: Tensor) -> bool:
        return not self._keeps or not bool(kept)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        models = {name: tensor.clone() for name, tensor in server["models"].items()}
        hyper: State = {}
        products = self._products(server, arrivals)
        for k, client in enumerate(arrivals.clients):
            kept = {name for name, tensor in arrivals.update["kept"].items() if tensor[k]}
            group, step = _network(client), float(arrivals.discount[k]) * self.hyper_lr
            hyper[group] = self._learnt(hyper.get(group, server[group]), client, products[k], step)
            for name, tensor in arrivals.update["params"].items():
                if name not in kept or not self._keeps:
                    models[name][client] = arrivals.sent["params"][name][k] + tensor[k]
        return {**server, **hyper, "models": models}

    def _products(self, server: State, arrivals: Arrivals) -> Tensor:
        """s_i of each arrival, [arrival, layer, client]; layers that it retains do not count."""
        products = torch.zeros(len(arrivals), *server[_network(0)]["a"].shape)
        for name, update in arrivals.update["params"].items():
            sent = ~arrivals.update["kept"][name]
            if bool(sent.any()):
                found = tree.vectors(update[sent]) @ tree.vectors(server["models"][name]).T
                products[sent, int(server["layer"][name])] += found
        return products

    def _learnt(self, network: Params, client: int, products: Tensor, step: float) -> Params:
        """A client's hypernetwork, moved by its s_i."""
        own = {name: tensor.detach().requires_grad_() for name, tensor in network.items()}
        with torch.enable_grad():
            gain = (hypernetwork.rows(own, client) * products).sum()
            slopes = torch.autograd.grad(gain, list(own.values()))
        moved = [torch.add(tensor, slope, alpha=step) for tensor, slope in zip(network.values(), slopes, strict=True)]
        return dict(zip(network, moved, strict=True))

    def server_work(self, context: Context, server: State, arrivals: Arrivals) -> Workload | None:
        """Inner products and the next mixtures, 2 FLOPs a weight and client each, and the hypernetworks' passes."""
        weights = sum(tensor.numel() for tensor in server["models"].values())
        each = sum(tensor.numel() for tensor in server[_network(0)].values())
        count = len(arrivals)
        return Workload(
            layer_flops=np.zeros(0),
            layer_density=np.zeros(0),
            other_flops=count * (4.0 * weights + 3 * 2.0 * each),
            traffic_bytes=count * (2 * 4.0 * weights + 3 * 4.0 * each),
            steps=count,
            memory_bytes=4 * (weights + arrivals.population * each),
        )

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": self._begun(payload, client)}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        update, kept = difference(local["params"], self._begun(payload, client)), payload["kept"]
        if not self._keeps:
            return {"params": update, "kept": kept}, client
        held = {n: tree.per_client(~kept[n], t).expand(t.shape) for n, t in update.items()}
        return {"params": update, "kept": kept, "held": held}, {**client, "own": local["params"]}

    def _begun(self, payload: State, client: State) -> Params:
        """What the device trains from: retained layers as it has them."""
        if not self._keeps:
            return payload["params"]
        kept, own = payload["kept"], client["own"]
        return {n: torch.where(tree.per_client(kept[n], t), own[n], t) for n, t in payload["params"].items()}

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return PFedLA.client_models(self, server, [client])[0]

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        mixed, kept = self._mixtures(server, [client.id for client in clients])
        own = [client.state.get("own", {}) for client in clients]
        return [
            {n: own[i][n] if n in kept[i] and n in own[i] else tensor[i] for n, tensor in mixed.items()}
            for i in range(len(clients))
        ]

    def _mixtures(self, server: State, clients: Sequence[int]) -> tuple[Params, list[frozenset[str]]]:
        """θ̄ of several, [client, *shape], and the names of the tensors that stay as each client has them: each of all
        models is read once for all of them."""
        layer = {name: int(row) for name, row in server["layer"].items()}
        alpha = torch.stack([hypernetwork.rows(server[_network(client)], client) for client in clients])
        most_own = alpha[torch.arange(len(clients)), :, clients].argsort(dim=1, descending=True, stable=True)
        stays = [{hypernetwork.STATISTIC, *row} for row in most_own[:, : self.retained].tolist()]
        kept = [frozenset(name for name, row in layer.items() if row in rows) for rows in stays]
        mixed = {}
        for name, models in server["models"].items():
            if layer[name] == hypernetwork.STATISTIC:
                mixed[name] = models[clients]
                continue
            mixed[name] = torch.tensordot(alpha[:, layer[name]], models, dims=1)
            own = [i for i, names in enumerate(kept) if name in names]
            if own:
                mixed[name][own] = models[[clients[i] for i in own]]
        return mixed, kept


def _network(client: int) -> str:
    """The group of the server's state that is a client's hypernetwork."""
    return f"hyper/{client}"
