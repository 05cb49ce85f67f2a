"""Integrals over a plane of functions that jump along curves, for the tests of steps that may be rejected."""

import numpy as np
import torch

# Kronrod's 15 nodes and weights, and Gauss's 7 weights for every second node (QUADPACK): the negative half, and 0
_NODES = [-0.991455371120813, -0.949107912342759, -0.864864423359769, -0.741531185599394]
_NODES += [-0.586087235467691, -0.405845151377397, -0.207784955007898]
_KRONROD = [0.022935322010529, 0.063092092629979, 0.104790010322250, 0.140653259715525]
_KRONROD += [0.169004726639267, 0.190350578064785, 0.204432940075298]
_GAUSS = [0.0, 0.129484966168870, 0.0, 0.279705391489277, 0.0, 0.381830050505119, 0.0]
NODES = torch.tensor([*_NODES, 0.0, *(-node for node in reversed(_NODES))], dtype=torch.float64)
KRONROD = torch.tensor([*_KRONROD, 0.209482141084728, *reversed(_KRONROD)], dtype=torch.float64)
GAUSS = torch.tensor([*_GAUSS, 0.417959183673469, *reversed(_GAUSS)], dtype=torch.float64)


def integrate_adaptively(function, low, high, tolerance, num_panels=24, max_levels=18):
    """Integral of a function of points (num,) by Gauss-Kronrod rules; panels with a larger error are halved."""
    edges = torch.linspace(low, high, num_panels + 1, dtype=torch.float64)
    left, right, total = edges[:-1], edges[1:], 0.0
    for _ in range(max_levels):
        half = (right - left) / 2
        points = (left + half).unsqueeze(1) + half.unsqueeze(1) * NODES
        values = function(points.flatten()).view(points.shape)
        integrals = values @ KRONROD * half
        large = (integrals - values @ GAUSS * half).abs() > tolerance
        total += integrals[~large].sum().item()
        if not large.any():
            return total
        left, middle, right = left[large], (left + half)[large], right[large]
        left, right = torch.cat([left, middle]), torch.cat([middle, right])
    return total + integrals[large].sum().item()


def integrate_lines(function, label, rows, low, high, num_cells=40, num_parts=16):
    """Integrals over y of function(x, y), which jumps where label(x, y) changes, for each x in `rows`, (num,).

    Cells near a change are divided, and cut at the change, which is found by bisection.
    """
    grid = torch.linspace(low, high, num_cells + 1, dtype=torch.float64)
    labels = label(rows.repeat_interleave(len(grid)), grid.repeat(len(rows))).view(len(rows), -1)
    changes = labels[:, 1:] != labels[:, :-1]
    near = changes.clone()
    near[:, 1:] |= changes[:, :-1]
    near[:, :-1] |= changes[:, 1:]
    plain, plain_cell = (~near).nonzero(as_tuple=True)
    row, cell = near.nonzero(as_tuple=True)
    width = (high - low) / num_cells / num_parts
    row = row.repeat_interleave(num_parts)
    left = (grid[cell].unsqueeze(1) + width * torch.arange(num_parts)).flatten()
    right = left + width
    before = label(rows[row], left)
    cut = before != label(rows[row], right)
    start, end = left[cut], right[cut]
    for _ in range(45):
        middle = (start + end) / 2
        same = label(rows[row[cut]], middle) == before[cut]
        start, end = torch.where(same, middle, start), torch.where(same, end, middle)
    pieces = [
        (plain, grid[plain_cell], grid[plain_cell + 1]),
        (row[~cut], left[~cut], right[~cut]),
        (row[cut], left[cut], start),
        (row[cut], start, right[cut]),
    ]
    row, left, right = (torch.cat(part) for part in zip(*pieces, strict=True))
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(6))
    half = (right - left) / 2
    y = (left + half).unsqueeze(1) + half.unsqueeze(1) * nodes
    values = function(rows[row].repeat_interleave(len(nodes)), y.flatten()).view(y.shape)
    return torch.zeros_like(rows).index_add_(0, row, values @ weights * half)
