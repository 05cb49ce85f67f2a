"""The mathematics of the VAE: bounds, the evidence, likelihoods and interpolation."""

from math import log, pi

import pytest
import torch
from cases import VAE, generator, images
from torch.distributions import MultivariateNormal, Normal

from gae_hub.modules.posteriors import DiagonalGaussian

X = images(6).double()


def linear_vae(**fields):
    """A VAE with a linear decoder and no activation, whose evidence is N(x; b, W W^T + sigma^2 I)."""
    model = VAE.build(decoder_config={"hidden_sizes": []}, output_activation="identity", **fields).double()
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(2)
    return model


def evidence(model, x, std):
    layer = model.decoder.net[0]
    covariance = layer.weight @ layer.weight.T + std**2 * torch.eye(64, dtype=torch.float64)
    return MultivariateNormal(layer.bias, covariance).log_prob(x.flatten(1)).detach()


def test_kl_under_autocast():
    """It is exp(0.05) - 1 - 0.05 per dimension, which bfloat16 gets wrong by a factor of three."""
    model = VAE.build(observation_std="optimal")
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0] * 3 + [0.05] * 3))
    exact = 3 * 0.5 * (torch.tensor(0.05).exp() - 1.05)
    with torch.autocast("cpu", torch.bfloat16):
        kl = model(images(4)).losses["kl"]
    torch.testing.assert_close(kl, exact, rtol=0.02, atol=0)
    assert model.to(torch.float32).likelihood.variance.dtype == torch.float32


@pytest.mark.parametrize("std", [1.0, 2.0])
def test_log_likelihood_converges_to_the_evidence_of_a_linear_model(std):
    model = linear_vae(observation_std=std)
    exact = evidence(model, X, std)
    estimate = model.log_likelihood(X, num_samples=50_000, generator=generator(), batch_size=60_000)
    torch.testing.assert_close(estimate, exact, atol=0.05, rtol=0)


def test_bounds_are_ordered():
    """ELBO <= IWAE(5) <= IWAE(50) <= log p(x), in expectation."""
    model = linear_vae()
    batch = X.repeat_interleave(300, 0)
    elbo = model.log_likelihood(batch, 1, generator(0)).view(6, 300).mean(1)
    five = model.log_likelihood(batch, 5, generator(1)).view(6, 300).mean(1)
    fifty = model.log_likelihood(batch, 50, generator(2), batch_size=5000).view(6, 300).mean(1)
    exact = evidence(model, X, 1.0)
    assert (elbo < five).all() and (five < fifty).all() and (fifty < exact + 0.02).all()


def test_log_likelihood_with_one_sample_is_the_negative_loss_in_expectation():
    model = linear_vae().eval()
    losses = torch.stack([model(X, generator=generator(seed)).loss for seed in range(2000)])
    elbos = torch.stack([model.log_likelihood(X, 1, generator(seed)).mean() for seed in range(2000)])
    constant = 32 * log(2 * pi)
    error = (losses.std() + elbos.std()) / 2000**0.5
    torch.testing.assert_close(-losses.mean() - constant, elbos.mean(), atol=4 * error.item(), rtol=0)


def test_number_of_samples_of_log_likelihood():
    model, drawn = linear_vae(), []
    rsample_and_noise = DiagonalGaussian.rsample_and_noise
    try:
        DiagonalGaussian.rsample_and_noise = lambda self, *shape, **kwargs: (
            drawn.append(shape) or rsample_and_noise(self, *shape, **kwargs)
        )
        model.log_likelihood(X, num_samples=250, batch_size=600)
    finally:
        DiagonalGaussian.rsample_and_noise = rsample_and_noise
    assert sum(shape[0] for shape in drawn) == 250
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        model.log_likelihood(X, num_samples=0)


def test_gaussian_likelihood():
    model = VAE.build(observation_std=0.5).double()
    z = torch.randn(6, 4, 3, dtype=torch.float64)
    log_p, reconstruction = model.log_prob(X, z)
    exact = Normal(reconstruction, 0.5).log_prob(X.unsqueeze(1)).sum((2, 3, 4))
    torch.testing.assert_close(log_p + model.likelihood.constant(), exact)


def test_bernoulli_likelihood():
    model = VAE.build(likelihood="bernoulli").double()
    z = torch.randn(6, 3, dtype=torch.float64)
    log_p, reconstruction = model.log_prob(X, z)
    exact = X * reconstruction.log() + (1 - X) * (1 - reconstruction).log()
    torch.testing.assert_close(log_p, exact.sum((1, 2, 3)))
    assert model.likelihood.constant() == 0
    far = model.log_prob(X, 1e4 * z)[0]
    assert far.isfinite().all()  # logits do not overflow


def test_optimal_observation_std_minimises_the_loss():
    """Value and gradient are those of the loss minimised over sigma."""
    model = VAE.build(observation_std="optimal").double().train()
    z = torch.randn(6, 3, dtype=torch.float64)
    log_p, reconstruction = model.log_prob(X, z)
    variance = (X - reconstruction).square().mean()

    def loss(var):
        return 0.5 * ((X - reconstruction).square().sum((1, 2, 3)) / var + 64 * var.log()).mean()

    torch.testing.assert_close(-log_p.mean(), loss(variance))
    assert all(loss(variance * factor) > loss(variance) for factor in (0.9, 1.1))
    gradient = torch.autograd.grad(-log_p.mean(), model.decoder.net[0].weight, retain_graph=True)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(32 * variance.log(), model.decoder.net[0].weight)[0])


def test_optimal_observation_std_in_training_and_evaluation():
    model = VAE.build(observation_std="optimal").train()
    x = images(6)
    for _ in range(80):
        model(x)
    learned = model.likelihood.variance.clone()
    assert 0.05 < learned < 0.2  # near the mean squared error of noise in [0, 1]
    model.eval()(x)
    assert torch.equal(model.likelihood.variance, learned)
    nats = model.log_likelihood(x, 10, generator())
    assert nats.isfinite().all()


def test_interpolation_is_a_straight_line():
    model = VAE.build()
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    path = model.interpolate_latents(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path[0, :, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    with pytest.raises(ValueError, match="num_steps must be 2 or more, got 1"):
        model.interpolate(images(2), images(2), num_steps=1)
    with pytest.raises(ValueError, match="the same number of images, got 2 and 3"):
        model.interpolate(images(2), images(3))
