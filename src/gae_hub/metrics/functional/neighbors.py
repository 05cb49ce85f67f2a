"""Precision and recall: Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi, Karras,
Laine, Lehtinen & Aila, 2019), arXiv:1904.06991; density and coverage: Reliable Fidelity and Diversity Metrics for
Generative Models (Naeem, Oh, Uh, Choi & Yoo, 2020), arXiv:2002.09797.

Each point is the centre of a ball that reaches to its k-th nearest neighbour on the same side. The manifold of a side
is the union of its balls.

The expected values depend on the numbers of samples and references, and every number depends on both sides: a new
reference changes many balls. The intervals are therefore those of the jackknife, over all samples and all references.
Without one centre, its ball is gone, and the balls that counted it among their k neighbours reach to the (k + 1)-th.
One pass over the distances is enough for all of these values. In simulations, the jackknife's standard error is up to
2.5 times the standard deviation over draws: intervals of precision, recall and coverage cover in 98 to 100 % of the
cases, those of density in 93 to 100 %.
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

    Returns:
        "precision" and "recall". Their intervals are about the expected values for as many samples and references;
        they need 2 or more rows beyond k on each side.

    Raises:
        ValueError: if there are too few rows, values that are not finite, or sides with different dim.
    """
    samples, references = _centred("precision and recall", samples, references, num_neighbors)
    of_references = _Manifold(references, num_neighbors, len(samples))
    of_samples = _Manifold(samples, num_neighbors, len(references))
    for rows in _chunks(len(samples)):
        distances = _squared_distances(samples[rows], references)
        of_references.add(distances, rows, slice(0, len(references)))
        of_samples.add(distances.T, slice(0, len(references)), rows)
    return {"precision": of_references.estimate_share(), "recall": of_samples.estimate_share()}


def density_coverage(samples: Tensor, references: Tensor, num_neighbors: int = 5) -> dict[str, Estimate]:
    """Density and coverage of samples.

    Density: mean number of reference balls that contain a sample, divided by k. Coverage: proportion of reference
    balls that contain a sample. The expected density of equal distributions is 1; it can exceed 1.

    Args:
        samples, references: (num, dim) features, with more than `num_neighbors` references.
        num_neighbors: k.

    Returns:
        "density" and "coverage". Their intervals are about the expected values for as many samples and references;
        they need 2 or more samples, and 2 or more references beyond k.

    Raises:
        ValueError: if there are too few rows, values that are not finite, or sides with different dim.
    """
    samples, references = _centred("density and coverage", samples, references, num_neighbors, min_samples=1)
    manifold = _Manifold(references, num_neighbors, len(samples))
    for rows in _chunks(len(samples)):
        manifold.add(_squared_distances(samples[rows], references), rows, slice(0, len(references)))
    return {"density": manifold.estimate_density(), "coverage": manifold.estimate_coverage()}


class _Manifold:
    """The balls around the points of one side, and which points of the other side they contain.

    Args:
        centres: (num_centres, dim), more than k.
        k: number of the neighbour that a ball reaches to.
        num_points: number of points of the other side.
    """

    def __init__(self, centres: Tensor, k: int, num_points: int):
        self.k, self.num_points, self.num_centres = k, num_points, len(centres)
        self.has_interval = num_points > 1 and len(centres) > k + 1
        self.neighbors, self.radii, self.grown = _nearest(centres, k)
        zeros = torch.zeros(num_points + len(centres), 2, dtype=torch.int64, device=centres.device)
        # number of balls that contain a point, and sum of their indices: the only ball, if there is one
        self.balls_of_point = zeros[:num_points]
        # number of points in a ball, and sum of their indices
        self.points_of_ball = zeros[num_points:]
        self.rings: list[Tensor] = []  # (2, num) points, and balls that reach them if one of their neighbours is gone

    def add(self, distances: Tensor, points: slice, centres: slice):
        """Add the squared distances of some points, one a row, to some centres, one a column."""
        inside = distances <= self.radii[centres]
        ring = (distances <= self.grown[centres]) & ~inside
        for counts, mask, rows, columns in (
            (self.balls_of_point, inside, points, centres),
            (self.points_of_ball, inside.T, centres, points),
        ):
            counts[rows, 0] += mask.sum(1)
            counts[rows, 1] += (mask * torch.arange(columns.start, columns.stop, device=mask.device)).sum(1)
        start = torch.tensor([[points.start], [centres.start]], device=distances.device)
        self.rings.append(ring.nonzero().T + start)

    def estimate_share(self) -> Estimate:
        """Proportion of the points that are on the manifold."""
        counts, only = self.balls_of_point.T
        hits = (counts > 0).double()
        share = hits.mean().item()
        if not self.has_interval:
            return Estimate(share)
        point, ball = torch.cat(self.rings, 1)
        # points that a grown ball reaches if a centre is gone, as point * num_centres + centre
        reached = (point.unsqueeze(1) * self.num_centres + self.neighbors[ball]).unique()
        gained = reached[counts[reached // self.num_centres] == 0] % self.num_centres
        single = torch.nonzero(counts == 1).squeeze(1)
        lost = only[single][~torch.isin(single * self.num_centres + only[single], reached)]
        without_centre = hits.sum() + self._count_centres(gained) - self._count_centres(lost)
        without_point = (hits.sum() - hits) / (self.num_points - 1)
        return Estimate.jackknife(share, without_point, without_centre / self.num_points, num_cases=self.num_points)

    def estimate_density(self) -> Estimate:
        """Mean number of balls that contain a point, divided by k."""
        counts = self.balls_of_point[:, 0].double() / self.k
        if not self.has_interval:
            return Estimate(counts.mean().item())
        ring_sizes = torch.bincount(torch.cat(self.rings, 1)[1], minlength=self.num_centres).double()
        grown = self._sum_over_dependents(ring_sizes) - self.points_of_ball[:, 0]
        without_centre = (counts.sum() + grown / self.k) / self.num_points
        without_point = (counts.sum() - counts) / (self.num_points - 1)
        return Estimate.jackknife(counts.mean().item(), without_point, without_centre, lower_bound=0.0)

    def estimate_coverage(self) -> Estimate:
        """Proportion of the balls that contain a point."""
        counts, only = self.points_of_ball.T
        covered = (counts > 0).double()
        share = covered.mean().item()
        if not self.has_interval:
            return Estimate(share)
        reachable = torch.zeros_like(covered)
        reachable[torch.cat(self.rings, 1)[1]] = 1.0
        gained = self._sum_over_dependents(reachable * (1 - covered))
        without_centre = (covered.sum() + gained - covered) / (self.num_centres - 1)
        lost = torch.bincount(only[counts == 1], minlength=self.num_points)
        without_point = (covered.sum() - lost) / self.num_centres
        return Estimate.jackknife(share, without_point, without_centre, num_cases=self.num_centres)

    def _count_centres(self, centres: Tensor) -> Tensor:
        """(num_centres,) how often each centre occurs."""
        return torch.bincount(centres, minlength=self.num_centres)

    def _sum_over_dependents(self, values: Tensor) -> Tensor:
        """(num_centres,) sum of the values of the balls that count a centre among their k neighbours."""
        sums = torch.zeros_like(values)
        return sums.index_add_(0, self.neighbors.flatten(), values.repeat_interleave(self.k))


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


def _chunks(num: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, num)) for start in range(0, num, CHUNK)]


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(num_x, num_y)."""
    return torch.addmm(x.square().sum(1, keepdim=True) + y.square().sum(1), x, y.T, alpha=-2).clamp_(min=0)


def _nearest(points: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """(num, k) nearest neighbours, and (num,) squared distances to the k-th and to the next one, if there is one."""
    found = []
    for rows in _chunks(len(points)):
        distances = _squared_distances(points[rows], points)
        distances[:, rows].fill_diagonal_(torch.inf)
        found.append(distances.topk(min(k + 1, len(points) - 1), largest=False))
    distances, neighbors = (torch.cat(parts) for parts in zip(*found, strict=True))
    return neighbors[:, :k], distances[:, k - 1], distances[:, -1]
