"""Frechet distance against closed forms, the published formula, and repeated draws."""

import pytest
import scipy.linalg
import torch
from builders import correlated_rows
from cases import generator

from gae_hub.metrics import Moments, frechet_distance, frechet_estimate, frechet_infinity


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


def test_standard_error_matches_repeated_draws():
    x, y = correlated_rows(400, 4), correlated_rows(600, 4, seed=2)
    first, second = Moments(x), Moments(y)

    def draw(seed, num, moments):
        _, mean, covariance = moments.compute_statistics()
        noise = torch.randn(num, 4, generator=generator(seed), dtype=torch.float64)
        return Moments(mean + noise @ torch.linalg.cholesky(covariance).T)

    draws = ((draw(seed, 400, first), draw(10_000 + seed, 600, second)) for seed in range(1500))
    values = torch.tensor([frechet_distance(*pair) for pair in draws])
    found = frechet_estimate(first, second)
    assert found.value == pytest.approx(frechet_distance(first, second))
    assert found.error == pytest.approx(values.std().item(), rel=0.08)
    thin = Moments(torch.cat([x, torch.zeros(400, 1)], 1)), Moments(torch.cat([y, torch.zeros(600, 1)], 1))
    assert frechet_estimate(*thin).error == pytest.approx(found.error)  # by singular values: rank below the dimension


def test_extrapolation_removes_the_bias():
    references = gaussian(torch.zeros(30), torch.eye(30), 10**6)
    x = torch.randn(1500, 30, generator=generator(3), dtype=torch.float64)
    biased = frechet_distance(Moments(x), references)
    assert abs(frechet_infinity(x, references, seed=1)) < 0.25 * biased
    with pytest.raises(ValueError, match="num_points must be 2 or more"):
        frechet_infinity(x, references, num_points=1)


def test_invalid_input():
    with pytest.raises(ValueError, match="a covariance needs 2 or more images on each side, got 1"):
        frechet_distance(Moments(torch.zeros(1, 3)), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="got 0"):
        frechet_distance(Moments(), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="features of the same size, got 3 and 4 dimensions"):
        frechet_distance(Moments(torch.rand(5, 3)), Moments(torch.rand(5, 4)))
