"""Agreement of k-means clusters of the latents with the classes."""

__all__ = ["clustering_scores"]

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_labels, check_rows
from .kmeans import kmeans


def clustering_scores(latents: Tensor, labels: Tensor, num_fits: int = 100, seed: int = 0) -> dict[str, Estimate]:
    """Four measures of agreement between k-means clusters and classes, each a mean over fits.

    There are as many clusters as classes. `refit_std` is the standard deviation over the fits.

    - `clustering_accuracy`: accuracy if each cluster predicts its most frequent class. This is the paper's clustering
      task, with 100 fits.
    - `clustering_hungarian`: accuracy under the best one-to-one assignment of clusters to classes.
    - `clustering_nmi`: mutual information divided by the mean of both entropies.
    - `clustering_ari`: adjusted Rand index (Hubert & Arabie, 1985, doi:10.1007/BF01908075).

    Args:
        latents: (num, latent_dim), at least as many as classes.
        labels: (num,) integers, of 2 or more classes.
        num_fits: number of k-means fits, each from its own k-means++ start.
        seed: seed of the starts.

    Raises:
        ValueError: if numbers of latents and labels differ, or there are fewer than 2 classes.
    """
    check_count("num_fits", num_fits)
    check_rows("clustering", "latents", latents, 1, "latents")
    latents = latents.reshape(len(latents), -1)
    check_labels("clustering", labels, len(latents))
    classes = labels.to(latents.device).unique(return_inverse=True)[1]
    k = int(classes.max()) + 1 if len(classes) else 0
    if k < 2:
        raise ValueError(f"clustering needs labels of 2 or more classes, got {k}")
    clusters, _ = kmeans(latents, k, num_fits, seed)
    cells = (torch.arange(num_fits, device=latents.device).unsqueeze(1) * k + clusters) * k + classes
    counts = torch.bincount(cells.flatten(), minlength=num_fits * k * k).view(num_fits, k, k).double().cpu()
    values = {
        "clustering_accuracy": counts.amax(2).sum(1) / len(labels),
        "clustering_hungarian": _hungarian_accuracy(counts),
        "clustering_nmi": _normalised_mutual_information(counts),
        "clustering_ari": _adjusted_rand_index(counts),
    }
    return {name: Estimate.mean_of_refits(value) for name, value in values.items()}


# Each function below maps (num_fits, clusters, classes) counts to (num_fits,) scores.


def _hungarian_accuracy(counts: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    matched = [table[linear_sum_assignment(table.numpy(), maximize=True)].sum() for table in counts]
    return torch.stack(matched) / counts[0].sum()


def _normalised_mutual_information(counts: Tensor) -> Tensor:
    joint = counts / counts.sum((1, 2), keepdim=True)
    of_clusters, of_classes = _entropy(joint.sum(2)), _entropy(joint.sum(1))
    information = of_clusters + of_classes - _entropy(joint.flatten(1))
    return information / (0.5 * (of_clusters + of_classes))


def _entropy(p: Tensor) -> Tensor:
    """Entropy over the last axis, in nats."""
    return -torch.xlogy(p, p).sum(-1)


def _adjusted_rand_index(counts: Tensor) -> Tensor:
    def num_pairs(n: Tensor) -> Tensor:
        return n * (n - 1) / 2

    both = num_pairs(counts).sum((1, 2))
    of_clusters, of_classes = num_pairs(counts.sum(2)).sum(1), num_pairs(counts.sum(1)).sum(1)
    expected = of_clusters * of_classes / num_pairs(counts.sum((1, 2)))
    return (both - expected) / (0.5 * (of_clusters + of_classes) - expected)
