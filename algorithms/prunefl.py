"""PruneFL (Jiang et al. 2019, arXiv:1909.12326; settings as in github bibikar/feddst, another group's version).

One sparse model w with mask m for all; how many weights it has follows from what they bring for their time.

    stage 1   one client trains the dense model alone for `initial_rounds` rounds and readjusts m; stage 2 begins with
              its w and m
    stage 2   FedAvg on m; in rounds t with (t − 1) mod `readjust_every` = 0 clients also send the dense gradient g of
              one mini-batch, and the server readjusts m by its mean
    readjust  the share ρ of the active weights with smallest |w| may go and all inactive ones may come; of these, in
              order of g_j² / t_j, those are taken for which g_j² / t_j ≥ Δ/T, Δ = Σ g_j² and T = t_0 + Σ t_j so far;
              ρ = `prunable` in stage 1, `prunable` · 0.5^i at the i-th time in stage 2, from i = 0

t_j is the time of a weight of its tensor: here its FLOPs a sample, t_0 the FLOPs of what cannot be masked. All of
stage 1 is one job, paid as dense. Who does it is drawn, so that in a round of S clients one is meant; the others are
told to wait, which costs a byte, and a round without one is repeated. Where clients do not wait for each other
(`initial: none`), stage 2 begins with the dense model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms import shared_mask
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked, merge
from edgesim.devices.workload import NO_WORK, Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks, placement, tree
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.sparse_training import remask
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, State
from edgesim.learning.worth import worthwhile

_ALONE = ("sync",)  # schedules in which a round waits for all of its clients


@dataclass(frozen=True, kw_only=True)
class PruneFl(Algorithm):
    """One sparse model for all, as large as its weights are worth their time."""

    summary: ClassVar[str] = "one sparse model; weights stay while they are worth their time; starts at one client"
    paper: ClassVar[str] = "Jiang et al. 2019, arXiv:1909.12326"
    refuses: ClassVar[Mapping[str, str]] = {"gossip": "a server keeps its mask; take dispfl or fedavg"}

    initial: Annotated[
        Literal["one", "none"] | None, Doc("stage 1 at one client, or none; by default one under sync, else none")
    ] = None
    initial_rounds: Annotated[int, Gt(0), Doc("rounds of local training in stage 1")] = 5
    readjust_every: Annotated[int, Gt(0), Doc("rounds between two readjustments")] = 50
    prunable: Annotated[float, Ge(0), Le(1), Doc("share of the active weights that a readjustment may prune")] = 0.3

    def check(self, context: Context) -> None:
        if self.initial == "one" and context.cadence.kind not in _ALONE:
            raise ScenarioError(
                f"algorithm.initial: under {context.cadence.kind} the other clients would spin idle while one prunes; "
                "write initial: none, or schedule.kind: sync"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        alone = context.cadence.kind in _ALONE if self.initial is None else self.initial == "one"
        zero = torch.tensor(0)
        stage = {"first": torch.tensor(alone), "round": zero, "waited": zero, "times": zero, "last": zero}
        blank: State = {"stage": stage, "seen": shared_mask.unseen()}
        return shared_mask.present(context.task.model.init(context.seed), shared_mask.full(context), blank)

    def init_client(self, context: Context, client: int) -> State:
        return {"seen": shared_mask.unseen()}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        stage, version = server["stage"], server["seen"]["version"]
        first, number = bool(stage["first"]), int(stage["round"])
        draw = streams.key(context.seed, "prunefl/first", int(stage["waited"]), client.id)
        chosen = first and draw % context.cadence.concurrency == 0
        known = int(version) == 0 or shared_mask.has_seen(client, version)  # the first is full
        sent = masked(server["params"], server["mask"], known=known)
        readjusts = not first and (number - 1) % self.readjust_every == 0
        job = {
            "first": torch.tensor(chosen), "waits": torch.tensor(first and not chosen), "version": version,
            "readjusts": torch.tensor(readjusts), "round": stage["round"],
        }  # fmt: skip
        return Payload(
            state={"params": server["params"], "mask": server["mask"], "job": job, "time": _times(context)},
            size_bytes=codecs.size([] if first and not chosen else sent),
            training=self._training(context, chosen) if first else None,
        )

    def _training(self, context: Context, chosen: bool) -> Training:
        """That of stage 1; nothing for those who wait."""
        return replace(context.training, epochs=context.training.epochs * self.initial_rounds if chosen else 0)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        job = payload.state["job"]
        if job["waits"]:
            return NO_WORK
        rounds = range(self.initial_rounds) if job["first"] else range(0)
        extra = int(job["readjusts"]) + sum(self._readjusts(number) for number in rounds)
        density = masks.densities(payload.state["mask"])
        return local_work(context, client.samples, training=payload.training, density=density, dense_gradients=extra)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        state = payload.state
        return None if state["job"]["first"] else codecs.size(_reply({**state, "gradient": state["params"]}))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return _reply(update)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        stage, job = server["stage"], arrivals.update["job"]
        if stage["first"]:
            return self._begun(context, server, arrivals)
        rows = torch.nonzero(~job["first"] & ~job["waits"]).flatten().tolist()
        if not rows:
            return server
        heard = arrivals.only(rows)
        state = merge(context, server, heard, heard.shares)
        state["params"] = masks.apply(server["mask"], state["params"])
        state["stage"] = {**stage, "round": stage["round"] + 1}
        fresh = heard.update["job"]["readjusts"] & (heard.update["job"]["round"] > stage["last"])
        return self._readjusted(context, state, heard, fresh) if fresh.any() else state

    def _begun(self, context: Context, server: State, arrivals: Arrivals) -> State:
        """Stage 2 with the model of the first client that is through with stage 1; till then another round."""
        stage, done = server["stage"], torch.nonzero(arrivals.update["job"]["first"]).flatten().tolist()
        if not done:
            return {**server, "stage": {**stage, "waited": stage["waited"] + 1}}
        alone = arrivals.only(done[:1])
        state = merge(context, server, alone, alone.equal)
        mask = {name: held[0] for name, held in alone.update["mask"].items()}
        return shared_mask.present(state["params"], mask, {**state, "stage": {**stage, "first": torch.tensor(False)}})

    def _readjusted(self, context: Context, state: State, arrivals: Arrivals, fresh: Tensor) -> State:
        gradient = {name: g[fresh].mean(0) for name, g in arrivals.update["gradient"].items()}
        stage = state["stage"]
        share = self.prunable * 0.5 ** int(stage["times"])
        mask = worthwhile(state["params"], state["mask"], gradient, _times(context), share)
        last = arrivals.update["job"]["round"][fresh].max()
        return shared_mask.present(
            state["params"], mask, {**state, "stage": {**stage, "times": stage["times"] + 1, "last": last}}
        )

    def _readjusts(self, number: int) -> bool:
        return (number - 1) % self.readjust_every == 0

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        local = {"params": masks.apply(payload["mask"], payload["params"]), "mask": payload["mask"]}
        if payload["job"]["first"].any():  # all of them: those of stage 1 have a training of their own
            local = self._alone(local, payload["time"], learner)
        elif not payload["job"]["waits"].any():
            local = self.local_sgd(local, learner)
        return self.local_end(payload, client, local, learner)

    def _alone(self, local: State, time: Params, learner: Learner) -> State:
        """Stage 1."""
        for number in range(self.initial_rounds):
            epochs = learner.training.epochs // self.initial_rounds
            local = self.local_sgd(local, learner, epochs=epochs, purpose=f"first/{number}")
            if self._readjusts(number):
                gradient = learner.gradient(local["params"], learner.probe())
                state = {"w": local["params"], "m": local["mask"], "g": gradient, "t": time}
                # on the host: a GPU has no running sums that come out the same every time
                state = {group: placement.moved(params, placement.HOST) for group, params in state.items()}
                rows = [tree.row(state, i) for i in range(len(learner.version))]
                found = [{"m": worthwhile(one["w"], one["m"], one["g"], one["t"], self.prunable)} for one in rows]
                local = remask(local, placement.moved(tree.stack(found)["m"], learner.device))
        return local

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        change = difference(local["params"], payload["params"])
        job = payload["job"]
        gradient = {name: change[name].new_zeros(()).expand(m.shape) for name, m in local["mask"].items()}
        if job["readjusts"].any():
            found = learner.gradient(local["params"], learner.probe())
            gradient = tree.scale(job["readjusts"].float(), {name: found[name] for name in gradient})
        update = {"params": change, "mask": local["mask"], "gradient": gradient, "job": job}
        return update, {"seen": {"version": torch.where(job["waits"], client["seen"]["version"], job["version"])}}


def _times(context: Context) -> Params:
    """FLOPs a sample of one weight of each maskable tensor, and of all else."""
    profile = context.profile
    each = {
        name: torch.tensor(max(flops / elements, 1.0), dtype=torch.float64)
        for name, flops, elements, can in zip(
            profile.names, profile.training_flops, profile.elements, profile.maskable, strict=True
        )
        if can
    }
    return {"fixed": torch.tensor(profile.other_flops, dtype=torch.float64), **each}


def _reply(update: State) -> list[Part]:
    """What goes up: active values, the mask after stage 1, and the dense gradient where the server readjusts."""
    job = update["job"]
    if job["waits"]:
        return []
    parts = masked(update["params"], update["mask"], known=not job["first"])
    if job["readjusts"]:
        parts += [Part(values=update["gradient"][name], mask=None, mask_known=False) for name in update["mask"]]
    return parts
