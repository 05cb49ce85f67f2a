r"""The projected normal distribution: directions x / ||x|| of Gaussian vectors x.

Source: Directional Statistics (Mardia & Jupp, 2000), section 9.3.3.

.. math::
    p(u) = \int_0^\infty r^{d-1} N(r u; \mu, I) \, dr
    = (2 \pi)^{-d/2} \|u\|^{-d} e^{-\|\mu\|^2 / 2} \, I_d(u \cdot \mu / \|u\|), \quad
    I_d(b) = \int_0^\infty s^{d-1} e^{-s^2 / 2 + b s} \, ds
"""

__all__ = ["log_radial_integral", "projected_normal_log_prob"]

from math import log, pi

import torch
from torch import Tensor

from .precision import full_precision, to_float64

_STEP = 0.5  # of the trapezoidal rule, in standard deviations of the integrand
_NODES = [_STEP * index for index in range(-64, 17)]  # the integrand falls slowly to the left, at least as exp(node)


def log_radial_integral(dim: int, slope: Tensor) -> Tensor:
    """Log of the integral of s^(dim - 1) exp(-s^2 / 2 + slope s) over s > 0.

    The trapezoidal rule in log s, about the integrand's maximum and in units of its width there, converges
    exponentially. In float64, errors are below 2e-6 in one dimension, 4e-8 in two, and 5e-9 in three or more.

    Args:
        dim: number of dimensions, at least 1.
        slope: of any shape.
    """
    root = (slope.square() + 4 * dim).sqrt()
    peak = torch.where(slope > 0, (slope + root) / 2, 2 * dim / (root - slope))
    width = (peak.square() + dim).rsqrt()  # of the peak, in log s
    total = torch.zeros_like(slope)
    for node in _NODES:
        change = width * node
        growth = change.expm1()  # s / peak - 1
        total += (dim * (change - growth) - (peak * growth).square() / 2).exp_()
    return dim * peak.log() + peak * (slope - peak / 2) + (_STEP * width * total).log()


def projected_normal_log_prob(directions: Tensor, means: Tensor) -> Tensor:
    """(num, k): log of the integral of r^(d - 1) N(r u; mu, I) over r > 0, in float64.

    For u of length 1, this is the log density of the directions of N(mu, I), per area of the unit sphere. For a
    covariance L L^T, multiply u and mu by the inverse of L, and subtract log det L.

    Args:
        directions: u, (num, d), of any length above 0.
        means: mu, (k, d).
    """
    directions, means = to_float64(directions), to_float64(means)
    d = directions.shape[1]
    length = torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    with full_precision(directions):
        slope = directions / length @ means.T
    constant = -d * (0.5 * log(2 * pi) + length.log())
    return constant - means.square().sum(1) / 2 + log_radial_integral(d, slope)
