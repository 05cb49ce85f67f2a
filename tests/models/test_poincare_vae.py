"""The Poincaré VAE with both normal distributions: loss, prior, evidence, interpolation and limits."""

from math import log

import numpy as np
import pytest
import torch
from cases import IWAE, NETWORKS, SHAPE, generator, images

from gae_hub import AutoGAE, PoincareVAEConfig, PoincareVAEModel
from gae_hub.modules.hyperbolic_space import hyperbolic_distance, log_sinhc

X = images(4)
NAMES = pytest.mark.parametrize("name", ["wrapped_normal", "riemannian_normal"])


def build(**fields):
    torch.manual_seed(0)
    return PoincareVAEModel(PoincareVAEConfig(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **fields}))


@NAMES
@pytest.mark.parametrize("dim", [2, 16, 64, 256])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
def test_loss_and_gradients_are_finite(name, dim, scale):
    for size in (0.0, 1.0, 1e3):
        model = build(latent_dim=dim, posterior=name, prior=name)
        with torch.no_grad():
            model.head.weight[:dim] *= size
            model.head.bias[:dim] *= size
            model.head.bias[dim:] = 2 * log(scale)
        out = model(X, generator=generator())
        out.loss.backward()
        assert out.loss.isfinite() and out.latents.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters())


@NAMES
@pytest.mark.parametrize("dim", [2, 16, 256])
def test_kl_is_zero_at_the_prior(name, dim):
    model = build(latent_dim=dim, posterior=name, prior=name, prior_scale=0.7)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias[:dim] = 0
        model.head.bias[dim:] = 2 * log(0.7)
    assert model(X).losses["kl"].abs() < 1e-3 * dim


@NAMES
def test_kl_between_families_is_positive(name):
    model = build(posterior=name, prior="riemannian_normal" if name == "wrapped_normal" else "wrapped_normal").double()
    kl = torch.stack([model(X.double(), generator=generator(seed)).losses["kl"] for seed in range(200)])
    assert kl.mean() > 3 * kl.std() / 200**0.5


@NAMES
def test_log_likelihood_converges_to_the_integral_over_the_plane(name):
    model = build(latent_dim=2, posterior=name, prior=name, prior_scale=0.5).double()
    x = X.double()
    line = torch.linspace(-5, 5, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    log_p = torch.cat([model.log_prob(x[:1], part.unsqueeze(0))[0] for part in grid.split(20_000)], 1)[0]
    joint = log_p + model.prior_log_prob(grid.unsqueeze(0))[0] + log_sinhc(grid.norm(dim=-1))
    exact = joint.logsumexp(0) + 2 * log(10 / 400) + model.likelihood.constant()
    estimate = model.log_likelihood(x[:1], 20_000, generator=generator(), batch_size=20_000)
    torch.testing.assert_close(estimate, exact.detach().view(1), atol=0.02, rtol=0)


@NAMES
def test_radius_of_prior_samples(name):
    model = build(latent_dim=4, prior=name, prior_scale=0.8)
    z = model.sample_prior(20_000, generator())
    mean = z.norm(dim=-1).mean().item()
    r = np.linspace(1e-6, 15, 20_001)
    stretch = 1 if name == "wrapped_normal" else (np.sinh(r) / r) ** 3
    density = np.exp(-(r**2) / (2 * 0.64)) * r**3 * stretch
    assert mean == pytest.approx(np.trapezoid(r * density, r) / np.trapezoid(density, r), rel=0.01)
    assert z.mean(0).abs().max() < 0.1


def test_interpolation_follows_geodesics():
    model = build(curvature=0.7).double()
    a, b = model.embed(X[:2].double()) * 20, model.embed(X[2:].double()) * 20
    path = model.interpolate_latents(a, b, torch.linspace(0, 1, 7, dtype=torch.float64))
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    steps = hyperbolic_distance(path[:, 1:], path[:, :-1], 0.7)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-6, atol=1e-9)


def test_to_ball():
    model = build(curvature=4.0)
    latents = torch.randn(100, 3) * 3
    ball = model.to_ball(latents)
    assert ball.norm(dim=-1).max() <= 0.5
    torch.testing.assert_close(ball[0], torch.tanh(latents[0].norm()) / 2 * latents[0] / latents[0].norm())


def test_decoders_in_the_coordinates_of_the_ball():
    """They receive points of the ball from decode, log_prob and sample_pixel_values."""
    model = build(coordinates="ball", observation_std=0.1).double()
    latents = torch.randn(1, 3, dtype=torch.float64) * 3
    mean = model.likelihood.activation(model.decoder(model.to_ball(latents)))
    torch.testing.assert_close(model.decode(latents), mean)
    torch.testing.assert_close(model.log_prob(X[:1].double(), latents)[1], mean)
    drawn = model.sample_pixel_values(latents.expand(20_000, 3), generator())
    torch.testing.assert_close(drawn.mean(0), mean[0].detach(), rtol=0, atol=5 * 0.1 / 20_000**0.5)


def test_flat_space_has_the_gradients_of_the_vae():
    """They equal those of IWAE(1), the VAE with a Monte Carlo KL, for the same noise."""
    flat, iwae = build(curvature=1e-12).double(), IWAE.build(num_samples=1).double()
    flat.load_state_dict(iwae.state_dict())
    losses = (model(X.double(), generator=generator()).loss for model in (flat, iwae))
    slopes = [
        torch.autograd.grad(loss, list(model.parameters())) for loss, model in zip(losses, (flat, iwae), strict=True)
    ]
    for found, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(found, exact)


@NAMES
def test_single_precision_agrees_with_double(name):
    model = build(latent_dim=64, posterior=name, prior=name)
    q = model.encode(X)
    z, log_q = q.rsample_and_log_prob(generator=generator())
    assert z.dtype == log_q.dtype == torch.float32
    exact = type(q)(q.mean.double(), q.log_var.double(), 1.0).log_prob(z.double())
    torch.testing.assert_close(log_q.double(), exact, rtol=1e-4, atol=1e-2)


def test_contract_of_the_riemannian_normal(tmp_path):
    """The row in cases.py has the wrapped normal."""
    model = build(posterior="riemannian_normal", prior="riemannian_normal")
    torch._dynamo.reset()
    torch.manual_seed(1)
    expected = model(X).loss
    torch.manual_seed(1)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(X).loss, expected)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(X)
    out.loss.backward()
    assert out.loss.dtype == out.latents.dtype == torch.float32 and out.loss.isfinite()
    model.save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    assert torch.equal(again(X, generator=generator()).loss, model.eval()(X, generator=generator()).loss)
    assert again.double()(X.double()).loss.dtype == torch.float64


def test_radius_is_logged():
    model = build()
    torch.testing.assert_close(model(X).metrics["radius"], model.embed(X).norm(dim=-1).mean())


@pytest.mark.parametrize("fields", [{"curvature": 0}, {"prior_scale": 0}, {"posterior": "normal"}, {"prior": "vmf"}])
def test_invalid_fields(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        PoincareVAEConfig(**fields)
