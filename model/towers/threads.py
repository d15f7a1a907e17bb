"""How many threads one computation may use."""

import torch
from threadpoolctl import threadpool_limits


def use_threads(count: int) -> None:
    """Let torch and the linear algebra of NumPy use so many threads in one computation, from now on.

    The matrices are small: several requests at once gain more from a thread each than one of them from all, and
    threads that wait for each other are many times slower.
    """
    torch.set_num_threads(count)
    threadpool_limits(count)
