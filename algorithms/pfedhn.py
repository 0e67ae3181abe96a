"""pFedHN: personal models out of one hypernetwork (Shamsian, Navon, Fetaya, Chechik, ICML 2021, arXiv:2103.04628;
github AvivSham/pFedHN).

    θ_i = h(v_i; φ)     v_i, an embedding of client i; h, a small network with a linear head for each tensor of θ
    down    θ_i                                              local   `inner_steps` mini-batches of SGD → θ_i'
    up      Δ_i = θ_i' − θ_i;   −Δ_i stands for the gradient of client i's loss by θ_i
    server  (v_i, φ) ← (v_i, φ) − SGD step along  −(∂h(v_i; φ) / ∂(v_i, φ))ᵀ Δ_i, clipped

The paper asks one client at a time. Several updates in an aggregation make one step by the mean of their gradients,
each times its discount; ∂h is taken where the server is now. h: a linear map to `hidden` units, three times ReLU and
a linear map, then the heads; embeddings have int(1 + N/4) values, as in the authors' code.

Norm layers are each client's own, statistics included (the paper's network has none): what h puts out at first is
near 0, and would switch their channels off. With `classifier: personal` (pFedHN-PC) so is the last layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms.contract import Arrivals, Client, Context, Payload
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.partial import Partial, kept
from edgesim.devices.workload import Workload
from edgesim.learning import split, tree
from edgesim.learning.flat import flattened, row
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_LAYERS = 4  # of the trunk: one for the input and three hidden ones


@dataclass(frozen=True, kw_only=True)
class PFedHN(Partial):
    """A hypernetwork at the server writes every client's model, and learns from how they are trained."""

    summary: ClassVar[str] = "a hypernetwork at the server generates every client's own model"
    paper: ClassVar[str] = "Shamsian et al. 2021, arXiv:2103.04628"
    refuses: ClassVar[Mapping[str, str]] = {"gossip": "a server keeps the hypernetwork; take ditto or apfl"}

    inner_steps: Annotated[int, Gt(0), Doc("mini-batches of a job")] = 50
    classifier: Annotated[
        Literal["shared", "personal"], Doc("the last layer: generated, or each client's own (pFedHN-PC)")
    ] = "shared"
    hyper_lr: Annotated[float, Gt(0), Doc("step of the hypernetwork and the embeddings")] = 1e-2
    hyper_momentum: Annotated[float, Ge(0), Lt(1), Doc("their momentum")] = 0.9
    hyper_decay: Annotated[float, Ge(0), Doc("their weight decay")] = 1e-3
    clip: Annotated[float, Gt(0), Doc("largest norm of their gradient")] = 50.0
    embedding: Annotated[Annotated[int, Gt(0)] | None, Doc("length of v_i; by default int(1 + N/4) for N clients")] = (
        None
    )
    hidden: Annotated[int, Gt(0), Doc("units of the hypernetwork's layers")] = 100

    def own(self, context: Context) -> tuple[str, ...]:
        model = context.task.model
        head = split.part(model, "head") if self.classifier == "personal" else ()
        return tuple(name for name in model.shapes if name in model.normalisation or name in head)

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        clients, shapes = context.task.clients, context.task.model.shapes
        length = int(1 + len(context.task.participants) / 4) if self.embedding is None else self.embedding
        targets = {name: shapes[name] for name in self.shared(context)}
        rng = streams.generator(context.seed, "pfedhn/hypernetwork")
        return {"hyper": start(rng, targets, clients, length, self.hidden)}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return PFedHN.downloads(self, context, server, [client])[0]

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        made = _made(server, clients)
        return [Payload(state=row(made, i), size_bytes=self._bytes(context)) for i in range(len(clients))]

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return phase_work(context, client.samples, context.task.model.shapes, steps=self.inner_steps)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        hyper = server["hyper"]
        gradient = self._gradient(hyper, arrivals)
        norm = float(tree.squared_norm({"all": torch.cat([t.flatten() for t in gradient.values()])[None]}).sqrt())
        gradient = tree.scale(min(1.0, self.clip / max(norm, 1e-12)), gradient)
        velocity = tree.apply(lambda g, w: g + self.hyper_decay * w, gradient, hyper)
        if "momentum" in server:
            velocity = tree.apply(lambda g, v: g + self.hyper_momentum * v, velocity, server["momentum"])
        moved = tree.apply(lambda w, v: w - self.hyper_lr * v, hyper, velocity)
        return {**server, "hyper": moved, "momentum": velocity}

    def _gradient(self, hyper: Params, arrivals: Arrivals) -> Params:
        """−Jᵀ Δ, the mean over the arrivals."""
        weights = (arrivals.discount / len(arrivals)).float()
        downhill = {name: -tree.broadcast(weights, t) * t for name, t in arrivals.update["params"].items()}
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in hyper.items()}
        with torch.enable_grad():
            made = generate(leaves, torch.tensor(arrivals.clients))
            slopes = torch.autograd.grad([made[n] for n in downhill], list(leaves.values()), list(downhill.values()))
        return dict(zip(leaves, slopes, strict=True))

    def server_work(self, context: Context, server: State, arrivals: Arrivals) -> Workload | None:
        """For each update: a forward pass to make the model, and one forward and back to learn; 2 FLOPs a weight each
        way. Then the step over all weights. Weights, gradients, momentum and the arrivals are in memory."""
        count = len(arrivals)
        weights = sum(t.numel() for name, t in server["hyper"].items() if name != "v")
        every = weights + server["hyper"]["v"].numel()
        target = sum(tensor[0].numel() for tensor in arrivals.update["params"].values())
        return Workload(
            layer_flops=np.zeros(0),
            layer_density=np.zeros(0),
            other_flops=count * (2.0 + 2.0 + 4.0) * weights,
            traffic_bytes=4.0 * (count * 3 * (weights + target) + 6 * every),
            steps=1,
            memory_bytes=4 * (3 * every + 2 * count * target),
        )

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        local = learner.run(self.local_start(payload, client), self.local_step, steps=self.inner_steps)
        return self.local_end(payload, client, local, learner)

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return self.client_models(server, [client])[0]

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        made = _made(server, clients)
        own = [kept(client.state) for client in clients]
        models = [row(made, i)["params"] for i in range(len(clients))]
        return [{**model, **mine} if mine else model for model, mine in zip(models, own, strict=True)]


def start(
    rng: np.random.Generator, targets: dict[str, tuple[int, ...]], clients: int, embedding: int, hidden: int
) -> Params:
    """A fresh hypernetwork: v ~ N(0, 1), linear maps as torch starts them, U(−1/√n, 1/√n) for n inputs."""

    def uniform(inputs: int, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32))

    hyper = {"v": torch.from_numpy(rng.normal(size=(clients, embedding)).astype(np.float32))}
    for number in range(_LAYERS):
        inputs = hidden if number else embedding
        hyper |= {f"W{number}": uniform(inputs, hidden, inputs), f"b{number}": uniform(inputs, hidden)}
    for name, shape in targets.items():
        hyper |= {f"W/{name}": uniform(hidden, *shape, hidden), f"b/{name}": uniform(hidden, *shape)}
    return hyper


def generate(hyper: Params, clients: Tensor) -> Params:
    """h(v_i; φ) of these clients, int64 [client]: [client, *shape] by name."""
    h = hyper["v"][clients]
    for number in range(_LAYERS):
        h = torch.addmm(hyper[f"b{number}"], torch.relu(h) if number else h, hyper[f"W{number}"].T)
    return {
        name[2:]: torch.tensordot(h, weight, dims=([1], [weight.dim() - 1])) + hyper[f"b/{name[2:]}"]
        for name, weight in hyper.items()
        if name.startswith("W/")
    }


def _made(server: State, clients: Sequence[Client]) -> State:
    """The models of these clients, flat."""
    return flattened({"params": generate(server["hyper"], torch.tensor([client.id for client in clients]))})
