"""Gaussian mixtures: expectation maximization against scikit-learn, integrals, and the number of components."""

import pytest
import torch
from cases import generator
from densities import noise, plane

from gae_hub import GaussianMixtureSampler, GaussianMixtureSamplerConfig
from gae_hub.metrics import energy_distance

KINDS = pytest.mark.parametrize("kind", ["full", "diag", "tied"])


@KINDS
def test_equals_scikit_learn(kind):
    """From the same start on well separated clusters, both solvers end at the same maximum."""
    centres = 6 * noise(3, 4, seed=1)
    data = centres[torch.arange(900) % 3] + noise(900, 4) @ (torch.eye(4) + 0.3 * noise(4, 4, seed=2))
    fields = {"num_components": 3, "covariance_type": kind, "tolerance": 1e-8}
    ours, theirs = (
        GaussianMixtureSampler(solver=solver, **fields).fit(data.double()) for solver in ("torch", "sklearn")
    )
    order = [s.means[:, 0].argsort() for s in (ours, theirs)]
    torch.testing.assert_close(ours.weights[order[0]], theirs.weights[order[1]], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.means[order[0]], theirs.means[order[1]], atol=1e-3, rtol=0)
    torch.testing.assert_close(ours.log_prob(data), theirs.log_prob(data), atol=1e-2, rtol=0)


@KINDS
def test_density(kind):
    """It integrates to 1, agrees with torch.distributions, and its samples have its mean."""
    sampler = GaussianMixtureSampler(num_components=3, covariance_type=kind).fit(noise(200, 2)).double()
    points, area = plane()
    torch.testing.assert_close((sampler.log_prob(points).exp().sum() * area).item(), 1.0, atol=1e-4, rtol=0)
    expected = torch.zeros(5, dtype=torch.float64)
    for k, (weight, mean) in enumerate(zip(sampler.weights, sampler.means, strict=True)):
        scale = sampler.scales[0 if kind == "tied" else k]
        scale = scale.diag() if kind == "diag" else scale
        own = torch.distributions.MultivariateNormal(mean, scale_tril=scale)
        expected += weight * own.log_prob(points[:5]).exp()
    torch.testing.assert_close(sampler.log_prob(points[:5]), expected.log())
    drawn = sampler.sample(40_000, generator())
    mean = (sampler.weights[:, None] * sampler.means).sum(0)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.03, rtol=0)


def test_bic_selects_the_number_of_components():
    centres = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    data = centres[torch.arange(600) % 3] + noise(600, 2)
    for solver in ("sklearn", "torch"):
        sampler = GaussianMixtureSampler(num_components=[1, 2, 3, 4, 6], solver=solver).fit(data)
        criteria = sampler.bic_by_num_components
        assert [*criteria] == [1, 2, 3, 4, 6]
        assert sampler.config.num_components == 3 and min(criteria, key=criteria.get) == 3
        assert sampler.bic(data) == criteria[3]


@KINDS
@pytest.mark.parametrize("has_float64", [True, False])
def test_precision_of_distant_clusters(kind, has_float64, monkeypatch):
    """Variances of 0.01 about means of +-100, in float32; also on a device without float64."""
    if not has_float64:
        monkeypatch.setattr("gae_hub.modules.expectation_maximization.to_float64", lambda tensor: tensor)
    centres = torch.tensor([[100.0, 100.0, -100.0], [-100.0, 100.0, 100.0]])
    data = centres[torch.arange(2000) % 2] + 0.1 * noise(2000, 3)
    fields = {"num_components": 2, "covariance_type": kind}
    ours, theirs = (GaussianMixtureSampler(solver=solver, **fields).fit(data) for solver in ("torch", "sklearn"))
    order = [s.means[:, 0].argsort() for s in (ours, theirs)]
    torch.testing.assert_close(ours.means[order[0]], theirs.means[order[1]], atol=1e-4, rtol=0)
    scales = [s.scales if kind == "tied" else s.scales[own] for s, own in zip((ours, theirs), order, strict=True)]
    torch.testing.assert_close(scales[0], scales[1], atol=1e-4, rtol=1e-3)
    log_p = ours.log_prob(data)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.double(), ours.double().log_prob(data), atol=0.01, rtol=0)


def test_singular_covariance():
    data = 1e6 * noise(200, 1) @ noise(1, 5, seed=1)
    with pytest.raises(ValueError, match="lie in a plane: raise covariance_regularization, which is 1e-06"):
        GaussianMixtureSampler(num_components=1, solver="torch").fit(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_many_large_latents(kind, monkeypatch):
    """For 50,000 x 256 latents, "auto" selects the torch solver, which finds the clusters."""
    monkeypatch.setattr("sklearn.mixture.GaussianMixture.fit", lambda *args: pytest.fail("by scikit-learn"))
    centres = 3 * noise(2, 256, seed=1)
    data = centres[torch.arange(50_000) % 2] + noise(50_000, 256)
    sampler = GaussianMixtureSampler(num_components=2, covariance_type=kind, num_iterations=3).fit(data)
    order = sampler.means[:, 0].argsort()
    torch.testing.assert_close(sampler.means[order], centres[centres[:, 0].argsort()], atol=0.05, rtol=0)
    covariances = sampler.scales @ sampler.scales.mT
    torch.testing.assert_close(covariances, torch.eye(256).expand_as(covariances), atol=0.05, rtol=0)
    drawn = sampler.sample(2000, generator())
    assert energy_distance(drawn, data[:2000]) < 0.01


def test_recovers_its_parameters():
    means, stds = torch.tensor([[-4.0, 0.0], [4.0, 1.0]]), torch.tensor([[0.5, 1.0], [1.0, 0.3]])
    component = torch.multinomial(torch.tensor([0.25, 0.75]), 20_000, replacement=True, generator=generator())
    data = means[component] + stds[component] * torch.randn(20_000, 2, generator=generator(1))
    sampler = GaussianMixtureSampler(num_components=2).fit(data)
    order = sampler.means[:, 0].argsort()
    torch.testing.assert_close(sampler.weights[order], torch.tensor([0.25, 0.75]), atol=0.02, rtol=0)
    torch.testing.assert_close(sampler.means[order], means, atol=0.05, rtol=0)
    covariances = (sampler.scales @ sampler.scales.mT)[order]
    torch.testing.assert_close(covariances, stds.square().diag_embed(), atol=0.05, rtol=0)
    drawn = sampler.sample(50_000, generator(2))
    torch.testing.assert_close(drawn.mean(0), data.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), data.T.cov(), atol=0.25, rtol=0)
    is_left = drawn[:, 0] < 0
    share, other_share = is_left[:25_000].float().mean(), is_left[25_000:].float().mean()
    assert abs(share - other_share) < 0.02  # samples are not grouped by component


def test_correlations():
    """Samples use L from the covariance L L^T, not its transpose."""
    scale = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.5, 0.3, 2.0]])
    data = torch.randn(20_000, 3, generator=generator()) @ scale.T
    drawn = GaussianMixtureSampler(num_components=1).fit(data).sample(50_000, generator(1))
    torch.testing.assert_close(drawn.T.cov(), data.T.cov(), atol=0.08, rtol=0)


def test_errors():
    sampler = GaussianMixtureSampler()
    with pytest.raises(ValueError, match="num_components must be at most the number of latents, 4, got 10"):
        sampler.fit(torch.randn(4, 2))
    with pytest.raises(ValueError, match="is not fitted"):
        sampler.sample()
    for fields in ({"num_components": 0}, {"num_components": []}, {"covariance_type": "spherical"}):
        with pytest.raises(Exception, match=next(iter(fields))):
            GaussianMixtureSamplerConfig(**fields)
