"""Priors of models: equal to the model's own to the bit, and distributed as they should be."""

import pytest
import torch
import torch.nn.functional as F
from cases import ROWS, VAE, generator
from densities import noise, plane
from scipy.stats import kstest

from gae_hub import AutoSampler, PriorSampler


@pytest.mark.parametrize("name", ["vae", "svae", "vamp", "poincare_vae", "rhvae", "flow_prior_vae"])
def test_equals_the_model_to_the_bit(name, tmp_path):
    model = ROWS[name].build()
    sampler = PriorSampler().fit_to(model)
    assert torch.equal(sampler.sample(50, generator()), model.sample_prior(50, generator()))
    sampler.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path)
    assert torch.equal(again.sample(50, generator()), model.sample_prior(50, generator()))
    assert model.training


@pytest.mark.parametrize("name", ["vae", "svae", "vamp", "poincare_vae", "rhvae", "flow_prior_vae"])
def test_density_is_that_of_the_model(name):
    model = ROWS[name].build().double()
    sampler = PriorSampler().fit_to(model)
    latents = model.sample_prior(50, generator())
    with torch.no_grad():
        torch.testing.assert_close(sampler.log_prob(latents), model.eval().prior_log_prob(latents).flatten())


@pytest.mark.parametrize("prior", ["normal", "wrapped_normal", "riemannian_normal"])
def test_density_integrates_to_one(prior):
    """Over the plane, or over the hyperbolic plane, whose normal coordinates have the volume sinh(r) / r."""
    sampler = PriorSampler(prior=prior).fit(torch.zeros(1, 2, dtype=torch.float64)).double()
    points, cell = plane()
    radii = points.norm(dim=1).clamp(min=1e-9)
    volumes = 1.0 if prior == "normal" else radii.sinh() / radii
    assert (sampler.log_prob(points).exp() * volumes).sum() * cell == pytest.approx(1, abs=1e-6)


def test_density_of_the_sphere():
    sampler = PriorSampler(prior="sphere").fit(torch.zeros(1, 3))
    density = sampler.log_prob(F.normalize(noise(5, 3))).exp()
    torch.testing.assert_close(density, torch.full((5,), 1 / (4 * torch.pi)))
    with pytest.raises(ValueError, match="needs latents of length 1, got lengths from 2 to 2"):
        sampler.log_prob(2 * F.normalize(noise(5, 3)))


def test_mixture_components_are_random():
    """Counts of the components are multinomial, and the spread of each is that of the model."""
    model = ROWS["vamp"].build(num_components=4, latent_dim=2)
    sampler = PriorSampler().fit_to(model)
    with torch.no_grad():
        sampler.means.copy_(10 * torch.arange(4.0)[:, None].expand(4, 2))
        sampler.stds.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None].expand(4, 2))
    drawn = sampler.sample(8000, generator())
    component = (drawn[:, 0] / 10).round().long()
    counts = component.bincount(minlength=4)
    assert (counts - 2000).abs().max() < 5 * (8000 * 3 / 16) ** 0.5 and (counts != 2000).any()
    stds = torch.stack([drawn[component == k, 1].std() for k in range(4)])
    torch.testing.assert_close(stds, sampler.stds[:, 0], atol=0.02, rtol=0)


def test_sphere_is_uniform():
    """Coordinates of a uniform point on the sphere in three dimensions are uniform on [-1, 1] (Archimedes)."""
    drawn = PriorSampler(prior="sphere").fit(torch.zeros(1, 3)).sample(5000, generator())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(5000))
    direction = F.normalize(noise(3, seed=4), dim=0)
    assert all(kstest(x.numpy(), "uniform", (-1, 2)).pvalue > 1e-3 for x in (*drawn.T, drawn @ direction))


def test_radii_of_the_riemannian_normal():
    """In the hyperbolic plane, its radii have the density exp(-r^2 / 2) sinh(r), up to a constant."""
    sampler = PriorSampler(prior="riemannian_normal").fit(torch.zeros(1, 2))
    radii = sampler.sample(5000, generator()).norm(dim=1).double()
    grid = torch.linspace(0, 12, 4001, dtype=torch.float64)
    cdf = ((-grid.square() / 2).exp() * grid.sinh()).cumsum(0)
    cdf = cdf / cdf[-1]

    def cumulative(r):
        return cdf[torch.searchsorted(grid, torch.as_tensor(r)).clamp(max=4000)].numpy()

    assert kstest(radii.numpy(), cumulative).pvalue > 1e-3


def test_refit_drops_the_earlier_mixture(tmp_path):
    sampler = PriorSampler().fit_to(ROWS["vamp"].build()).fit_to(VAE.build())
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), sampler.sample(5, generator()))


def test_learned_priors_need_a_model():
    with pytest.raises(ValueError, match=r"prior 'mixture' belongs to a model: use fit_to\(model\)"):
        PriorSampler(prior="mixture", num_components=2).fit(noise(5, 2))
    with pytest.raises(ValueError, match="num_flows is None, but a fitted sampler needs it"):
        PriorSampler(prior="flow", latent_dim=2)
