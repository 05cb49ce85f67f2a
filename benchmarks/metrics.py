"""Metrics, against their usual implementations in numpy, scipy, scikit-learn and torch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.linalg import sqrtm
from sklearn.cluster import KMeans

from gae_hub.metrics import MEASURES, Moments, frechet_distance, kmeans, load

from .comparison import Comparison

TITLE, SIDES = "metric", ("gae_hub", "numpy, scipy, scikit-learn, torch")


def usual_frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """FID as most implementations compute it: the matrix square root of the product of both covariances."""
    (m1, c1), (m2, c2) = ((t.mean(0), np.cov(t, rowvar=False)) for t in (x, y))
    root = sqrtm(c1 @ c2)
    return ((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)


def seeded_randn(*shape: int) -> torch.Tensor:
    """Normal draws that are the same on both sides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def comparisons() -> Iterator[Comparison]:
    yield from compare_feature_metrics()
    yield from compare_latent_metrics()


def compare_feature_metrics() -> Iterator[Comparison]:
    scale = torch.logspace(0, -2, 2048)
    x, y = seeded_randn(2, 50_000, 2048) * scale
    yield Comparison(
        "FID: moments and distance, 2 x 50,000 x 2048",
        lambda: frechet_distance(Moments(x), Moments(y)),
        lambda: usual_frechet_distance(x.numpy().astype(np.float64), y.numpy().astype(np.float64)),
        0.5,
    )
    measure, module = MEASURES["fid"](feature_extractor="features"), load("fid", feature_extractor="features")

    def stream(metric: Any, add: Callable[..., None]):
        for a, b in zip(x[:20_000].split(500), y[:20_000].split(500), strict=True):
            add(predictions=a, references=b)
        metric.compute()

    def stream_measure():
        stream(measure, measure.add)
        measure.reset()

    yield Comparison(
        "evaluate module against the measure it wraps: FID of 2 x 20,000 x 2048",
        lambda: stream(module, module.add_batch),
        stream_measure,
        1.05,
    )


def compare_latent_metrics() -> Iterator[Comparison]:
    labels = torch.arange(50_000) % 10
    points = seeded_randn(50_000, 16) + 1.5 * seeded_randn(10, 16)[labels]
    array = points.numpy()
    yield Comparison(
        "k-means: 100 fits of 50,000 x 16, 10 clusters",
        lambda: kmeans(points, 10, 100),
        lambda: [KMeans(10, n_init=1, random_state=seed).fit(array) for seed in range(100)],
        0.5,
    )
