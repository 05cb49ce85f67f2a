r"""What latents on curved spaces need: von Mises-Fisher constants, exact draws of a radius or angle, and the sphere's
and the hyperbolic space's geodesics. All of it is finite in high dimensions, and at tiny and huge scales.

Points of the hyperbolic space of curvature -c are vectors in normal coordinates at the origin: y stands for the point
at distance \|y\| from the origin in the direction of y, which is :math:`\log_0` of it. This chart covers the whole
space and has no boundary at which points are crushed together, as those of the Poincare ball are: in float32 it ends
at a distance of 17, where random points lie in 64 dimensions. `to_ball` and `from_ball` change charts.
"""

__all__ = [
    "from_ball",
    "great_circle",
    "hyperbolic_distance",
    "hyperbolic_geodesic",
    "log_integral",
    "log_sinhc",
    "log_sphere_area",
    "sample_by_cdf",
    "support",
    "to_ball",
    "translate",
    "unit",
    "vmf_moments",
]

from collections.abc import Callable
from fractions import Fraction
from math import ceil, lgamma, log, pi

import torch
from torch import Tensor


def unit(vector: Tensor) -> Tensor:
    """The direction of (..., d) vectors; that of the first axis for a vector of zeros."""
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    axis = (torch.arange(vector.shape[-1], device=vector.device) == 0).to(vector.dtype)
    return torch.where(norm > 0, vector / torch.where(norm > 0, norm, 1.0), axis)


# The sphere


def log_sphere_area(dim: int) -> float:
    """Log of the area of the unit sphere in dim dimensions."""
    return log(2) + dim / 2 * log(pi) - lgamma(dim / 2)


def _debye_polynomials(num: int) -> list[list[tuple[int, float]]]:
    """u_0 to u_num of DLMF 10.41.9, as (exponent, coefficient) pairs."""
    polynomials = [{0: Fraction(1)}]
    for _ in range(num):
        following: dict[int, Fraction] = {}
        for j, c in polynomials[-1].items():
            following[j + 1] = following.get(j + 1, 0) + c * (Fraction(j, 2) + Fraction(1, 8 * (j + 1)))
            following[j + 3] = following.get(j + 3, 0) - c * (Fraction(j, 2) + Fraction(5, 8 * (j + 3)))
        polynomials.append(following)
    return [[(j, float(c)) for j, c in sorted(polynomial.items())] for polynomial in polynomials]


_DEBYE = _debye_polynomials(10)


def vmf_moments(dim: int, concentration: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log normaliser and mean of the von Mises-Fisher density, exp(k cos) / Z on the sphere in dim dimensions.

    They are Bessel functions of order dim / 2 - 1. Debye's uniform expansion gives them at an order of at least 20,
    and the recurrence that is stable downwards, at a fixed number of steps, from there. In float64, for
    concentrations of 1e-8 to 1e8, their relative error is below 1e-11 (that of a small L is 1e-14, absolute).

    Returns:
        L, A and 1 - A, each shaped as the concentration k. L is the log of the mean of exp(k (cos - 1)) over the
        sphere, so that the log density is k (cos - 1) - L - log_sphere_area(dim), and A is the mean of the cosine,
        I_{dim/2}(k) / I_{dim/2-1}(k). Nothing cancels in 1 - A at a high, nor in A at a low concentration. Their
        first derivatives are A - 1 and 1 - A^2 - (dim - 1) A / k, so that no gradient goes through the series. In
        float32, where there is no float64, that of A loses a digit with each power of ten of the concentration.
    """
    with torch.no_grad():
        mean_log, mean, rest = _vmf_moments(dim, concentration)
        variance = rest * (1 + mean) - (dim - 1) * mean / concentration
    change = concentration - concentration.detach()  # 0, with the gradient 1
    return mean_log - rest * change, mean + variance * change, rest - variance * change


def _vmf_moments(dim: int, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    order = dim / 2 - 1
    steps = max(0, ceil(20 - order))
    n = order + steps
    coefficients = [0.0] * (3 * len(_DEBYE) - 2)
    for power, polynomial in enumerate(_DEBYE):
        for j, c in polynomial:
            coefficients[j] += c / n**power
    coefficients = torch.tensor(coefficients, device=k.device, dtype=k.dtype) / sum(coefficients)
    powers = torch.arange(len(coefficients), device=k.device, dtype=k.dtype)
    s = (n**2 + k.square()).sqrt()
    t = n / s
    terms = coefficients * t.unsqueeze(-1).pow(powers)
    series, slope = terms.sum(-1), (terms * powers).sum(-1)  # the slope by log t
    excess = k.square() / (s + n)  # s - n
    mean_log = n**2 / (s + k) - n - n * (excess / (2 * n)).log1p() - 0.5 * (excess / n).log1p() + series.log()
    correction = k / s.square() * (0.5 + slope / series)
    mean = k / (s + n) - correction
    rest = (n + n**2 / (s + k)) / (s + n) + correction
    for step in range(steps):
        half = k / (2 * (n - step))
        ratio = 1 + half * mean
        mean_log = mean_log + ratio.log()
        mean, rest = half / ratio, (1 - half * rest) / ratio
    return mean_log, mean, rest


def great_circle(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Points at t in [0, 1] on the shorter great circle between unit vectors, all broadcast over (..., d).

    Between opposite points, where there are many, it takes one of them.
    """
    opposite = (start * end).sum(-1, keepdim=True) < 0
    chord, sum_ = torch.linalg.vector_norm(end - start, dim=-1), torch.linalg.vector_norm(end + start, dim=-1)
    angle = 2 * torch.atan2(chord, sum_).unsqueeze(-1)
    spare = torch.nn.functional.one_hot(start.abs().argmin(-1), start.shape[-1]).to(start.dtype)

    def orthogonal(vector):
        return vector - (vector * start).sum(-1, keepdim=True) * start

    tangent = orthogonal(torch.where(opposite, end + start, end - start))
    tangent = torch.where((tangent != 0).any(-1, keepdim=True), tangent, orthogonal(spare))
    return (t * angle).cos() * start + (t * angle).sin() * unit(orthogonal(unit(tangent)))


# Draws of one number


def support(log_density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, cells: int = 256):
    """The part of [low, high], each (batch, 1), where a density with one peak is within 40 nats of its top.

    The density outside is e^-40 of its top: nothing in float64. `log_density` maps (batch, n) to (batch, n).
    """
    with torch.no_grad():
        step = (high - low) / cells
        x = low + step * torch.arange(cells + 1, device=low.device, dtype=low.dtype)
        values = log_density(x)
        within = values > values.amax(1, keepdim=True) - 40
        first = torch.where(within, x, torch.inf).amin(1, keepdim=True)
        last = torch.where(within, x, -torch.inf).amax(1, keepdim=True)
        return torch.maximum(first - step, low), torch.minimum(last + step, high)


def log_integral(log_density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, nodes: int = 64) -> Tensor:
    """(batch, n) logs of the integral of a density from low to high, each (batch, n), by Fejer's quadrature.

    Its nodes and weights are made where they are used, and its error is below 1e-12 on a `support`.
    """
    angle = (torch.arange(nodes, device=low.device, dtype=low.dtype) + 0.5) * (pi / nodes)
    j = torch.arange(1, nodes // 2 + 1, device=low.device, dtype=low.dtype)
    weights = (1 - 2 * ((2 * j * angle.unsqueeze(-1)).cos() / (4 * j.square() - 1)).sum(-1)) / nodes
    width = (high - low).unsqueeze(-1)
    x = low.unsqueeze(-1) + width * (angle / 2).sin().square()
    values = log_density(x.flatten(1)).unflatten(1, x.shape[1:])
    return (values + (width * weights).log()).logsumexp(-1)


def sample_by_cdf(
    log_density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, uniform: Tensor, cells: int = 256
) -> Tensor:
    r"""Draws t of a density on [low, high] by its inverted distribution function F, with pathwise gradients.

    F is integrated by Simpson's rule on a grid of cells for each element of the batch, and inverted within a cell by
    its parabola: its error is below 1e-5. No draw is rejected, so the gradient :math:`-\partial F / F'` by the
    density's parameters (Figurnov, Mohamed & Mnih, 2018, arXiv:1805.08498) is whole; it comes from quadratures with an
    error below 1e-9.

    Args:
        log_density: (batch, n) points to (batch, n) values, up to a constant; has one peak. Its parameters get the
            gradients.
        low, high: (batch, 1), no more than some tens of standard deviations apart.
        uniform: (batch, *draws) uniform noise.
    """
    low, high = support(log_density, low, high)
    with torch.no_grad():
        t = _invert(log_density, low, high, uniform.reshape(len(uniform), -1), cells)
    if torch.is_grad_enabled():
        below, above = log_integral(log_density, low.expand_as(t), t), log_integral(log_density, t, high.expand_as(t))
        logit = below - above  # of F(t), so that dt = -dlogit F (1 - F) / F'
        slope = (below + above - torch.logaddexp(below, above) - log_density(t)).exp()
        t = t - slope.detach() * (logit - logit.detach())
    return t.view(uniform.shape)


def _invert(log_density, low: Tensor, high: Tensor, uniform: Tensor, cells: int) -> Tensor:
    grid = torch.arange(2 * cells + 1, device=low.device, dtype=low.dtype) / (2 * cells)
    values = log_density(low + (high - low) * grid)
    density = (values - values.amax(1, keepdim=True)).exp()
    left, middle, right = density[:, :-1:2], density[:, 1::2], density[:, 2::2]
    masses = (left + 4 * middle + right) / 6
    total = masses.cumsum(1)
    eps = torch.finfo(low.dtype).eps
    u = uniform.clamp(eps, 1 - eps) * total[:, -1:]
    cell = torch.searchsorted(total, u).clamp(max=cells - 1)
    left, middle, right, mass, total = (part.gather(1, cell) for part in (left, middle, right, masses, total))
    target = u - (total - mass)
    # a trapezium's root, then Newton's method on the integral of the parabola through left, middle and right
    area = target / mass * (left + right) / 2
    x = 2 * area / (left + (left.square() + 2 * (right - left) * area).clamp(min=0).sqrt())
    linear, square = 4 * middle - 3 * left - right, 2 * (left - 2 * middle + right)
    for _ in range(3):
        error = x * (left + x * (linear / 2 + x * square / 3)) - target
        x = (x - error / (left + x * (linear + x * square)).clamp(min=eps * mass)).clamp(0, 1)
    return low + (high - low) * (cell + x) / cells


# The hyperbolic space


def log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x) / x), for x >= 0."""
    small = x < 0.1
    square = torch.where(small, x, 0.0).square()
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))
    large = torch.where(small, 1.0, x)
    return torch.where(small, series, large + (-(-2 * large).expm1() / (2 * large)).log())


def translate(point: Tensor, vector: Tensor, curvature: float) -> Tensor:
    r"""Möbius addition: the isometry that takes the origin to point, applied to vector; both broadcast to (..., d).

    It is :math:`\exp_m` of the parallel transport of :math:`v` from the origin to the point :math:`m`. The length of
    the result is the distance between -point and vector. Values and gradients are finite for zeros, for opposite
    vectors and for lengths of 1e6, where sinh would overflow: everything is kept relative to exp(log_scale), about the
    size of the result in the hyperboloid. Angles are as exact as those of the arguments, no more: a rounding error
    grows as exp(length).
    """
    m, v = curvature**0.5 * point, curvature**0.5 * vector
    a, b = (torch.linalg.vector_norm(t, dim=-1, keepdim=True) for t in (m, v))
    between = unit(m) + unit(v)
    p = between.square().sum(-1, keepdim=True) / 2  # 1 + cosine
    log_scale = torch.logaddexp((a - b).abs(), a + b + p.log()).detach()
    log_scale = torch.where(log_scale > 2, log_scale, 0.0)
    largest = torch.where(p > 0, 0.45 * log(torch.finfo(m.dtype).max), 40.0)  # for gradients that float32 can hold

    def scaled(exponent):
        return (exponent - log_scale).clamp(max=largest).exp()

    # cosh(a) - 1 = (a sinhc(a / 2))^2 / 2. Near the origin, the sum of two vectors that are smooth in m and v ...
    half, sinhc_b = log_sinhc(a / 2), log_sinhc(b)
    cosh = (a / 2).logaddexp(-a / 2) + b.logaddexp(-b) - 2 * log(2)
    double = scaled(2 * half + sinhc_b) / 2
    near = scaled(sinhc_b) * v + (scaled(half + cosh) + double * (m * v).sum(-1, keepdim=True)) * m
    # ... and far from it the same, where opposite vectors cancel before they are multiplied
    far = b * scaled(sinhc_b) * between
    far = far + ((a - b) * scaled(log_sinhc((a - b).abs())) + p * double * a.square() * b) * unit(m)
    return _from_hyperboloid(torch.where(torch.minimum(a, b) > 1, far, near), log_scale) / curvature**0.5


def _from_hyperboloid(spatial: Tensor, log_scale: Tensor) -> Tensor:
    """Normal coordinates of a point on the unit hyperboloid, whose spatial part is spatial * exp(log_scale)."""
    norm = torch.linalg.vector_norm(spatial, dim=-1, keepdim=True)
    positive = torch.where(norm > 0, norm, 1.0)
    large = log_scale + (positive + (positive.square() + (-2 * log_scale).exp()).sqrt()).log()
    length = torch.where(log_scale > 0, large, positive.asinh())
    return spatial * torch.where(norm > 0, length / positive, 1.0)


def hyperbolic_distance(x: Tensor, y: Tensor, curvature: float) -> Tensor:
    """(...) distances between points (..., d)."""
    return torch.linalg.vector_norm(translate(-x, y, curvature), dim=-1)


def hyperbolic_geodesic(start: Tensor, end: Tensor, t: Tensor, curvature: float) -> Tensor:
    """Points at t in [0, 1] on the geodesic from start to end, all broadcast over (..., d)."""
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
    """Normal coordinates (..., d) to the Poincare ball, whose radius is 1 / sqrt(curvature)."""
    half = curvature**0.5 / 2 * torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    return half.tanh() / curvature**0.5 * unit(points)


def from_ball(points: Tensor, curvature: float) -> Tensor:
    """The inverse of `to_ball`, for points inside of the ball."""
    norm = curvature**0.5 * torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    return 2 * norm.atanh() / curvature**0.5 * unit(points)
