"""Precision and recall: Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi, Karras,
Laine, Lehtinen & Aila, 2019), arXiv:1904.06991; density and coverage: Reliable Fidelity and Diversity Metrics for
Generative Models (Naeem, Oh, Uh, Choi & Yoo, 2020), arXiv:2002.09797."""

__all__ = ["density_coverage", "precision_recall"]

import torch
from torch import Tensor

from ..estimate import Estimate, require_features

CHUNK = 1024  # rows whose distances are in memory at a time


def precision_recall(samples: Tensor, references: Tensor, num_neighbors: int = 3) -> dict[str, Estimate]:
    """Precision: share of samples within the manifold of the references; recall: share of references within that of
    the samples. A manifold is the union of balls about its points, that reach as far as the k-th nearest other one.

    Args:
        samples, references: (num, dim) features; each needs more than num_neighbors.
        num_neighbors: k.
    """
    samples, references = _checked("precision and recall", samples, references, num_neighbors)
    of_references, of_samples = (_radii(t, num_neighbors) for t in (references, samples))
    inside, found = [], torch.zeros(len(references), dtype=torch.bool, device=references.device)
    for rows, radii in zip(samples.split(CHUNK), of_samples.split(CHUNK), strict=True):
        distances = _squares(rows, references)
        inside.append((distances <= of_references).any(1))
        found |= (distances <= radii.unsqueeze(1)).any(0)
    return {"precision": Estimate.share(torch.cat(inside)), "recall": Estimate.share(found)}


def density_coverage(samples: Tensor, references: Tensor, num_neighbors: int = 5) -> dict[str, Estimate]:
    """Density: how many of the references' balls a sample lies in, over k; it is 1 in expectation for equal
    distributions, and may exceed 1. Coverage: share of the references' balls that hold a sample.

    Args:
        samples, references: (num, dim) features; the references need more than num_neighbors.
        num_neighbors: k.
    """
    samples, references = _checked("density and coverage", samples, references, num_neighbors, both=False)
    radii = _radii(references, num_neighbors)
    counts, covered = [], torch.zeros(len(references), dtype=torch.bool, device=references.device)
    for rows in samples.split(CHUNK):
        inside = _squares(rows, references) <= radii
        counts.append(inside.sum(1))
        covered |= inside.any(0)
    return {
        "density": Estimate.mean(torch.cat(counts) / num_neighbors, least=0.0),
        "coverage": Estimate.share(covered),
    }


def _checked(name: str, samples: Tensor, references: Tensor, k: int, both: bool = True) -> tuple[Tensor, Tensor]:
    if k < 1:
        raise ValueError(f"num_neighbors must be 1 or more, got {k}")
    require_features(name, samples, k + 1 if both else 1)
    require_features(name, references, k + 1)
    if samples.shape[1] != references.shape[1]:
        raise ValueError(f"the two sides have features of {samples.shape[1]} and {references.shape[1]} dimensions")
    centre = references.double().mean(0)  # near 0, squares lose fewer digits
    return samples.double() - centre, references.double() - centre


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """(num_x, num_y) squared distances."""
    return torch.addmm(x.square().sum(1, keepdim=True) + y.square().sum(1), x, y.T, alpha=-2).clamp_(min=0)


def _radii(points: Tensor, k: int) -> Tensor:
    """(num,) squared distance of each point to its k-th nearest other one."""
    radii, start = [], 0
    for rows in points.split(CHUNK):
        distances = _squares(rows, points)
        own = torch.arange(len(rows), device=points.device)
        distances[own, start + own] = torch.inf
        radii.append(distances.kthvalue(k, dim=1).values)
        start += len(rows)
    return torch.cat(radii)
