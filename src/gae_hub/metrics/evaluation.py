"""From a model, a data set and names of metrics to numbers: what `gae-hub evaluate` runs."""

__all__ = ["METRICS", "evaluate_model"]

from collections.abc import Callable, Sequence

import torch

from ..data import as_image_dataset, embed_dataset, iterate_batches
from .clustering import clustering_accuracy
from .energy import energy_distance
from .reconstruction import reconstruction_mse


def _mse(model, dataset, **_) -> dict[str, float]:
    """Mean squared error of the reconstructions, per pixel."""
    return {"mse": reconstruction_mse(model, dataset)}


def _energy(model, dataset, sampler=None, num_samples=1000, seed=0) -> dict[str, float]:
    """Energy distance from samples to the data, in pixels, and that of two halves of the data as its floor."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(dataset), generator=generator)[: 2 * num_samples].tolist()
    pixels = torch.cat(list(iterate_batches(torch.utils.data.Subset(dataset, chosen))))
    samples = model.generate(num_samples, sampler=sampler, generator=generator).cpu()
    return {
        "energy_distance": energy_distance(samples, pixels[:num_samples]),
        "energy_distance_of_data": energy_distance(*pixels.chunk(2)),
    }


def _clustering(model, dataset, seed=0, **_) -> dict[str, float]:
    """Accuracy of k-means on the embeddings, each cluster standing for its prevalent class."""
    if getattr(dataset, "labels", None) is None:
        raise ValueError(
            f"'{getattr(dataset, 'name', 'the data set')}' has no labels, which the metric 'clustering' needs"
        )
    mean, deviation = clustering_accuracy(embed_dataset(model, dataset, progress=False), dataset.labels, seed=seed)
    return {"clustering_accuracy": mean, "clustering_accuracy_std": deviation}


METRICS: dict[str, Callable[..., dict[str, float]]] = {"mse": _mse, "energy": _energy, "clustering": _clustering}
"""Short name to function(model, dataset, sampler, num_samples, seed), which gives named numbers."""


def evaluate_model(
    model, dataset, metrics: Sequence[str] = ("mse",), sampler=None, num_samples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Named numbers for a model on a data set.

    Args:
        model: an autoencoder.
        dataset: what [`load_images`] gives, or takes as an object.
        metrics: names in `METRICS`.
        sampler: where samples are measured, the sampler to draw them by; the model's prior without one.
        num_samples: images to generate.
        seed: of everything that is drawn.

    Raises:
        ValueError: for a metric that does not exist, or one that needs what the data does not have.
    """
    dataset, results = as_image_dataset(dataset), {}
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"no metric is called '{name}'; known are {', '.join(METRICS)}")
        results.update(METRICS[name](model, dataset, sampler=sampler, num_samples=num_samples, seed=seed))
    return results
