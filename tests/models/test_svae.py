"""The SVAE: loss, precision, latents on the sphere, and evidence."""

from math import log, pi

import numpy as np
import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images

from gae_hub import SVAEConfig, SVAEModel

X = images(4)


def build(**fields):
    torch.manual_seed(0)
    return SVAEModel(SVAEConfig(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **fields}))


def test_single_precision_agrees_with_double():
    model = build(latent_dim=64)
    single = model(X, generator=generator())
    double = model.double()(X.double(), generator=generator())
    torch.testing.assert_close(single.loss.double(), double.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(single.latents.double(), double.latents, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 16, 64, 256])
@pytest.mark.parametrize("bias", [-1e4, 0.0, 1e2, 1e6])
def test_loss_and_gradients_are_finite(dim, bias):
    model = build(latent_dim=dim)
    with torch.no_grad():
        model.head.bias[-1] = bias
    out = model(X, generator=generator())
    out.loss.backward()
    assert out.loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(out.latents.norm(dim=-1), torch.ones(4))
    assert model.log_likelihood(X, 3).isfinite().all()


def test_concentration_is_at_least_one():
    """It is softplus(c) + 1, as in the authors' code. Without the 1, a flat posterior could remain flat."""
    model = build()
    with torch.no_grad():
        model.head.weight[-1] = 0
        model.head.bias[-1] = 2.0
    torch.testing.assert_close(model.encode(X).concentration, torch.full((4, 1), log(1 + np.exp(2.0)) + 1.0))


def test_direction_of_zero():
    model = build()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    out = model(X)
    out.loss.backward()
    assert out.loss.isfinite() and model.head.weight.grad.isfinite().all()


def test_all_latents_lie_on_the_sphere():
    model = build(latent_dim=5)
    path = model.interpolate_latents(model.embed(X[:2]), model.embed(X[2:]), torch.linspace(0, 1, 6))
    points = [model.embed(X), model.embed(X, sample=True), model.sample_prior(7), path]
    for z in points:
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(z.shape[:-1]))
    assert model.sample_prior(2000, generator()).mean(0).abs().max() < 0.05


def test_loss_and_likelihood_use_the_same_concentration():
    """In Pythae it is softplus(c) + 1 in the loss, and softplus(c) in the likelihood."""
    model = build().double()
    x = X.double()
    elbo = torch.stack([model(x, generator=generator(s)).loss for s in range(200)])
    nats = torch.stack([model.log_likelihood(x, 1, generator(s)).mean() for s in range(200)])
    constant = 32 * log(2 * pi)
    error = 4 * (elbo.std() + nats.std()).item() / 200**0.5
    torch.testing.assert_close(-elbo.mean() - constant, nats.mean(), atol=error, rtol=0)


def test_log_likelihood_converges_to_the_integral_over_the_circle():
    model = build(latent_dim=2).double()
    x = X.double()
    angle = torch.linspace(0, 2 * pi, 4001, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], -1).expand(4, -1, 2)
    log_p, _ = model.log_prob(x, circle)
    exact = log_p.logsumexp(1) - log(4000) + model.likelihood.constant()
    estimate = model.log_likelihood(x, 20_000, generator=generator(), batch_size=40_000)
    torch.testing.assert_close(estimate, exact.detach(), atol=0.02, rtol=0)


def test_invalid_latent_dim():
    with pytest.raises(Exception, match="latent_dim must be 2 or more, since latents lie on a sphere, got 1"):
        SVAEConfig(latent_dim=1)
