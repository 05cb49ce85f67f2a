"""Frechet distance, its moments, and the network that it is defined by."""

import pytest
import scipy.linalg
import torch
from builders import ORACLE, recipe
from cases import generator

from gae_hub.metrics.functional.frechet import frechet_distance, frechet_estimate, frechet_infinity
from gae_hub.metrics.functional.moments import Moments
from gae_hub.metrics.networks.inception import InceptionV3, preprocess


def rows(num, dim, seed=0, scale=1.0):
    mix = torch.randn(dim, dim, generator=generator(seed + 100), dtype=torch.float64)
    return scale * torch.randn(num, dim, generator=generator(seed), dtype=torch.float64) @ mix + seed


def gaussian(mean, covariance, count=1000):
    return Moments.from_statistics(torch.as_tensor(mean), torch.as_tensor(covariance), count)


# Moments


def test_moments_are_mean_and_covariance():
    x = rows(3000, 7)
    count, mean, covariance = Moments(x).totals()
    assert count == 3000
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(covariance, torch.cov(x.T))


def test_batch_size_changes_no_bit_and_order_no_digit():
    x = rows(3000, 7)
    _, mean, covariance = Moments(x).totals()
    for size in (1, 7, 1024, 1025, 2999):
        moments = Moments()
        for batch in x.split(size):
            moments.add(batch)
        assert torch.equal(moments.totals()[1], mean) and torch.equal(moments.totals()[2], covariance)
    shuffled = Moments(x[torch.randperm(3000, generator=generator())])
    torch.testing.assert_close(shuffled.totals()[2], covariance, rtol=1e-12, atol=1e-12)


def test_parts_give_what_the_whole_gives():
    x = 1e3 + rows(5000, 5)  # far from 0, where sums of squares would lose digits
    whole = Moments(x)
    for sizes in ([4000, 1000], [10, 4990], [1024, 1024, 2952], [5000, 0]):
        merged = Moments()
        for part in x.split(sizes):
            merged.merge(Moments(part))
        assert merged.count == 5000
        torch.testing.assert_close(merged.totals()[2], whole.totals()[2], rtol=1e-12, atol=1e-12)
    again = Moments.from_state_dict(whole.state_dict())
    assert torch.equal(again.totals()[2], whole.totals()[2])


def test_rows_follow_moments_that_somebody_else_has_computed():
    x = rows(5000, 5)
    whole = Moments(x)
    _, mean, covariance = Moments(x[:2000]).totals()
    for given in (covariance, covariance.T, covariance.numpy()):
        found = Moments.from_statistics(mean, given, 2000).add(x[2000:])
        torch.testing.assert_close(found.totals()[2], whole.totals()[2], rtol=1e-12, atol=1e-12)
    assert torch.equal(found.totals()[2], found.totals()[2].T)


def test_reading_does_not_disturb_what_comes_after():
    x = rows(2500, 3)
    moments = Moments(x[:1500])
    moments.totals()
    state = moments.state_dict()
    for _ in range(2):  # the state is not used up
        again = Moments.from_state_dict(state).add(x[1500:])
        assert torch.equal(again.totals()[2], Moments(x).totals()[2])
    assert torch.equal(moments.add(x[1500:]).totals()[2], Moments(x).totals()[2])


def test_moments_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match=r"rows must be \(num, 3\), got shape \(2, 4\)"):
        Moments(torch.zeros(2, 3)).add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="nan or infinite"):
        Moments(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="a covariance needs 2 or more images on each side, got 1"):
        frechet_distance(Moments(torch.zeros(1, 3)), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="got 0"):
        frechet_distance(Moments(), Moments(torch.zeros(5, 3)))
    with pytest.raises(ValueError, match="features of 3 and 4 dimensions"):
        frechet_distance(Moments(torch.rand(5, 3)), Moments(torch.rand(5, 4)))
    with pytest.raises(ValueError, match=r"covariance \(dim, dim\)"):
        gaussian([0.0, 0.0], [[1.0]])


# The distance


def test_distance_of_gaussians_that_commute():
    """|m|^2 + sum (s_i - t_i)^2 where both covariances have the same axes."""
    axes = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64)).Q
    s, t = torch.rand(2, 6, generator=generator(1), dtype=torch.float64) + 0.1
    mean = torch.arange(6.0, dtype=torch.float64)
    first, second = (axes @ torch.diag(std**2) @ axes.T for std in (s, t))
    expected = mean.square().sum() + (s - t).square().sum()
    assert frechet_distance(gaussian(0 * mean, first), gaussian(mean, second)) == pytest.approx(expected.item())


def published_formula(x, y):
    """What pytorch-fid computes, by the square root of a matrix that is not symmetric."""
    (m1, c1), (m2, c2) = ((t.mean(0).numpy(), torch.cov(t.T).numpy()) for t in (x, y))
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return ((m1 - m2) ** 2).sum() + (c1 + c2 - 2 * root).trace()


def test_agreement_with_the_published_formula():
    x, y = rows(2000, 40), rows(1500, 40, seed=1)
    assert frechet_distance(Moments(x), Moments(y)) == pytest.approx(published_formula(x, y), rel=1e-9)


def test_fewer_samples_than_dimensions():
    """Rows in a plane of a larger space have the distance that they have in it; no (dim, dim) matrix is made."""
    x, y = rows(30, 8), rows(50, 8, seed=1)
    basis = torch.linalg.qr(torch.randn(400, 8, generator=generator(), dtype=torch.float64)).Q
    inside, outside = (Moments(t @ basis.T) for t in (x, y))
    assert inside.scatter is None and inside.low_rank() is not None
    expected = frechet_distance(Moments(x), Moments(y))
    assert frechet_distance(inside, outside) == pytest.approx(expected, rel=1e-9)
    many = Moments(rows(3000, 8, seed=1) @ basis.T)  # more rows than dimensions, and of rank 8 all the same
    expected = frechet_distance(Moments(x), Moments(rows(3000, 8, seed=1)))
    assert frechet_distance(inside, many) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(many, inside) == pytest.approx(expected, rel=1e-9)


def test_singular_limit():
    """As the last axis shrinks, the distance tends to that of the singular Gaussians."""
    c = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    limits = []
    for small in (1e-4, 1e-8, 0.0):
        flat = torch.diag(torch.tensor([1.0, small], dtype=torch.float64))
        limits.append(frechet_distance(gaussian([0.0, 0.0], c), gaussian([0.0, 0.0], flat)))
    exact = 3 + 1 - 2 * 2**0.5  # tr (C diag(1, 0))^(1/2) = sqrt(C_11)
    assert limits[2] == pytest.approx(exact, rel=1e-12)
    assert abs(limits[0] - exact) > abs(limits[1] - exact) and limits[1] == pytest.approx(exact, abs=1e-3)


def test_equal_and_identical_images():
    x = rows(500, 20)
    assert frechet_distance(Moments(x), Moments(x)) == pytest.approx(0, abs=1e-9)
    one, other = torch.zeros(5, 3), torch.ones(4, 3)
    assert frechet_distance(Moments(one), Moments(one)) == 0
    assert frechet_distance(Moments(one), Moments(other)) == pytest.approx(3)  # only the means differ


def test_the_standard_error_is_that_of_repeated_draws():
    x, y = rows(400, 4), rows(600, 4, seed=2)
    first, second = Moments(x), Moments(y)
    left, right = (torch.linalg.cholesky(m.totals()[2]) for m in (first, second))

    def draw(seed, num, mean, factor):
        return Moments(mean + torch.randn(num, 4, generator=generator(seed), dtype=torch.float64) @ factor.T)

    values = torch.tensor(
        [
            frechet_distance(
                draw(seed, 400, first.totals()[1], left), draw(10_000 + seed, 600, second.totals()[1], right)
            )
            for seed in range(1500)
        ]
    )
    found = frechet_estimate(first, second)
    assert found.value == pytest.approx(frechet_distance(first, second))
    assert found.error == pytest.approx(values.std().item(), rel=0.08)
    thin = Moments(torch.cat([x, torch.zeros(400, 1)], 1)), Moments(torch.cat([y, torch.zeros(600, 1)], 1))
    assert frechet_estimate(*thin).error == pytest.approx(found.error)  # the singular way to the same number


def test_extrapolation_removes_the_bias():
    references = gaussian(torch.zeros(30), torch.eye(30), 10**6)
    x = torch.randn(1500, 30, generator=generator(3), dtype=torch.float64)
    biased = frechet_distance(Moments(x), references)
    assert abs(frechet_infinity(x, references, seed=1)) < 0.25 * biased
    with pytest.raises(ValueError, match="num_points must be 2 or more"):
        frechet_infinity(x, references, num_points=1)


# Inception


@pytest.fixture(scope="module")
def synthetic():
    """The state dict of the oracle's recipe."""
    return {key: recipe(key, shape) for key, shape in ORACLE["keys"].items()}


@pytest.fixture(scope="module")
def network(synthetic):
    network = InceptionV3()
    network.load_state_dict(synthetic)
    return network.eval().double()


def test_keys_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        state = InceptionV3().state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == ORACLE["keys"]


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda c: f"{c['resize'].split()[0]}-{c['h']}x{c['w']}")
@torch.no_grad()
def test_inception_meets_its_oracle(case, network):
    images = torch.randint(0, 256, (2, 3, case["h"], case["w"]), generator=generator(case["seed"])).double() / 255
    features = network(preprocess(images, "pytorch" if case["resize"].startswith("torch") else "tensorflow"))
    logits = network.fc(features)

    def close(found, expected):
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-6)

    assert features.shape == (2, 2048) and logits.shape == (2, 1008)
    close(features[0, :8], case["pool_first_8"])
    close(features.sum(1), case["pool_sum"])
    close(features.norm(dim=1), case["pool_norm"])
    close(logits[0, :8], case["logits_first_8"])
    close(logits.norm(dim=1), case["logits_norm"])
