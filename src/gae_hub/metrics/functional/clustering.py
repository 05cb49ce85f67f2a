"""How well k-means on the embeddings finds the classes: many fits at once, in one batch of matrix products."""

__all__ = ["clustering", "clustering_accuracy", "kmeans"]

from math import log

import torch
from torch import Tensor

from ..estimate import Estimate, require_features

CELLS = 1 << 16  # distances in memory at a time: as many as fit into the cache of a core


def clustering_accuracy(latents: Tensor, labels: Tensor, num_fits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over k-means fits of the accuracy when each cluster stands for its prevalent class.

    This is the paper's clustering task (which takes 100 fits); there are as many clusters as classes.

    Args:
        latents: (num, latent_dim).
        labels: (num,) integers.
        num_fits: k-means fits, each from its own k-means++ start.
        seed: of all of them.
    """
    found = clustering(latents, labels, num_fits, seed)["clustering_accuracy"]
    return found.value, found.details["deviation_of_fits"]


def clustering(latents: Tensor, labels: Tensor, num_fits: int = 100, seed: int = 0) -> dict[str, Estimate]:
    """Agreement of k-means clusters with the classes, by four measures, means over the fits.

    `clustering_accuracy` lets each cluster stand for its prevalent class, as the paper does; `clustering_hungarian`
    gives each cluster a class of its own, as best it can; `clustering_nmi` is the mutual information over the mean of
    both entropies; `clustering_ari` the adjusted Rand index (Hubert & Arabie, 1985, doi:10.1007/BF01908075).

    Args:
        latents: (num, latent_dim), as many as classes at least.
        labels: (num,) integers, of two classes or more.
        num_fits: k-means fits, each from its own k-means++ start.
        seed: of all of them.
    """
    latents = latents.flatten(1)
    if len(latents) != len(labels):
        raise ValueError(f"there are {len(latents)} latents but {len(labels)} labels")
    classes = labels.to(latents.device).unique(return_inverse=True)[1]
    k = int(classes.max()) + 1 if len(classes) else 0
    if k < 2:
        raise ValueError(f"clustering needs labels of 2 or more classes, got {k}")
    clusters, _ = kmeans(latents, k, num_fits, seed)
    cells = (torch.arange(num_fits, device=latents.device).unsqueeze(1) * k + clusters) * k + classes
    counts = torch.bincount(cells.flatten(), minlength=num_fits * k * k).view(num_fits, k, k).double().cpu()
    values = {
        "clustering_accuracy": counts.amax(2).sum(1) / len(labels),
        "clustering_hungarian": _hungarian(counts),
        "clustering_nmi": _normalised_information(counts),
        "clustering_ari": _adjusted_rand(counts),
    }
    return {name: over_runs(value, "fits") for name, value in values.items()}


def over_runs(values: Tensor, what: str) -> Estimate:
    """Mean over independent runs on the same data, with their standard deviation (not corrected, as numpy's)."""
    details = {f"deviation_of_{what}": values.std(correction=0).item(), f"num_{what}": len(values)}
    if len(values) < 2:
        return Estimate(values.mean().item(), details=details)
    error = (values.std() / len(values) ** 0.5).item()
    return Estimate.normal(values.mean().item(), error, f"closed form: mean of independent {what}", **details)


@torch.no_grad()
def kmeans(
    points: Tensor, num_clusters: int, num_fits: int = 1, seed: int = 0, max_iter: int = 300, tol: float = 1e-4
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from greedy k-means++ starts, many fits side by side.

    A fit is done when its centres move, together, by less than tol times the mean variance of the dimensions, as in
    scikit-learn; it then leaves the batch. A cluster that loses all of its points keeps its centre.

    Args:
        points: (num, dim).
        num_clusters: k, at most num.
        num_fits: fits.
        seed: of the starts.

    Returns:
        (num_fits, num) clusters, and (num_fits,) sums of squared distances to their centres.
    """
    require_features("k-means", points, max(1, num_clusters), "points (as many as clusters)")
    if num_clusters < 1 or num_fits < 1:
        raise ValueError(f"num_clusters and num_fits must be 1 or more, got {num_clusters} and {num_fits}")
    points = points.detach() - points.detach().double().mean(0).to(points.dtype)
    points = points if points.dtype == torch.float64 else points.float()
    generator = torch.Generator().manual_seed(seed)
    least = tol * points.double().var(0, correction=0).mean().item()
    fits = max(1, min(num_fits, 20_000_000 // len(points)))  # a bound on the memory of the starts
    sizes = [min(fits, num_fits - start) for start in range(0, num_fits, fits)]
    extended = torch.cat([points, points.new_ones(len(points), 1)], 1)
    centres = torch.cat([_starts(extended, num_clusters, size, generator) for size in sizes])
    active = torch.arange(num_fits, device=points.device)
    for _ in range(max_iter):
        moved = _step(extended, centres[active])
        shift = (moved - centres[active]).square().sum((1, 2))
        centres[active] = moved
        active = active[shift > least]
        if not len(active):
            break
    return _assign(extended, centres)


def _starts(extended: Tensor, k: int, fits: int, generator: torch.Generator) -> Tensor:
    """(fits, k, dim): greedy k-means++ (Arthur & Vassilvitskii, 2007): each new centre is the best of a few that are
    drawn by their squared distance to the nearest centre so far."""
    num, trials = len(extended), 2 + int(log(k))
    points = extended[:, :-1]
    norms = points.double().square().sum(1)
    rows = torch.arange(fits, device=points.device)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(points.device)

    def scores(chosen: Tensor) -> Tensor:
        """(fits, num): those of one centre for each fit."""
        return torch.cat([part[0] for part, _ in _scores(extended, points[chosen].unsqueeze(1))], 1)

    chosen = [(rand(fits) * num).long().clamp(max=num - 1)]
    nearest = scores(chosen[0])
    for _ in range(k - 1):
        mass = (nearest + norms).clamp_(min=0).cumsum_(1)
        candidates = torch.searchsorted(mass, rand(fits, trials) * mass[:, -1:]).clamp_(max=num - 1)
        potential, start = 0.0, 0
        for part, chunk in _scores(extended, points[candidates]):
            potential = potential + torch.minimum(part, nearest[:, start : start + len(chunk)]).sum(
                2, dtype=norms.dtype
            )
            start += len(chunk)
        chosen.append(candidates[rows, potential.argmin(0)])
        nearest = torch.minimum(nearest, scores(chosen[-1]))
    return points[torch.stack(chosen, 1)]


def _scores(extended: Tensor, centres: Tensor):
    """Chunks of (k, fits, rows) squared distances less |x|^2, each with its rows, (rows, dim + 1).

    A last column of ones lets one product give both terms; with k in front, minima over it are element-wise.
    """
    fits, k, dim = centres.shape
    flat = centres.transpose(0, 1).reshape(k * fits, dim)
    weights = torch.cat([-2 * flat, flat.square().sum(1, keepdim=True)], 1)
    for rows in extended.split(max(32, CELLS // (k * fits))):
        yield (weights @ rows.T).view(k, fits, len(rows)), rows


def _step(extended: Tensor, centres: Tensor) -> Tensor:
    """The means of the points nearest to each centre, (fits, k, dim)."""
    fits, k, dim = centres.shape
    sums = extended.new_zeros(k * fits, dim + 1)
    for scores, rows in _scores(extended, centres):
        hits = scores.eq_(scores.amin(0))  # 1 at the nearest centre
        sums.addmm_(hits.view(k * fits, -1), rows)
    sums = sums.view(k, fits, dim + 1).transpose(0, 1)
    counts = sums[..., dim:]
    return torch.where(counts > 0, sums[..., :dim] / counts.clamp(min=1), centres)


def _assign(extended: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    found = [scores.min(0) for scores, _ in _scores(extended, centres)]
    inertia = torch.cat([values for values, _ in found], 1).double().sum(1) + extended[:, :-1].double().square().sum()
    return torch.cat([indices for _, indices in found], 1), inertia


def _hungarian(counts: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    matched = [table[linear_sum_assignment(table.numpy(), maximize=True)].sum() for table in counts]
    return torch.stack(matched) / counts[0].sum()


def _normalised_information(counts: Tensor) -> Tensor:
    joint = counts / counts.sum((1, 2), keepdim=True)
    of_clusters, of_classes = _entropy(joint.sum(2)), _entropy(joint.sum(1))
    information = of_clusters + of_classes - _entropy(joint.flatten(1))
    return information / (0.5 * (of_clusters + of_classes))


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)


def _adjusted_rand(counts: Tensor) -> Tensor:
    def pairs(n: Tensor) -> Tensor:
        return n * (n - 1) / 2

    both = pairs(counts).sum((1, 2))
    of_clusters, of_classes = pairs(counts.sum(2)).sum(1), pairs(counts.sum(1)).sum(1)
    expected = of_clusters * of_classes / pairs(counts.sum((1, 2)))
    return (both - expected) / (0.5 * (of_clusters + of_classes) - expected)
