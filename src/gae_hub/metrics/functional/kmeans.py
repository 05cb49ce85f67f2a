"""k-means: many fits side by side, in one batch of matrix products."""

__all__ = ["kmeans"]

from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from .checks import check_features

CELLS = 1 << 16  # distances in memory at a time: about the size of a core's cache
START_CELLS = 20_000_000  # (fits, points) in memory at a time, for the k-means++ starts


@torch.no_grad()
def kmeans(
    points: Tensor, num_clusters: int, num_fits: int = 1, seed: int = 0, max_iter: int = 300, tol: float = 1e-4
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from greedy k-means++ starts.

    A fit ends when the squared movements of its centres add up to at most `tol` times the mean variance of the
    dimensions, as in scikit-learn. It then leaves the batch. A cluster that loses all its points keeps its centre.

    Args:
        points: (num, dim).
        num_clusters: k, at most num.
        num_fits: number of fits.
        seed: seed of the starts.
        max_iter: largest number of iterations.
        tol: tolerance, relative to the mean variance.

    Returns:
        (num_fits, num) cluster indices, and (num_fits,) sums of squared distances to the centres.

    Raises:
        ValueError: for fewer points than clusters, or points that are not finite.
    """
    for name, count in (("num_clusters", num_clusters), ("num_fits", num_fits), ("max_iter", max_iter)):
        check_count(name, count)
    check_features("k-means", "points", points, num_clusters, "points, as many as clusters")
    points = points.detach() - points.detach().double().mean(0).to(points.dtype)
    points = points if points.dtype == torch.float64 else points.float()
    generator = torch.Generator().manual_seed(seed)
    smallest_shift = tol * points.double().var(0, correction=0).mean().item()
    fits = max(1, min(num_fits, START_CELLS // len(points)))
    sizes = [min(fits, num_fits - start) for start in range(0, num_fits, fits)]
    extended = torch.cat([points, points.new_ones(len(points), 1)], 1)
    centres = torch.cat([_draw_starts(extended, num_clusters, size, generator) for size in sizes])
    active = torch.arange(num_fits, device=points.device)
    for _ in range(max_iter):
        moved = _move_centres(extended, centres[active])
        shift = (moved - centres[active]).square().sum((1, 2))
        centres[active] = moved
        active = active[shift > smallest_shift]
        if not len(active):
            break
    return _assign(extended, centres)


def _draw_starts(extended: Tensor, k: int, fits: int, generator: torch.Generator) -> Tensor:
    """(fits, k, dim) centres by greedy k-means++ (Arthur & Vassilvitskii, 2007).

    Candidates for the next centre are drawn with probability proportional to their squared distance to the nearest
    centre so far; the best candidate is kept.
    """
    num, num_candidates = len(extended), 2 + int(log(k))
    points = extended[:, :-1]
    norms = points.double().square().sum(1)
    rows = torch.arange(fits, device=points.device)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(points.device)

    def score_points(chosen: Tensor) -> Tensor:
        """(fits, num): scores of all points, for one centre of each fit."""
        return torch.cat([part[0] for part, _ in _iterate_scores(extended, points[chosen].unsqueeze(1))], 1)

    chosen = [(rand(fits) * num).long().clamp(max=num - 1)]
    nearest = score_points(chosen[0])
    for _ in range(k - 1):
        mass = (nearest + norms).clamp_(min=0).cumsum_(1)
        candidates = torch.searchsorted(mass, rand(fits, num_candidates) * mass[:, -1:]).clamp_(max=num - 1)
        potential, start = norms.new_zeros(num_candidates, fits), 0
        for part, chunk in _iterate_scores(extended, points[candidates]):
            rest = nearest[:, start : start + len(chunk)]
            potential += torch.minimum(part, rest).sum(2, dtype=norms.dtype)
            start += len(chunk)
        chosen.append(candidates[rows, potential.argmin(0)])
        nearest = torch.minimum(nearest, score_points(chosen[-1]))
    return points[torch.stack(chosen, 1)]


def _iterate_scores(extended: Tensor, centres: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of (k, fits, rows) scores, |x - c|^2 - |x|^2, with the chunk's (rows, dim + 1) points.

    With the points' last column of ones, one product computes both terms. With k as the first axis, minima over it are
    element-wise.
    """
    fits, k, dim = centres.shape
    flat = centres.transpose(0, 1).reshape(k * fits, dim)
    weights = torch.cat([-2 * flat, flat.square().sum(1, keepdim=True)], 1)
    for rows in extended.split(max(32, CELLS // (k * fits))):
        yield (weights @ rows.T).view(k, fits, len(rows)), rows


def _move_centres(extended: Tensor, centres: Tensor) -> Tensor:
    """(fits, k, dim): mean of the points that are nearest to each centre."""
    fits, k, dim = centres.shape
    sums = extended.new_zeros(k * fits, dim + 1)
    for scores, rows in _iterate_scores(extended, centres):
        hits = scores.eq_(scores.amin(0))  # 1 at the nearest centre
        sums.addmm_(hits.view(k * fits, -1), rows)
    sums = sums.view(k, fits, dim + 1).transpose(0, 1)
    counts = sums[..., dim:]
    return torch.where(counts > 0, sums[..., :dim] / counts.clamp(min=1), centres)


def _assign(extended: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre of each point, and the sums of squared distances."""
    found = [scores.min(0) for scores, _ in _iterate_scores(extended, centres)]
    inertia = torch.cat([values for values, _ in found], 1).double().sum(1) + extended[:, :-1].double().square().sum()
    return torch.cat([indices for _, indices in found], 1), inertia
