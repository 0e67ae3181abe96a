"""Quadratic problems with a shared and a personal variable, whose every measure is a closed form.

    f_m(θ, w) = ½‖H_m θ − b_m‖² + ½‖A_m θ + B_m w − y_m‖²          rows n, θ in R^dθ, w in R^dw
    F_m(θ) = min_w f_m(θ, w),   ∇F_m(θ) = ∇_θ f_m(θ, w_m*(θ)),     w_m* = (BᵀB)⁻¹Bᵀ(y − Aθ)

FFGG (Mishchenko et al. 2023, arXiv:2305.18285), with the settings of its code (github
Rustem-Islamov/FL_representations). A client's data are one sample, the symmetric matrix S_m with
f_m = ½ zᵀS_m z, z = (θ, w, 1): all that its rows say. The model's tensors are `theta` [dθ, 1] and `w` [dw, 1];
training measures nothing else than ∇f_m = S_m z, so that an epoch is one gradient step.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from typing_extensions import Doc

from edgesim.devices.arrays import FloatArray
from edgesim.errors import RunError, ScenarioError
from edgesim.learning.batches import Batch
from edgesim.learning.tree import Params
from edgesim.streams import generator

NAME = "quadratic"
Setting: TypeAlias = Literal["comparison", "byzantine", "async"]
Size: TypeAlias = Annotated[int, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Attributes: setting; d_theta, d_w, rows, the sizes; noise, standard deviation of the targets' errors; zeta,
    how much clients' matrices differ."""

    setting: Setting
    d_theta: int
    d_w: int
    rows: int
    noise: float
    zeta: float


def quadratic(
    source: object,
    *,
    setting: Annotated[
        Setting,
        Doc(
            "comparison: matrices alike but for zeta, targets of the clients' own; async: the same, perturbed by zeta "
            "in norm; byzantine: one θ fits all, matrices and w of the clients' own"
        ),
    ] = "comparison",
    d_theta: Annotated[Size | None, Doc("dimension of θ; by default 100, async 400")] = None,
    d_w: Annotated[Size, Doc("dimension of w")] = 50,
    rows: Annotated[Size | None, Doc("rows of a client's matrices; by default 10000, comparison 1000")] = None,
    noise: Annotated[
        Annotated[float, Ge(0)] | None, Doc("standard deviation of errors; by default 1e-3, byzantine 0")
    ] = None,
    zeta: Annotated[
        Annotated[float, Ge(0)] | None, Doc("how much matrices differ; by default 0, async 10; unused in byzantine")
    ] = None,
) -> Problem:
    """Quadratic problems with a shared and a personal part, one a client, after FFGG's code; no accuracy."""
    rows = (1000 if setting == "comparison" else 10_000) if rows is None else rows
    if rows < d_w:
        raise ScenarioError(f"data set quadratic: {rows} rows leave w of dimension {d_w} open; write rows: {2 * d_w}")
    return Problem(
        setting=setting,
        d_theta=(400 if setting == "async" else 100) if d_theta is None else d_theta,
        d_w=d_w,
        rows=rows,
        noise=(0.0 if setting == "byzantine" else 1e-3) if noise is None else noise,
        zeta=(10.0 if setting == "async" else 0.0) if zeta is None else zeta,
    )


def variables(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """θ and w of the data set quadratic, which goes with this model alone."""
    raise ScenarioError("task.model: quadratic goes with the data set quadratic; take mlp")


class Quadratic(nn.Module):
    """z ↦ S z, the products that a gradient takes.

    Attributes: smoothness, L of F, the largest over the clients; smoothness_w, that of f_m in w.
    """

    def __init__(self, problem: Problem, smoothness: float, smoothness_w: float) -> None:
        super().__init__()
        self.smoothness, self.smoothness_w = smoothness, smoothness_w
        self.theta = nn.Parameter(torch.zeros(problem.d_theta, 1))
        self.w = nn.Parameter(torch.zeros(problem.d_w, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.cat([self.theta, self.w, torch.ones(1, 1, device=x.device)])
        return x @ z


def generate(problem: Problem, clients: int, seed: int) -> tuple[Tensor, float, float]:
    """S of every client, float32 [client, d, d] with d = dθ + dw + 1; and the two smoothness constants."""
    made = [_client(problem, client, seed) for client in range(clients)]
    x = torch.from_numpy(np.stack([matrix for matrix, _, _ in made]).astype(np.float32))
    return x, max(smooth for _, smooth, _ in made), max(smooth for _, _, smooth in made)


def _client(problem: Problem, client: int, seed: int) -> tuple[FloatArray, float, float]:
    (h, a, b), own = _matrices(problem, client, seed)
    common = generator(seed, "quadratic/theta").standard_normal(problem.d_theta)
    x, x1 = (common, common) if problem.setting == "byzantine" else own.standard_normal((2, problem.d_theta))
    errors = problem.noise * own.standard_normal((2, problem.rows))
    first = np.column_stack([h, np.zeros_like(b), -(h @ x + errors[0])])
    second = np.column_stack([a, b, -(a @ x1 + b @ own.standard_normal(problem.d_w) + errors[1])])
    in_w = b.T @ b
    left = a - b @ np.linalg.solve(in_w, b.T @ a)  # (I − BB⁺) A
    smooth = max(float(np.linalg.norm(a.T @ left)), float(np.linalg.norm(h, 2) ** 2))
    return first.T @ first + second.T @ second, smooth, float(np.linalg.norm(in_w, 2))


def _matrices(problem: Problem, client: int, seed: int) -> tuple[list[FloatArray], np.random.Generator]:
    """H, A and B of a client, and the rest of its stream."""
    shapes = [(problem.rows, size) for size in (problem.d_theta, problem.d_theta, problem.d_w)]
    own, base = generator(seed, "quadratic/client", client), generator(seed, "quadratic/base")
    if problem.setting == "byzantine":
        return [own.random(shape) / shape[1] for shape in shapes], own
    matrices = [base.random(shape) / shape[1] for shape in shapes]
    if problem.setting == "comparison":
        return [matrix + problem.zeta * own.random(matrix.shape) / matrix.shape[1] for matrix in matrices], own
    factors = (1.0, problem.zeta, problem.zeta)  # the code's: H is perturbed by 1, whatever ζ is
    drawn = [own.standard_normal(shape) for shape in shapes]
    return [m + f * n / np.linalg.norm(n) for m, f, n in zip(matrices, factors, drawn, strict=True)], own


class QuadraticKernel:
    """Gradients and losses in closed form, for all clients at once."""

    def gradient(self, params: Params, batch: Batch) -> Params:
        found = (_mean_matrix(batch) @ _point(params))[:, :-1]
        theta, w = torch.split(found, [params["theta"].shape[1], params["w"].shape[1]], 1)
        return {"theta": theta, "w": w}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        z = _point(params)
        return 0.5 * (z * (_mean_matrix(batch) @ z)).sum((1, 2))

    def logits(self, params: Params, x: Tensor) -> Tensor:
        raise RunError("the quadratic task predicts nothing, and this algorithm asks for predictions; take another")


def solve(params: Params, batch: Batch) -> Tensor:
    """w* of each client at its θ, [client, dw, 1]."""
    size = params["theta"].shape[1]
    matrix = _mean_matrix(batch).double()
    at = torch.cat([params["theta"], torch.ones_like(params["theta"][:, :1])], 1).double()
    across = torch.cat([matrix[:, size:-1, :size], matrix[:, size:-1, -1:]], 2)  # with θ and the constant
    found: Tensor = torch.linalg.solve(matrix[:, size:-1, size:-1], -(across @ at))
    return found.float()


def measure(x: Tensor, theta: Tensor, w: Tensor) -> tuple[FloatArray, FloatArray]:
    """f_m of each client at its own (θ_m, w_m) [client], and ∇F_m at the mean θ, by exact w_m*: [client, dθ].

    x [client, d, d]; theta [client, dθ, 1]; w [client, dw, 1]. In double precision.
    """
    s, one = x.double(), torch.ones_like(theta[:, :1])
    z = torch.cat([theta, w, one], 1).double()
    loss = 0.5 * (z * (s @ z)).sum((1, 2))
    mean, size = torch.cat([theta, one], 1).double().mean(0), theta.shape[1]
    keep = [*range(size), s.shape[1] - 1]
    across, inner = s[:, keep][:, :, size:-1], s[:, size:-1, size:-1]
    schur = s[:, keep][:, :, keep] - across @ torch.linalg.solve(inner, across.transpose(1, 2))
    gradient = (schur @ mean)[:, :-1, 0]
    return np.maximum(loss.numpy(), 0), gradient.numpy()  # S is rounded: a loss of 0 may come out below it


def _point(params: Params) -> Tensor:
    return torch.cat([params["theta"], params["w"], torch.ones_like(params["w"][:, :1])], 1)


def _mean_matrix(batch: Batch) -> Tensor:
    """Σ_i weight_i S_i of each client's batch: its own S."""
    if batch.x.shape[1] == 1:
        return batch.x[:, 0]
    return torch.einsum("cb,cbij->cij", batch.weight, batch.x)
