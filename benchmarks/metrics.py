"""Metrics beside the ways in which they are mostly computed."""

import numpy as np
import torch

from gae_hub.metrics import MEASURES, Moments, frechet_distance, kmeans, linear_probe, load

from .comparison import Comparison

TITLE = "metric"
PEER = "numpy, scipy, scikit-learn, torch"


def published_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Mean, covariance and the square root of a matrix that is not symmetric, as FID is mostly computed."""
    from scipy.linalg import sqrtm

    (m1, c1), (m2, c2) = ((t.mean(0), np.cov(t, rowvar=False)) for t in (x, y))
    root = sqrtm(c1 @ c2)
    return ((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)


def one_probe(x, labels, test, test_labels, seed: int, num_epochs: int) -> float:
    """A linear layer by torch's own modules."""
    torch.manual_seed(seed)
    layer = torch.nn.Linear(x.shape[1], int(labels.max()) + 1)
    steps = num_epochs * -(-len(x) // 256)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(num_epochs):
        for chosen in torch.randperm(len(x)).split(256):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return (layer(test).argmax(1) == test_labels).float().mean().item()


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def comparisons():
    yield from of_features()
    yield from of_latents()


def of_features():
    scale = torch.logspace(0, -2, 2048)
    x, y = randn(2, 50_000, 2048) * scale
    yield Comparison(
        "FID: moments and distance, 2 x 50,000 x 2048",
        lambda: frechet_distance(Moments(x), Moments(y)),
        lambda: published_frechet(x.numpy().astype(np.float64), y.numpy().astype(np.float64)),
        0.5,
    )
    engine, shell = MEASURES["fid"](feature_extractor="features"), load("fid", feature_extractor="features")

    def by(metric, add):
        for a, b in zip(x[:20_000].split(500), y[:20_000].split(500), strict=True):
            add(predictions=a, references=b)
        metric.compute(interval=False)

    def by_engine():
        by(engine, engine.add)
        engine.reset()

    name = "the evaluate shell beside the engine: FID of 2 x 20,000 x 2048"
    yield Comparison(name, lambda: by(shell, shell.add_batch), by_engine, 1.05)


def of_latents():
    from sklearn.cluster import KMeans

    labels = torch.arange(50_000) % 10
    points = randn(50_000, 16) + 1.5 * randn(10, 16)[labels]
    array = points.numpy()
    yield Comparison(
        "k-means: 100 fits of 50,000 x 16, 10 clusters",
        lambda: kmeans(points, 10, 100),
        lambda: [KMeans(10, n_init=1, random_state=seed).fit(array) for seed in range(100)],
        0.5,
    )
    fit, test = (points[:40_000], labels[:40_000]), (points[40_000:], labels[40_000:])
    yield Comparison(
        "probe: 20 runs of 40,000 x 16, 5 epochs",
        lambda: linear_probe(*fit, *test, num_epochs=5),
        lambda: [one_probe(*fit, *test, seed, 5) for seed in range(20)],
        0.2,
    )
