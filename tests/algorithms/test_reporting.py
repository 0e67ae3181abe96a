"""Reports of losses: what they say, what they cost, and that they change nothing else."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toys import arrivals, context, federation, task, trained

from edgesim.algorithms.async_rules import Refl
from edgesim.algorithms.contract import Algorithm, Client, overrides
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.heterofl import HeteroFL
from edgesim.algorithms.reporting import REPORT, LossReports, without_report
from edgesim.algorithms.zerofl import ZeroFl
from edgesim.engine.learning import Received
from edgesim.execution.backend import BackendName
from edgesim.learning import codecs
from edgesim.learning.kernels import kernel


def reported(algorithm: Algorithm, job: int = 2) -> tuple[float, float]:
    world = federation(LossReports(inner=algorithm))
    for number in range(3):
        world.dispatch(number, number, 0)
    found = world.loss(job)
    assert found is not None
    return found.mean, found.mean_square


@pytest.mark.parametrize("backend", ["stacked", "loop"])
def test_a_report_is_the_loss_of_the_model_that_was_sent_over_all_samples(backend: BackendName) -> None:
    """Clients of unequal sizes; by torch's own cross-entropy of the initial model."""
    where = context(task(alpha=0.3))
    world, algorithm = where.task, LossReports(inner=FedAvg())
    found = trained(algorithm, (1, 4, 6), where, backend)
    params = FedAvg().init_server(where)["params"]
    for client, one in zip((1, 4, 6), found, strict=True):
        rows = torch.from_numpy(world.train.of(client))
        logits = kernel(world.model.module, "loop").logits({n: w[None] for n, w in params.items()}, world.x[rows][None])
        each = F.cross_entropy(logits[0], world.y[rows], reduction="none")
        expected = [each.mean().item(), each.square().mean().item()]
        assert one.update[REPORT]["loss"].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_sparse_model_is_that_of_its_active_weights() -> None:
    assert reported(FedSpa(density=0.2)) != reported(FedAvg())


@pytest.mark.parametrize("algorithm", [HeteroFL(rates=(1.0, 0.25)), ZeroFl(sparsity=0.7, mask_ratio=0.1)])
def test_a_report_is_of_the_model_that_the_device_computes_with(algorithm: Algorithm) -> None:
    """A slice with its scaler, which is what client 1 is tested with; the largest weights of a dense model."""
    where = context()
    (told,) = trained(LossReports(inner=algorithm), [1], where)
    client = Client(1, 0, algorithm.init_client(where, 1))
    used = algorithm.client_model(algorithm.init_server(where), client)
    rows = torch.from_numpy(where.task.train.of(1))
    logits = kernel(where.task.model.module, "loop").logits(
        {n: w[None] for n, w in used.items()}, where.task.x[rows][None]
    )
    expected = F.cross_entropy(logits[0], where.task.y[rows]).item()
    assert told.update[REPORT]["loss"][0].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("algorithm", [FedAvg(), FedSpa(density=0.5)])
def test_reports_change_nothing_of_what_is_trained(algorithm: Algorithm) -> None:
    for plain, told in zip(trained(algorithm), trained(LossReports(inner=algorithm)), strict=True):
        for before, after in ((plain.update, without_report(told.update)), (plain.state, told.state)):
            assert before.keys() == after.keys()
            assert all(torch.equal(before[g][n], after[g][n]) for g in before for n in before[g])


def test_a_report_costs_a_forward_pass_and_nine_bytes() -> None:
    """Of a dense model: the forward FLOPs of each sample, once; a form byte and two float32 on the wire."""
    where, inner = context(), FedAvg()
    profile, samples = where.profile, int(where.task.train.count[0])
    payload = inner.download(where, inner.init_server(where), who := Client(0, samples, {}))
    plain, told = (algorithm.workload(where, payload, who) for algorithm in (inner, LossReports(inner=inner)))
    forward = float(profile.forward_flops.sum()) + profile.other_flops / 3
    assert told.flops - plain.flops == pytest.approx(forward * samples)
    assert np.all(told.layer_flops > plain.layer_flops)
    algorithm = LossReports(inner=inner)
    sent = trained(algorithm)[0]
    size = codecs.size(algorithm.upload(sent.update, {}, sent.state))
    assert size == algorithm.upload_bytes(where, payload, who) == codecs.size(inner.upload(sent.update, {}, {})) + 9


def test_an_algorithm_keeps_its_own_hooks_under_reports() -> None:
    hooks = ("init_client", "download", "upload", "aggregate", "local_end", "personalise")
    for algorithm in (FedAvg(), FedSpa(density=0.5)):
        for hook in hooks:
            assert overrides(LossReports(inner=algorithm), hook) == overrides(algorithm, hook)


def test_a_job_that_is_over_has_no_loss_any_more_and_reading_one_trains_all_that_wait() -> None:
    world = federation(LossReports(inner=FedAvg()))
    for job in range(3):
        world.dispatch(job, job, 0)
    world.drop(2)
    assert world.loss(2) is None
    assert world.loss(0) is not None
    assert 1 in world._training._trained
    world.aggregate([Received(0, 0, 0, 1.0)])
    assert world.loss(0) is None


# ── REFL's rule ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("scale", "expected"), [(1.0, 1.745959), (10.0, 1.842656)])
def test_stale_updates_weigh_by_staleness_and_by_what_they_add(scale: float, expected: float) -> None:
    """Updates 1 (fresh), 3 (τ = 1), 2 (τ = 3): ū = 1, ū_c = 2 and 1.5, so Λ = 1 and 1/4. Weights 0.65/2 + 0.35 (1 −
    e^−1 / s) and 0.65/4 + 0.35 (1 − e^−1/4 / s): for s = 1 0.546242 and 0.239920, for s = 10 0.662124 and 0.485242."""
    sent = arrivals({"params": {"w": [[1.0], [3.0], [2.0]]}}, staleness=[0, 1, 3])
    zero = {"w": torch.zeros(1)}
    found, _ = Refl(scale=scale).step(zero, {}, sent, sent.shares, sent.update["params"], None)
    assert found["w"].item() == pytest.approx(expected, abs=1e-5)


def test_without_stale_updates_the_rule_is_the_mean_and_without_fresh_ones_staleness_alone_counts() -> None:
    """Stale ones alone, τ = 1 and 3: weights 1/2 and 1/4 of the same factor, so (2/3) · 3 + (1/3) · 6 = 4."""
    zero = {"w": torch.zeros(1)}
    fresh = arrivals({"params": {"w": [[1.0], [4.0]]}}, samples=[1, 2])
    stale = arrivals({"params": {"w": [[3.0], [6.0]]}}, staleness=[1, 3])
    for sent, expected in ((fresh, 3.0), (stale, 4.0)):
        found, _ = Refl().step(zero, {}, sent, sent.shares, sent.update["params"], None)
        assert found["w"].item() == pytest.approx(expected)
