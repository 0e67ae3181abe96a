"""ASO-Fed: asynchronous online federated learning (Chen, Ning, Slawski, Rangwala 2020, arXiv:1911.02134).

    local   min_w F_k(w) + (λ/2) ‖w − w_t‖²,  gradients times r = max(1, log d̄_k), d̄_k the mean delay so far
            s = w_t − w_k;   ζ = s − s' + h;   h ← β h + (1 − β) s';   s' ← s        s', h: 0 at first, the client's
    up      −ζ
    server  w ← w − (n_k/n) s(τ_k) ζ,   n = Σ of all clients' samples, on each arrival
            feature learning: w_1 ← softmax(|w_1|) ⊙ w_1 in the first layer, each output's inputs adding to 1

Delay is counted in versions here (the paper takes time). After a public port and from memory of the paper; feature
learning, which shrinks the first layer much and which the port leaves out, is off by default.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, merge
from edgesim.devices.workload import Workload
from edgesim.learning import tree
from edgesim.learning.batches import Batch
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class AsoFed(Algorithm):
    """Each arrival is merged by what changed since the client's last one."""

    summary: ClassVar[str] = "asynchronous: each arrival counts by its data and what changed since the client's last"
    paper: ClassVar[str] = "Chen et al. 2020, arXiv:1911.02134"

    pull: Annotated[float, Ge(0), Doc("λ, how strongly local models are held near the server's")] = 0.01
    beta: Annotated[float, Ge(0), Le(1), Doc("β, memory of earlier updates in h")] = 0.001
    dynamic: Annotated[bool, Doc("longer local steps for clients of long delays")] = True
    feature_learning: Annotated[bool, Doc("reweight the first layer after each aggregation")] = False

    def check(self, context: Context) -> None:
        if self.dynamic:
            context.scales_steps("asofed's dynamic steps are longer for clients of long delays")

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        zeros = torch.zeros(context.task.clients)
        return {"params": context.task.model.init(context.seed), "delay": {"sum": zeros, "count": zeros}}

    def init_client(self, context: Context, client: int) -> State:
        zeros = {name: torch.zeros(shape) for name, shape in context.task.model.shapes.items()}
        return {"last": zeros, "balance": zeros}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        delay = server["delay"]
        mean = float(delay["sum"][client.id] / delay["count"][client.id].clamp_min(1))
        rate = max(1.0, math.log(mean)) if self.dynamic and mean > 0 else 1.0
        state = {"params": server["params"], "step": {"rate": torch.tensor(rate)}}
        return Payload(state=state, size_bytes=context.dense_bytes + _RATE_BYTES)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return local_work(context, client.samples, copies=3)  # w_t, s' and h

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        shares = arrivals.samples / float(context.task.train.count[context.task.participants].sum())  # n_k/n
        moved = merge(context, server, arrivals, shares)
        who = torch.tensor(arrivals.clients)
        total = server["delay"]["sum"].index_add(0, who, arrivals.staleness.float())
        count = server["delay"]["count"].index_add(0, who, torch.ones(len(arrivals)))
        params = self._features(context, moved["params"]) if self.feature_learning else moved["params"]
        return {**moved, "params": params, "delay": {"sum": total, "count": count}}

    def _features(self, context: Context, params: Params) -> Params:
        name = next(name for name, shape in context.task.model.shapes.items() if len(shape) >= 2)
        first = params[name]
        share = torch.softmax(first.flatten(1).abs(), 1).view_as(first)
        return {**params, name: share * first}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": payload["params"], "anchor": payload["params"], "step": payload["step"]}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        gradient = learner.gradient(local["params"], batch)
        pulled = learner.pulled(gradient, local["params"], local["anchor"], self.pull)
        return learner.descend(local, learner.scaled(pulled, local["step"]["rate"]))

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        learned = tree.subtract(payload["params"], local["params"])  # s
        change = tree.add(tree.subtract(learned, client["last"]), client["balance"])  # ζ
        if statistics := learner.task.model.statistics:  # averaged as models, so that what was before has no part
            change = {**change, **{name: learned[name] for name in statistics}}
        balance = tree.apply(lambda h, s: self.beta * h + (1 - self.beta) * s, client["balance"], client["last"])
        return {"params": tree.scale(-1.0, change)}, {"last": learned, "balance": balance}


_RATE_BYTES = 4
