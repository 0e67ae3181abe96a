"""Sparse: how many times as fast as a dense layer a sparse one trains on this machine."""

import warnings

import torch
from torch import Tensor

from edgesim.calibration.timing import best_s

DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_UNITS, _BATCH = 1024, 32


def sparse_curve(threads: int) -> list[tuple[float, float]]:
    """(density, speed-up) of forward, input gradient and weight gradient together, compressed sparse rows.

    A layer of 1024 × 1024 on a batch of 32; unstructured weights, the gradient of the active ones only.

    Raises:
        RuntimeError: this torch has no sparse kernels for this processor.
    """
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(_UNITS, _UNITS, generator=draw)
    x, delta = torch.randn(_UNITS, _BATCH, generator=draw), torch.randn(_UNITS, _BATCH, generator=draw)
    order = torch.rand(_UNITS, _UNITS, generator=draw)
    dense_s = best_s(lambda: (weight @ x, weight.t() @ delta, delta @ x.t()), threads)
    return [(density, dense_s / _sparse_s(weight * (order < density), x, delta, threads)) for density in DENSITIES]


def _sparse_s(weight: Tensor, x: Tensor, delta: Tensor, threads: int) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)  # torch calls its support a beta
        rows, columns = weight.to_sparse_csr(), weight.t().contiguous().to_sparse_csr()
        return best_s(
            lambda: (rows @ x, columns @ delta, torch.sparse.sampled_addmm(rows, delta, x.t(), beta=0.0)), threads
        )
