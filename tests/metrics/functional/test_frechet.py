"""Frechet distance against closed forms, the published formula, and repeated draws."""

import pytest
import scipy.linalg
import torch
from builders import correlated_rows
from cases import generator

from gae_hub.metrics import Moments, frechet_distance, frechet_infinity
from gae_hub.metrics.functional.frechet import _distance_and_variance


def gaussian(mean, covariance, count=1000):
    return Moments.from_statistics(torch.as_tensor(mean), torch.as_tensor(covariance), count)


def test_covariances_that_commute():
    """The distance is |m|^2 + sum (s_i - t_i)^2 if both covariances have the same axes."""
    axes = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64)).Q
    s, t = torch.rand(2, 6, generator=generator(1), dtype=torch.float64) + 0.1
    mean = torch.arange(6.0, dtype=torch.float64)
    first, second = (axes @ torch.diag(std**2) @ axes.T for std in (s, t))
    expected = mean.square().sum() + (s - t).square().sum()
    assert frechet_distance(gaussian(0 * mean, first), gaussian(mean, second)) == pytest.approx(expected.item())


def published_formula(x, y):
    """The formula of pytorch-fid, with the square root of a matrix that is not symmetric."""
    (m1, c1), (m2, c2) = ((t.mean(0).numpy(), torch.cov(t.T).numpy()) for t in (x, y))
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return ((m1 - m2) ** 2).sum() + (c1 + c2 - 2 * root).trace()


def test_agrees_with_the_published_formula():
    x, y = correlated_rows(2000, 40), correlated_rows(1500, 40, seed=1)
    assert frechet_distance(Moments(x), Moments(y)) == pytest.approx(published_formula(x, y), rel=1e-9)


def test_fewer_samples_than_dimensions():
    """Rows in a subspace have the distance that they have without the other dimensions."""
    x, y = correlated_rows(30, 8), correlated_rows(50, 8, seed=1)
    basis = torch.linalg.qr(torch.randn(400, 8, generator=generator(), dtype=torch.float64)).Q
    inside, outside = (Moments(t @ basis.T) for t in (x, y))
    assert inside._folded is None and inside.factorize_low_rank() is not None  # no (dim, dim) matrix was allocated
    expected = frechet_distance(Moments(x), Moments(y))
    assert frechet_distance(inside, outside) == pytest.approx(expected, rel=1e-9)
    many = Moments(correlated_rows(3000, 8, seed=1) @ basis.T)  # more rows than dimensions, still of rank 8
    expected = frechet_distance(Moments(x), Moments(correlated_rows(3000, 8, seed=1)))
    assert frechet_distance(inside, many) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(many, inside) == pytest.approx(expected, rel=1e-9)


def test_singular_limit():
    """As the last axis shrinks, the distance approaches that of the singular Gaussians."""
    c = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    limits = []
    for small in (1e-4, 1e-8, 0.0):
        flat = torch.diag(torch.tensor([1.0, small], dtype=torch.float64))
        limits.append(frechet_distance(gaussian([0.0, 0.0], c), gaussian([0.0, 0.0], flat)))
    exact = 3 + 1 - 2 * 2**0.5  # tr (C diag(1, 0))^(1/2) = sqrt(C_11)
    assert limits[2] == pytest.approx(exact, rel=1e-12)
    assert abs(limits[0] - exact) > abs(limits[1] - exact) and limits[1] == pytest.approx(exact, abs=1e-3)


def test_equal_moments_and_constant_rows():
    x = correlated_rows(500, 20)
    assert frechet_distance(Moments(x), Moments(x)) == pytest.approx(0, abs=1e-9)
    zeros, ones = torch.zeros(5, 3), torch.ones(4, 3)
    assert frechet_distance(Moments(zeros), Moments(zeros)) == 0
    assert frechet_distance(Moments(zeros), Moments(ones)) == pytest.approx(3)  # only the means differ


def test_extrapolation_removes_the_bias_and_its_error_matches_repeated_draws():
    """Gaussians with known moments, 6 dimensions, 120 and 200 images. The linear part dominates the error."""
    factor, offset = torch.tensor([0.5, 0.8, 1.0, 1.2, 1.5, 2.0]).double(), 0.3
    exact = 6 * offset**2 + (factor - 1).square().sum().item()
    found, biased = [], []
    for seed in range(150):
        noise = torch.randn(320, 6, generator=generator(seed), dtype=torch.float64)
        x, y = noise[:120] * factor + offset, noise[120:]
        found.append(frechet_infinity(x, y))
        biased.append(frechet_distance(Moments(x), Moments(y)))
    values = torch.tensor([estimate.value for estimate in found])
    assert values.mean().item() == pytest.approx(exact, abs=3 * values.std().item() / 150**0.5)
    assert sum(biased) / 150 > exact + 0.1
    assert torch.tensor([estimate.error for estimate in found]).mean() == pytest.approx(values.std().item(), rel=0.15)


def test_derivative_of_singular_covariances():
    """Constant dimensions change neither value nor variance."""
    x, y = correlated_rows(100, 4), correlated_rows(150, 4, seed=2) + 0.2
    value, variance = _distance_and_variance(x, y)
    assert value == pytest.approx(frechet_distance(Moments(x), Moments(y)))
    thin = [torch.cat([rows, torch.zeros(len(rows), 2)], 1) for rows in (x, y)]
    assert _distance_and_variance(*thin) == pytest.approx((value, variance))
    rows = 40 * x[:3]  # 3 rows in 4 dimensions
    assert _distance_and_variance(rows, y)[0] == pytest.approx(frechet_distance(Moments(rows), Moments(y)))


def test_derivative_in_one_dimension():
    """d^2 = (m_1 - m_2)^2 + (s_1 - s_2)^2 has the derivative 2 (m_1 - m_2) x + (1 - s_2 / s_1) x^2."""
    x, y = correlated_rows(50, 1), 2 * correlated_rows(70, 1, seed=3) + 1
    offset, ratio = (x.mean() - y.mean()).item(), (y.std() / x.std()).item()
    a, b = x - x.mean(), y - y.mean()
    first = 2 * offset * a + (1 - ratio) * a.square()
    second = -2 * offset * b + (1 - 1 / ratio) * b.square()
    value, variance = _distance_and_variance(x, y)
    assert value == pytest.approx(offset**2 + (x.std() - y.std()).item() ** 2)
    assert variance == pytest.approx((first.var() / 50 + second.var() / 70).item())


def test_no_interval_with_few_rows_for_each_dimension():
    assert frechet_infinity(correlated_rows(40, 20), correlated_rows(50, 20, seed=1)).interval is not None
    assert frechet_infinity(correlated_rows(39, 20), correlated_rows(50, 20, seed=1)).interval is None


def test_invalid_input():
    with pytest.raises(ValueError, match="a covariance needs 2 or more images on each side, got 1"):
        frechet_distance(Moments(torch.zeros(1, 3)), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="got 0"):
        frechet_distance(Moments(), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="features of the same size, got 3 and 4 dimensions"):
        frechet_distance(Moments(torch.rand(5, 3)), Moments(torch.rand(5, 4)))
    with pytest.raises(ValueError, match="num_groups must be 2 or more, got 1"):
        frechet_infinity(torch.rand(30, 2), torch.rand(30, 2), num_groups=1)
    with pytest.raises(ValueError, match="needs 10 or more images on each side for 5 groups, got 9"):
        frechet_infinity(torch.rand(30, 2), torch.rand(9, 2))
    with pytest.raises(ValueError, match="features of the same size, got 2 and 3 dimensions"):
        frechet_infinity(torch.rand(30, 2), torch.rand(30, 3))
