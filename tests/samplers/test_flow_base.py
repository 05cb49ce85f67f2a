"""MAF, IAF and neural splines: integrals, known maxima, and reloading."""

import pytest
import torch
from cases import generator
from densities import noise, plane

from gae_hub import AutoSampler, IAFSampler, MAFSampler, NeuralSplineSampler

SETS = ((3000, 0), (6000, 10))  # numbers and seeds of latents to fit and to compare


@pytest.mark.parametrize("build", [MAFSampler, IAFSampler, NeuralSplineSampler])
def test_density(build):
    """It integrates to 1, and the mean negative log density of its samples is the entropy from the grid."""
    sampler = build(hidden_size=16, num_hidden_layers=1, batch_norm=build is MAFSampler)
    data = torch.cat([0.5 * noise(200, 2) + 1, 0.5 * noise(200, 2, seed=1) - 1])
    sampler.fit(data, num_train_epochs=3, learning_rate=1e-2, progress=False).double()
    points, area = plane()
    log_p = sampler.log_prob(points)
    torch.testing.assert_close((log_p.exp().sum() * area).item(), 1.0, atol=2e-3, rtol=0)
    entropy = -(log_p.exp() * log_p).sum() * area
    drawn = -sampler.log_prob(sampler.sample(20_000, generator())).mean()
    torch.testing.assert_close(drawn, entropy, atol=0.05, rtol=0)


def test_maf_fits_a_gaussian():
    """The best density is the Gaussian of the data, whose likelihood is known."""
    scale = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.5, 0.3, 2.0]])
    data, fresh = (noise(n, 3, seed=seed) @ scale.T + 3 for n, seed in ((2000, 0), (4000, 1)))
    sampler = MAFSampler(hidden_size=16, num_hidden_layers=1)
    sampler.fit(data, num_train_epochs=15, learning_rate=1e-2, progress=False)
    truth = torch.distributions.MultivariateNormal(torch.full((3,), 3.0), scale_tril=scale).log_prob(fresh).mean()
    torch.testing.assert_close(sampler.log_prob(fresh).mean(), truth, atol=0.04, rtol=0)


def test_neural_spline_fits_heavy_tails():
    """Student's t with three degrees of freedom in each of two dimensions, whose entropy is known."""
    data, fresh = (noise(n, 2, seed=seed) / noise(n, 2, 3, seed=seed + 1).square().mean(-1).sqrt() for n, seed in SETS)
    sampler = NeuralSplineSampler(hidden_size=16, num_hidden_layers=1)
    sampler.fit(data, num_train_epochs=15, learning_rate=5e-3, progress=False)
    truth = torch.distributions.StudentT(3.0).log_prob(fresh).sum(1).mean()
    torch.testing.assert_close(sampler.log_prob(fresh).mean(), truth, atol=0.1, rtol=0)


def test_an_outlier_does_not_squeeze_the_other_latents():
    data = noise(500, 2)
    data[0, 0] = 1e4
    sampler = NeuralSplineSampler(hidden_size=8, num_hidden_layers=1).fit(data, num_train_epochs=1, progress=False)
    std = data.std(0, correction=0)
    expected = torch.stack([4 * std[0], std[1] * max(1.0, ((data - data.mean(0)) / std)[:, 1].abs().max().item() / 3)])
    torch.testing.assert_close(sampler.standardization.std, expected)


def test_batch_norm_and_order_after_reload(tmp_path):
    sampler = MAFSampler(batch_norm=True, hidden_size=16, num_hidden_layers=1, order="random")
    sampler.fit(noise(200, 5) * 3 + 1, num_train_epochs=2, progress=False)
    steps, order = sampler.flow.steps, sampler.config.drawn_order
    assert steps[1].made.order == order and steps[3].made.order == order[::-1]
    sampler.save_pretrained(tmp_path)
    again, z = AutoSampler.from_pretrained(tmp_path), noise(20, 5)
    torch.testing.assert_close(again.log_prob(z), sampler.log_prob(z))
    again.train()
    torch.testing.assert_close(again.log_prob(z), sampler.log_prob(z))  # log_prob runs in eval mode
    u, _ = sampler.flow(z)
    torch.testing.assert_close(sampler.flow.inverse(u)[0], z, atol=1e-4, rtol=1e-4)
