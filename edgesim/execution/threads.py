"""One thread a process: side by side, processes are faster and steadier than threads, and numbers do not depend
on how many cores there are (benchmarks/README.md)."""

import torch
from threadpoolctl import threadpool_limits


def one_thread() -> None:
    """Let this process compute on one thread from now on, in torch and in numpy's linear algebra."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)
