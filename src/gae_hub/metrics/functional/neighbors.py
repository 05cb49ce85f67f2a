"""Precision and recall: Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi, Karras,
Laine, Lehtinen & Aila, 2019), arXiv:1904.06991; density and coverage: Reliable Fidelity and Diversity Metrics for
Generative Models (Naeem, Oh, Uh, Choi & Yoo, 2020), arXiv:2002.09797.

Each point is the centre of a ball that reaches to its k-th nearest neighbour on the same side. The manifold of a side
is the union of its balls.
"""

__all__ = ["density_coverage", "precision_recall"]

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_features, check_same_dim

CHUNK = 1024  # rows whose distances are in memory at a time


def precision_recall(samples: Tensor, references: Tensor, num_neighbors: int = 3) -> dict[str, Estimate]:
    """Precision and recall of samples.

    Precision: proportion of samples on the manifold of the references. Recall: proportion of references on the
    manifold of the samples.

    Args:
        samples, references: (num, dim) features, more than `num_neighbors` each.
        num_neighbors: k.

    Raises:
        ValueError: if there are too few rows, values that are not finite, or sides with different dim.
    """
    samples, references = _centred("precision and recall", samples, references, num_neighbors)
    references_radii, samples_radii = (_squared_radii(side, num_neighbors) for side in (references, samples))
    precise, recalled = [], torch.zeros(len(references), dtype=torch.bool, device=references.device)
    for rows, radii in zip(samples.split(CHUNK), samples_radii.split(CHUNK), strict=True):
        distances = _squared_distances(rows, references)
        precise.append((distances <= references_radii).any(1))
        recalled |= (distances <= radii.unsqueeze(1)).any(0)
    return {"precision": Estimate.proportion(torch.cat(precise)), "recall": Estimate.proportion(recalled)}


def density_coverage(samples: Tensor, references: Tensor, num_neighbors: int = 5) -> dict[str, Estimate]:
    """Density and coverage of samples.

    Density: mean number of reference balls that contain a sample, divided by k. Coverage: proportion of reference
    balls that contain a sample. The expected density of equal distributions is 1; it can exceed 1.

    Args:
        samples, references: (num, dim) features, with more than `num_neighbors` references.
        num_neighbors: k.

    Raises:
        ValueError: if there are too few rows, values that are not finite, or sides with different dim.
    """
    samples, references = _centred("density and coverage", samples, references, num_neighbors, min_samples=1)
    radii = _squared_radii(references, num_neighbors)
    counts, covered = [], torch.zeros(len(references), dtype=torch.bool, device=references.device)
    for rows in samples.split(CHUNK):
        inside = _squared_distances(rows, references) <= radii
        counts.append(inside.sum(1))
        covered |= inside.any(0)
    return {
        "density": Estimate.mean(torch.cat(counts) / num_neighbors, lower_bound=0.0),
        "coverage": Estimate.proportion(covered),
    }


def _centred(
    name: str, samples: Tensor, references: Tensor, k: int, min_samples: int | None = None
) -> tuple[Tensor, Tensor]:
    """Both sides in float64, checked and moved to the mean of the references, where squares lose fewer digits."""
    check_count("num_neighbors", k)
    check_features(name, "samples", samples, k + 1 if min_samples is None else min_samples, "images on each side")
    check_features(name, "references", references, k + 1, "images on each side")
    check_same_dim(samples.shape[1], references.shape[1])
    centre = references.double().mean(0)
    return samples.double() - centre, references.double() - centre


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(num_x, num_y)."""
    return torch.addmm(x.square().sum(1, keepdim=True) + y.square().sum(1), x, y.T, alpha=-2).clamp_(min=0)


def _squared_radii(points: Tensor, k: int) -> Tensor:
    """(num,) squared distance from each point to its k-th nearest neighbour."""
    radii, start = [], 0
    for rows in points.split(CHUNK):
        distances = _squared_distances(rows, points)
        diagonal = torch.arange(len(rows), device=points.device)
        distances[diagonal, start + diagonal] = torch.inf
        radii.append(distances.kthvalue(k, dim=1).values)
        start += len(rows)
    return torch.cat(radii)
