"""One thread a process: numbers do not depend on how many cores there are, and processes side by side do not
contend for them."""

import torch
from threadpoolctl import threadpool_limits


def one_thread() -> None:
    """Let this process compute on one thread from now on, in torch and in numpy's linear algebra."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)
