"""The manifold of RHVAE: its force, its stationary density, and its metric."""

import pytest
import torch
from cases import METRIC, generator, images
from densities import noise, plane

from gae_hub import RHVAEManifoldSampler
from gae_hub.metrics import energy_distance


def build_sampler(d=2, n=6, seed=0, **fields):
    """A sampler with a synthetic metric, in float64."""
    config = RHVAEManifoldSampler.config_class(
        latent_dim=d, latent_shape=[d], num_centroids=n, temperature=0.8, metric_regularization=0.05, **fields
    )
    sampler = RHVAEManifoldSampler(config).double()
    factors = noise(n, d, d, seed=seed + 1, dtype=torch.float64).tril()
    sampler.centroids.copy_(noise(n, d, seed=seed, dtype=torch.float64))
    sampler.matrices.copy_(factors @ factors.mT)
    return sampler.eval()


def sample_exactly(sampler, num, seed=0):
    """Samples of the density from a grid."""
    points, area = plane(6.0, 241)
    p = sampler.log_density(sampler.build_metric().at(points)).exp()
    chosen = torch.multinomial(p / p.sum(), num, replacement=True, generator=generator(seed))
    jitter = torch.rand(num, 2, generator=generator(seed + 1), dtype=torch.float64) - 0.5
    return points[chosen] + jitter * area.sqrt()


def test_force_is_the_gradient_of_the_log_density():
    sampler = build_sampler(d=3)
    z = noise(7, 3, seed=5, dtype=torch.float64).requires_grad_()
    place = sampler.build_metric().at(z)
    (gradient,) = torch.autograd.grad(0.5 * place.inverse.logdet().sum(), z)
    torch.testing.assert_close(sampler.compute_force(place), gradient)
    torch.testing.assert_close(-place.half_log_det(), 0.5 * place.inverse.logdet())


def test_transitions_keep_the_density():
    """Chains that start at exact samples end at exact samples, and they move."""
    sampler = build_sampler()
    sampler.adapt_step_size()
    assert 0.6 < sampler.acceptance_rate < 0.95
    start = sample_exactly(sampler, 1500)
    place = sampler.build_metric().at(start)
    g = generator(3)
    for _ in range(6):
        place, _ = sampler.run_transition(place, sampler.step_size, g)
    fresh = sample_exactly(sampler, 1500, seed=7)
    floor = energy_distance(start, sample_exactly(sampler, 1500, seed=9))
    assert energy_distance(place.z, fresh) < max(3 * floor, 0.012)
    assert (place.z - start).norm(dim=1).mean() > 0.3


def test_chains_reach_the_density_from_the_centroids():
    sampler = build_sampler(num_steps=40, num_leapfrog_steps=8)
    sampler.adapt_step_size()
    drawn, fresh = sampler.sample(1200, generator()), sample_exactly(sampler, 1200, seed=7)
    start = sampler.centroids[torch.arange(1200) % 6]
    assert energy_distance(drawn, fresh) < 0.012 < energy_distance(start, fresh)
    assert 0.6 < sampler.acceptance_rate < 0.95
    assert sampler.log_density(sampler.build_metric().at(drawn)).isfinite().all()


def test_force_of_pythae_is_rejected_more_often():
    """Pythae has the vector G M_i (c_i - z) where the gradient has tr(G M_i) (c_i - z).

    Ours is autograd's gradient of the density's definition. Theirs is not, so its proposals gain or lose energy.
    """
    sampler = build_sampler(d=8, n=20)
    centroids, matrices, temperature = sampler.centroids, sampler.matrices, sampler.config.temperature
    start = sampler.start_chains(200, generator()).z
    z = (start + 0.3 * noise(*start.shape, seed=2, dtype=torch.float64)).requires_grad_()
    weights = (-(z.unsqueeze(1) - centroids).square().sum(-1) / temperature**2).exp()
    inverse = torch.einsum("bn,nij->bij", weights, matrices) + sampler.config.metric_regularization * torch.eye(8)
    (gradient,) = torch.autograd.grad(0.5 * inverse.logdet().sum(), z)

    def pythae_force(place):
        pulled = torch.einsum("bn,nij,bnj->bi", place.weights, matrices, centroids - place.z.unsqueeze(1))
        return torch.linalg.solve(place.inverse, pulled) / temperature**2

    place = sampler.build_metric().at(z.detach())
    torch.testing.assert_close(sampler.compute_force(place), gradient)
    assert (pythae_force(place) - gradient).norm() > 0.5 * gradient.norm()
    step = torch.tensor(0.25, dtype=torch.float64)
    right = sampler.run_transition(place, step, generator(1))[1].mean()
    sampler.compute_force = pythae_force
    wrong = sampler.run_transition(place, step, generator(1))[1].mean()
    assert wrong < right - 0.05


def test_fit_to_copies_the_metric():
    model = METRIC.build()
    model.train()(images(12))
    fields = {"num_steps": 3, "num_leapfrog_steps": 3, "num_warmup_steps": 10, "num_warmup_chains": 10}
    sampler = RHVAEManifoldSampler(**fields).fit_to(model)
    assert sampler.config.num_centroids == 12  # without the free places of the queue
    z = noise(5, 3)
    torch.testing.assert_close(sampler.build_metric().at(z).inverse, model.build_metric().at(z).inverse)
    with pytest.raises(ValueError, match=r"samples from a model's metric, not from latents: use fit_to\(model\)"):
        sampler.fit(z)
