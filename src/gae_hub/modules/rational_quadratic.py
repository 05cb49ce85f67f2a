"""Monotonic rational-quadratic splines (Durkan, Bekasov, Murray & Papamakarios, 2019), arXiv:1906.04032."""

__all__ = ["rational_quadratic"]

from math import e, log

import torch
import torch.nn.functional as F
from torch import Tensor


def rational_quadratic(
    x: Tensor, parameters: Tensor, bound: float = 5.0, inverse: bool = False, min_size: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """A monotonic rational-quadratic spline, or its inverse, at x, and the log of its derivative there.

    Args:
        x: (*batch,).
        parameters: (*batch, 3 K - 1): widths and heights of K bins before their softmax, and slopes at the K - 1 inner
            knots before their softplus. Zeros give the identity. The slope at both ends is 1.
        bound: the spline maps [-bound, bound] to itself, and is the identity outside.
        inverse: whether to apply the inverse.
        min_size: smallest width and height of a bin, as a share of the interval, and smallest slope.

    Returns:
        Values and log derivatives, (*batch,) each.
    """
    num_bins = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([num_bins, num_bins, num_bins - 1], -1)
    knots_x, knots_y = (_knots(sizes, num_bins, bound, min_size) for sizes in (widths, heights))
    slopes = F.pad(min_size + F.softplus(slopes + log(e ** (1 - min_size) - 1)), (1, 1), value=1.0)
    inside = (x > -bound) & (x < bound)
    within = torch.where(inside, x, 0.0)
    inner_knots = (knots_y if inverse else knots_x)[..., 1:-1]
    bins = torch.searchsorted(inner_knots.contiguous(), within.unsqueeze(-1).contiguous())

    def ends(values: Tensor) -> tuple[Tensor, Tensor]:
        """Values at the left and the right knot of each point's bin."""
        return values.gather(-1, bins).squeeze(-1), values.gather(-1, bins + 1).squeeze(-1)

    (left, right), (low, high), (slope_left, slope_right) = ends(knots_x), ends(knots_y), ends(slopes)
    width, height = right - left, high - low
    mean = height / width
    bend = slope_left + slope_right - 2 * mean
    if inverse:
        rise = within - low
        a = height * (mean - slope_left) + rise * bend
        b = height * slope_left - rise * bend
        c = -mean * rise
        t = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())  # equation 29
    else:
        t = (within - left) / width
    product = t * (1 - t)
    denominator = mean + bend * product
    slope = mean.square() * (slope_right * t.square() + 2 * mean * product + slope_left * (1 - t).square())
    slope = slope / denominator.square()
    if inverse:
        y, log_slope = t * width + left, -slope.log()
    else:
        y, log_slope = low + height * (mean * t.square() + slope_left * product) / denominator, slope.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def _knots(sizes: Tensor, num_bins: int, bound: float, min_size: float) -> Tensor:
    """(*batch, K + 1) knots from -bound to bound, for sizes (*batch, K) before their softmax."""
    ends = (min_size + (1 - num_bins * min_size) * sizes.softmax(-1)).cumsum(-1)[..., :-1]
    return F.pad(F.pad(2 * bound * ends - bound, (1, 0), value=-bound), (0, 1), value=bound)
