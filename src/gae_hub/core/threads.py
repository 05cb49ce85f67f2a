"""Threads of linear algebra libraries."""

__all__ = ["single_thread"]

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_thread() -> Iterator[None]:
    """A block in which BLAS and OpenMP compute with one thread.

    The many products of small matrices in scikit-learn's solvers are slower with more: `python -m benchmarks.threads`.
    """
    from threadpoolctl import threadpool_limits  # slow to import

    with threadpool_limits(1):
        yield
