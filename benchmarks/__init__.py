"""Benchmarks: edgesim against the bare limit of the machine, workload by workload (README.md).

One thread a process, on both sides: set here, since numpy and torch read it when they are loaded.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
