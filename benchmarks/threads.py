"""Threads of scikit-learn's solvers: seconds with two threads of BLAS and OpenMP, and with one, best of three.

Run: python -m benchmarks.threads
"""

import time
from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits


def best_seconds(work: Callable[[], object], threads: int) -> float:
    """Smallest duration of three calls."""
    found = []
    for _ in range(3):
        with threadpool_limits(threads):
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
    return min(found)


def main():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (10_000,), generator=generator)
    latents = torch.randn(10, 16, generator=generator)[labels] + torch.randn(10_000, 16, generator=generator)
    rows, classes = latents.double().numpy(), labels.numpy()
    solvers: dict[str, Callable[[], object]] = {
        "logistic regression, 10,000 rows": lambda: LogisticRegression(max_iter=10_000).fit(rows, classes),
        "mixture of 10, 5,000 rows": lambda: GaussianMixture(10, random_state=0).fit(rows[:5000]),
    }
    print("| 16 columns, 10 classes | two threads | one thread |\n|---|---:|---:|")
    for name, solve in solvers.items():
        print(f"| {name} | {best_seconds(solve, 2):.2f} s | {best_seconds(solve, 1):.2f} s |")


if __name__ == "__main__":
    main()
