r"""Hyperbolic space of curvature -c: translations, distances, geodesics, and the Poincaré ball.

Points are vectors in normal coordinates at the origin: y stands for the point at distance \|y\| from the origin in the
direction of y, so y is :math:`\log_0` of the point. This chart covers the whole space. The Poincaré ball does not in
practice: its points crowd at the boundary, and float32 ends at a distance of 17, which random points reach in 64
dimensions. `to_ball` and `from_ball` change charts.

All functions are finite in high dimensions, and for very short and very long vectors.
"""

__all__ = [
    "from_ball",
    "hyperbolic_distance",
    "hyperbolic_geodesic",
    "hyperbolic_translate",
    "log_sinhc",
    "to_ball",
]

from math import log

import torch
from torch import Tensor

from .sphere import normalize


def log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x) / x), for x >= 0."""
    small = x < 0.1
    square = torch.where(small, x, 0.0).square()
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))
    large = torch.where(small, 1.0, x)
    return torch.where(small, series, large + (-(-2 * large).expm1() / (2 * large)).log())


def hyperbolic_translate(point: Tensor, vector: Tensor, curvature: float) -> Tensor:
    r"""Möbius addition: the isometry that moves the origin to `point`, applied to `vector`.

    It is :math:`\exp_m` of the parallel transport of :math:`v` from the origin to the point :math:`m`. The length of
    the result is the distance between -point and vector.

    Values and gradients are finite for zeros, for opposite vectors, and for lengths of 1e6, where sinh would overflow:
    all terms are relative to exp(log_scale), about the size of the result in the hyperboloid. Rounding errors in the
    direction of an argument grow as exp(length).

    Args:
        point, vector: (..., d), broadcast.
        curvature: c > 0.

    Returns:
        (..., d).
    """
    m, v = curvature**0.5 * point, curvature**0.5 * vector
    a, b = (torch.linalg.vector_norm(t, dim=-1, keepdim=True) for t in (m, v))
    between = normalize(m) + normalize(v)
    p = between.square().sum(-1, keepdim=True) / 2  # 1 + cosine
    log_scale = torch.logaddexp((a - b).abs(), a + b + p.log()).detach()
    log_scale = torch.where(log_scale > 2, log_scale, 0.0)
    largest = torch.where(p > 0, 0.45 * log(torch.finfo(m.dtype).max), 40.0)  # gradients must fit into float32

    def scaled(exponent: Tensor) -> Tensor:
        return (exponent - log_scale).clamp(max=largest).exp()

    # cosh(a) - 1 = (a sinhc(a / 2))^2 / 2. Near the origin: the sum of two vectors that are smooth in m and v.
    half, sinhc_b = log_sinhc(a / 2), log_sinhc(b)
    cosh = (a / 2).logaddexp(-a / 2) + b.logaddexp(-b) - 2 * log(2)
    double = scaled(2 * half + sinhc_b) / 2
    near = scaled(sinhc_b) * v + (scaled(half + cosh) + double * (m * v).sum(-1, keepdim=True)) * m
    # Far from the origin: the same sum, in which opposite vectors cancel before they are multiplied.
    far = b * scaled(sinhc_b) * between
    far = far + ((a - b) * scaled(log_sinhc((a - b).abs())) + p * double * a.square() * b) * normalize(m)
    return _from_hyperboloid(torch.where(torch.minimum(a, b) > 1, far, near), log_scale) / curvature**0.5


def _from_hyperboloid(spatial: Tensor, log_scale: Tensor) -> Tensor:
    """Normal coordinates of the point on the unit hyperboloid with spatial part spatial * exp(log_scale)."""
    norm = torch.linalg.vector_norm(spatial, dim=-1, keepdim=True)
    positive = torch.where(norm > 0, norm, 1.0)
    large = log_scale + (positive + (positive.square() + (-2 * log_scale).exp()).sqrt()).log()
    length = torch.where(log_scale > 0, large, positive.asinh())
    return spatial * torch.where(norm > 0, length / positive, 1.0)


def hyperbolic_distance(x: Tensor, y: Tensor, curvature: float) -> Tensor:
    """(...) distances between points (..., d)."""
    return torch.linalg.vector_norm(hyperbolic_translate(-x, y, curvature), dim=-1)


def hyperbolic_geodesic(start: Tensor, end: Tensor, t: Tensor, curvature: float) -> Tensor:
    """Points on the geodesic from start to end.

    Args:
        start, end: (..., d).
        t: positions in [0, 1]. All tensors are broadcast.
        curvature: c > 0.
    """
    x, y = curvature**0.5 * start, curvature**0.5 * end
    a, b = (log_sinhc(torch.linalg.vector_norm(point, dim=-1, keepdim=True)) for point in (x, y))
    length = hyperbolic_distance(x, y, 1.0).unsqueeze(-1)
    from_x = a + log_sinhc((1 - t) * length) - log_sinhc(length)
    from_y = b + log_sinhc(t * length) - log_sinhc(length)
    log_scale = torch.maximum(from_x, from_y)
    log_scale = torch.where(log_scale > 2, log_scale, 0.0)
    spatial = (1 - t) * (from_x - log_scale).exp() * x + t * (from_y - log_scale).exp() * y
    return _from_hyperboloid(spatial, log_scale) / curvature**0.5


def to_ball(points: Tensor, curvature: float) -> Tensor:
    """Normal coordinates (..., d) to points of the Poincaré ball, whose radius is 1 / sqrt(curvature)."""
    half = curvature**0.5 / 2 * torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    return half.tanh() / curvature**0.5 * normalize(points)


def from_ball(points: Tensor, curvature: float) -> Tensor:
    """Points strictly inside the Poincaré ball, (..., d), to normal coordinates: the inverse of `to_ball`."""
    norm = curvature**0.5 * torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    return 2 * norm.atanh() / curvature**0.5 * normalize(points)
