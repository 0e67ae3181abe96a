"""FFGG: fine-tuning followed by global gradient (Mishchenko, Islamov, Gorbunov, Horvath 2023, arXiv:2305.18285).

    min over θ of F(θ) = (1/M) Σ_m F_m(θ),   F_m(θ) = min_w f_m(θ, w),   ∇F_m(θ) = ∇_θ f_m(θ, w_m*(θ))

    down    θ; the personal part w_m never travels
    local   w ← FINE_TUNE(f_m(θ, ·)), τ steps, θ frozen;  g_m = ∇_θ f_m(θ, w), one gradient
    up      −g_m, as a direction: so aggregators, attacks and server optimisers meet what they meet elsewhere
    server  θ ← θ − lr_out Σ_m p_m s_m g_m,   p_m = 1/|C|,   s_m: the schedule's discount

Algorithm 1 under `sync`. Algorithm 3, asynchronous, is `buffered` with a buffer of 1; `step: delay-adaptive` scales
by n / max(n, τ_t), τ_t the staleness and n the clients at work. Algorithm 4, Local FFGG: `local_steps` mini-batch
steps of θ after the fine-tuning, whose change is sent and averaged, instead of one gradient.

    exact   w* in closed form (quadratic problems only)
    gd      τ mini-batch steps by the training's rule with lr_in
    cg      τ conjugate-gradient steps on the second-order model of the whole local loss in w, its Hessian by
            differences of gradients: on quadratic problems plain conjugate gradients

The code (github Rustem-Islamov/FL_representations) starts w anew in each round, from N(0, I) or 0; `warm` goes on from
the last w, the natural choice where clients keep a state. Whenever a client uses its model it fine-tunes it first.
Algorithm 4, and FFGG on networks, are not in that code: they are inferred from the abstract and algorithms 1 to 3.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Arrivals, Client, Context, Payload, merge
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.partial import Partial, kept
from edgesim.algorithms.secondorder import conjugate_gradients
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import quadratic, split, tree
from edgesim.learning.batches import Batch
from edgesim.learning.flat import difference
from edgesim.learning.phases import together
from edgesim.learning.quadratic import Quadratic
from edgesim.learning.solvers import rested
from edgesim.learning.split import Part
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class FFGG(Partial):
    """Each client fits its own part, then sends one gradient of the shared part."""

    summary: ClassVar[str] = "each client fits its personal part, then sends one gradient of the shared part"
    paper: ClassVar[str] = "Mishchenko et al. 2023, arXiv:2305.18285"

    personal: Annotated[Part, Doc("w: head, input, norm, adapters, or layers and tensors by name")] = "head"
    fine_tune: Annotated[
        Literal["exact", "gd", "cg"], Doc("exact (quadratic problems only), gradient or conjugate-gradient steps")
    ] = "gd"
    tau: Annotated[int, Gt(0), Doc("τ, steps of the fine-tuning")] = 10
    start: Annotated[
        Literal["warm", "zero", "normal"], Doc("w before the fine-tuning: the last one, 0, or anew from N(0, I)")
    ] = "warm"
    lr_in: Annotated[
        Annotated[float, Gt(0)] | None, Doc("step of gd; by default training.lr, on quadratic problems 1/L_w")
    ] = None
    lr_out: Annotated[
        Annotated[float, Gt(0)] | None,
        Doc("step of θ; by default training.lr, on quadratic problems 1/L, n times less with a buffer of 1"),
    ] = None
    step: Annotated[
        Literal["constant", "delay-adaptive"], Doc("of stale gradients: alike, or times n / max(n, staleness)")
    ] = "constant"
    gradient_batch: Annotated[
        Annotated[int, Gt(0)] | None, Doc("samples of the gradient that is sent; by default all that a client has")
    ] = None
    local_steps: Annotated[int, Ge(0), Doc("Local FFGG: mini-batch steps of θ, whose change is sent; 0: FFGG")] = 0

    def own(self, context: Context) -> tuple[str, ...]:
        return split.part(context.task.model, self.personal)

    def check(self, context: Context) -> None:
        super().check(context)
        model, statistics = context.task.model, sorted(set(self.shared(context)) & context.task.model.statistics)
        if self.fine_tune == "exact" and not isinstance(model.module, Quadratic):
            raise ScenarioError(
                "algorithm.fine_tune: only quadratic problems are solved in closed form; write gd, or cg"
            )
        if self.start != "warm" and set(self.own(context)) & context.task.model.statistics:
            raise ScenarioError("algorithm.start: running statistics cannot start from nothing; write start: warm")
        if self.local_steps and self.lr_out is not None:
            raise ScenarioError(
                "algorithm.lr_out: with local_steps θ steps by training.lr, and its change is merged as it is; write "
                f"training.lr: {self.lr_out:g}, or local_steps: 0"
            )
        if self.local_steps and self.step != "constant":
            raise ScenarioError(
                f"algorithm.step: {self.step} is of gradients, and with local_steps a change of θ is sent; write "
                "schedule.staleness: delay-adaptive, or local_steps: 0"
            )
        if statistics:
            raise ScenarioError(
                f"algorithm.personal: {', '.join(statistics)} have no gradient to send; write personal: norm, or take "
                "a model with norm: group"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        own, shared, n = self.own(context), self.shared(context), client.samples
        features = split.features(context.task.model, own)  # a frozen body is run once a sample
        if self.fine_tune == "gd":
            inner = [phase_work(context, n, own, steps=self.tau, features=features)]
        elif self.fine_tune == "cg":  # a gradient to start from, one a step, and five losses
            inner = [phase_work(context, n, own, epochs=self.tau + 6, features=features)]
        else:
            inner = []  # a system of the size of w, once: less than the gradient
        return together(*inner, self._outer_work(context, shared, n))

    def _outer_work(self, context: Context, shared: tuple[str, ...], samples: int) -> Workload:
        if self.local_steps:
            return phase_work(context, samples, shared, steps=self.local_steps)
        return phase_work(context, min(samples, self.gradient_batch or samples), shared, epochs=1)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        factor = torch.ones_like(arrivals.discount) if self.local_steps else self._rates(context, arrivals)
        return merge(
            context, server, arrivals, arrivals.equal, update=tree.scale(factor.float(), arrivals.update["params"])
        )

    def _rates(self, context: Context, arrivals: Arrivals) -> torch.Tensor:
        """lr_t of each arrival."""
        module, n = context.task.model.module, float(context.cadence.concurrency)
        delay = max(1.0, n / context.cadence.updates) if context.cadence.late else 1.0
        natural = 1 / (module.smoothness * delay) if isinstance(module, Quadratic) else context.training.lr
        rate = torch.full_like(arrivals.discount, natural if self.lr_out is None else self.lr_out)
        return rate if self.step == "constant" else rate * n / arrivals.staleness.double().clamp_min(n)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        shared = tuple(payload["params"])
        params = {**payload["params"], **kept(client)}
        fitted = self._fitted(params, tuple(kept(client)), learner)
        params, state = {**params, **fitted}, {**client, "personal": fitted}
        if self.local_steps:
            local = learner.sgd({"params": params}, only=shared, steps=self.local_steps, purpose="local")
            return {"params": difference(split.pick(local["params"], shared), payload["params"])}, state
        return {"params": tree.scale(-1.0, self._gradient(params, shared, learner))}, state

    def _gradient(self, params: Params, shared: tuple[str, ...], learner: Learner) -> Params:
        """∇_θ f_m, summed up over mini-batches of all samples, or of one large batch."""

        def add(local: State, batch: Batch, learner: Learner) -> State:
            found = split.pick(learner.gradient(local["params"], batch), shared)
            count = torch.count_nonzero(batch.weight, 1).float()
            total = tree.add(local["sum"], tree.scale(count, found))
            return {**local, "sum": total, "count": {"n": local["count"]["n"] + count}}

        zero = {name: torch.zeros_like(params[name]) for name in shared}
        begin = {
            "params": params,
            "sum": zero,
            "count": {"n": torch.zeros(len(learner.version), device=learner.device)},
        }
        if self.gradient_batch is None:
            local = learner.run(begin, add, epochs=1, purpose="gradient")
        else:
            local = learner.run(begin, add, steps=1, batch_size=self.gradient_batch, purpose="gradient")
        return tree.scale(1 / local["count"]["n"], local["sum"])

    def _fitted(self, params: Params, own: tuple[str, ...], learner: Learner) -> Params:
        """w after the fine-tuning."""
        if self.fine_tune == "exact":
            return {"w": quadratic.solve(params, learner.samples())}
        if self.start != "warm":
            old = split.pick(params, own)
            values = sum(tensor[0].numel() for tensor in old.values())
            numbers = learner.uniforms("start", 2 * values if self.start == "normal" else 0)
            params = {**params, **split.fresh(old, self.start, numbers)}
        if self.fine_tune == "cg":
            return conjugate_gradients(params, own, learner, self.tau)
        module = learner.task.model.module
        lr = 1 / module.smoothness_w if self.lr_in is None and isinstance(module, Quadratic) else self.lr_in
        local = learner.sgd({"params": params}, only=own, lr=lr, steps=self.tau, purpose="fine-tune")
        return split.pick(rested(local)["params"], own)

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def personalise(self, model: Params, learner: Learner) -> Params:
        own = split.part(learner.task.model, self.personal)
        return {**model, **self._fitted(model, own, learner)}
