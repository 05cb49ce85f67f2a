"""VAMP: density, samples and gradients of the mixture prior, and the evidence; in float64."""

from math import log

import pytest
import torch
from cases import IWAE, NETWORKS, SHAPE, generator, images
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from gae_hub import VAMPConfig, VAMPModel
from gae_hub.modules.posteriors import DiagonalGaussian, GaussianPosterior

X = images(6).double()


def build(dtype=torch.float64, **fields):
    torch.manual_seed(0)
    return VAMPModel(
        VAMPConfig(**{"input_shape": SHAPE, "latent_dim": 3, "num_components": 4, **NETWORKS, **fields})
    ).to(dtype)


def apart(model):
    """The model, with a head that separates the components."""
    with torch.no_grad():
        model.head.weight.mul_(4)
    return model


def oracle(components):
    normals = Independent(Normal(components.mean, (0.5 * components.log_var).exp()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(components.mean)).to(components.mean)), normals)


def wide_components(k=30, d=8, log_var=-2.0, dtype=torch.float64):
    noise = torch.randn(2, k, d, generator=generator(), dtype=dtype)
    return DiagonalGaussian(2 * noise[0], log_var + noise[1])


def fixed(model, components):
    model.encode_components = lambda: components
    return model


# Density


def test_prior_log_prob():
    components = wide_components()
    model = fixed(build(latent_dim=8, num_components=30), components)
    z = 3 * torch.randn(5, 2, 4, 8, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(model.prior_log_prob(z), oracle(components).log_prob(z))
    assert model.prior_log_prob(z[:, 0, 0]).shape == (5,)
    each = torch.stack([Normal(m, s).log_prob(z).sum(-1) for m, s in moments(components)], -1)
    torch.testing.assert_close(model.component_log_prob(z), each)


def moments(components):
    return zip(components.mean, (0.5 * components.log_var).exp(), strict=True)


def test_prior_integrates_to_one():
    model = apart(build(latent_dim=2))
    axis = torch.linspace(-15, 15, 1001, dtype=torch.float64)
    density = model.prior_log_prob(torch.cartesian_prod(axis, axis)).exp()
    torch.testing.assert_close(density.sum() * (axis[1] - axis[0]) ** 2, torch.ones(()).double())


@pytest.mark.parametrize("half", [False, True])
def test_precision_for_narrow_components(half):
    """In float32 the expanded square would have an error of 0.4 nats. Autocast has no effect either."""
    components = wide_components(100, 16, -9.0, torch.float32)
    exact = oracle(DiagonalGaussian(components.mean.double(), components.log_var.double()))
    model = fixed(build(torch.float32, latent_dim=16), components)
    z = components.rsample(generator=generator(1))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        log_p = model.prior_log_prob(z)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, exact.log_prob(z.double()).float(), atol=1e-4, rtol=1e-6)


def test_memory_of_the_prior():
    model = fixed(build(torch.float32, latent_dim=64), wide_components(200, 64, dtype=torch.float32))
    z = torch.randn(500, 64)
    with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
        model.prior_log_prob(z)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert (
        0 < largest < 500 * 200 * 8 * 4
    )  # a few float64 matrices; all (draw, component, dimension) triples in float32 have 25.6 MB


# Samples


def test_moments_of_samples():
    """Samples have the mean, the covariance and the mean log density of the mixture."""
    model = apart(build())
    components, count = model.encode_components(), 100_000
    z = model.sample_prior(count, generator())
    mean = components.mean.mean(0)
    spread = components.mean - mean
    covariance = components.log_var.exp().mean(0).diag() + spread.T @ spread / 4
    torch.testing.assert_close(z.mean(0), mean.detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(z.T.cov(), covariance.detach(), atol=0.05, rtol=0.02)
    with torch.no_grad():
        ours, theirs = model.prior_log_prob(z), model.prior_log_prob(oracle(components).sample((count,)))
    torch.testing.assert_close(ours.mean(), theirs.mean(), atol=0.03, rtol=0)


def test_components_of_samples_are_random():
    """All components are equally frequent, and independent from one sample to the next."""
    far = DiagonalGaussian(10 * torch.arange(4.0).unsqueeze(1).expand(4, 3).double(), torch.zeros(4, 3).double())
    model = fixed(build(), far)
    chosen = (model.sample_prior(40_000, generator()).mean(-1) / 10).round().long()
    torch.testing.assert_close(chosen.bincount() / 40_000, torch.full((4,), 0.25), atol=0.01, rtol=0)
    repeats = (chosen[1:] == chosen[:-1]).double().mean().item()
    assert abs(repeats - 0.25) < 0.02


def test_sampling_does_not_change_the_model():
    model = build(encoder_config="conv", decoder_config="conv").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    z = model.sample_prior(5, generator())
    assert not z.requires_grad and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Loss


def test_one_standard_component_equals_the_vae():
    """With N(0, I) as its only component, the loss is that of the VAE with a Monte Carlo KL."""
    standard = DiagonalGaussian(torch.zeros(1, 3).double(), torch.zeros(1, 3).double())
    model, plain = fixed(build(), standard), IWAE.build(num_samples=1).double()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "pseudo_logits"})
    ours, theirs = (net(X, generator=generator()) for net in (model, plain))
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.latents, theirs.latents)


def test_kl_of_one_component():
    model = apart(build(num_components=1))
    q, p = model.encode(X), model.encode_components()
    ratio = (q.log_var - p.log_var).exp() + (q.mean - p.mean).square() / p.log_var.exp() - 1 - q.log_var + p.log_var
    with torch.no_grad():
        kl = model(X.repeat(5000, 1, 1, 1), generator=generator()).losses["kl"]
    torch.testing.assert_close(kl, 0.5 * ratio.sum(-1).mean().detach(), atol=0.03, rtol=0)


def linear():
    """A model with a linear decoder, and its evidence, a mixture of K Gaussians N(W mu_k + b, W S_k W^T + I)."""
    model = apart(build(decoder_config={"hidden_sizes": []}, output_activation="identity"))
    layer, components = model.decoder.net[0], model.encode_components()
    covariances = layer.weight @ components.log_var.exp().diag_embed() @ layer.weight.T + torch.eye(64).double()
    normals = MultivariateNormal(layer(components.mean), covariances)
    return model, (normals.log_prob(X.flatten(1).unsqueeze(1)).logsumexp(1) - log(4)).detach()


def test_log_likelihood_converges_to_the_evidence_of_a_linear_model():
    model, exact = linear()
    estimate = model.log_likelihood(X, num_samples=40_000, generator=generator(), batch_size=60_000)
    torch.testing.assert_close(estimate, exact, atol=0.1, rtol=0)


def test_bounds_are_ordered():
    """ELBO <= IWAE(5) <= IWAE(50) <= log p(x), in expectation. The loss is minus the ELBO."""
    model, exact = linear()
    batch = X.repeat_interleave(400, 0)
    elbo = model.log_likelihood(batch, 1, generator(0)).view(6, 400).mean(1)
    five = model.log_likelihood(batch, 5, generator(1)).view(6, 400).mean(1)
    fifty = model.log_likelihood(batch, 50, generator(2), batch_size=5000).view(6, 400).mean(1)
    assert (elbo < five).all() and (five < fifty).all() and (fifty < exact + 0.02).all()
    loss = model(X, generator=generator()).loss
    torch.testing.assert_close(-loss + model.likelihood.constant(), model.log_likelihood(X, 1, generator()).mean())


# Pseudo-inputs


def test_every_pixel_of_the_pseudo_inputs_has_a_gradient():
    model = build()
    kl = model(X, generator=generator()).loss
    logits, encoder = torch.autograd.grad(kl, [model.pseudo_logits, model.encoder.net[0].weight])
    assert logits.shape == (4, *SHAPE) and (logits != 0).all() and encoder.abs().max() > 0


def test_pseudo_inputs_are_different_images():
    model = build(num_components=200)
    pixels = model.pseudo_logits.sigmoid()
    assert 0 < pixels.min() and pixels.max() < 1 and pixels.std(0).min() > 0.1  # different from each other
    expected = model.encode(pixels.detach())
    torch.testing.assert_close(model.encode_components().mean, expected.mean)
    torch.testing.assert_close(model.encode_components().log_var, expected.log_var)


def test_batch_norm_statistics_exclude_pseudo_inputs():
    """Running statistics depend on the images only, and the prior is the same in training and evaluation."""
    networks = {"encoder_config": "conv", "decoder_config": "conv"}
    model, plain = build(**networks).train(), IWAE.build(num_samples=1, **networks).double().train()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "pseudo_logits"})
    for net in (model, plain):
        net(X, generator=generator())
    statistics = dict(plain.named_buffers())
    assert any("running_mean" in name for name in statistics)
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    z = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    training = model.prior_log_prob(z)
    assert all(module.training for module in model.modules())
    assert torch.equal(training, model.eval().prior_log_prob(z))


def test_pseudo_inputs_are_encoded_once_per_call():
    model, calls = build(), []
    components = model.encode_components
    model.encode_components = lambda: calls.append(1) or components()
    model(X)
    model.sample_prior(10)
    assert len(calls) == 2
    model.log_likelihood(X, 50, batch_size=12)
    assert len(calls) == 3
    model.cached_components = wide_components(4, 3)
    model.log_likelihood(X, 2)
    assert model.cached_components is None  # the cache is cleared, because training changes the components
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        model.log_likelihood(X, 0)
    assert model.cached_components is None
    z, log_q = model.encode(X).rsample_and_log_prob(50, generator=generator())
    log_w = model.log_prob(X, z)[0] + model.prior_log_prob(z) - log_q
    expected = log_w.logsumexp(1) - log(50) + model.likelihood.constant()
    torch.testing.assert_close(model.log_likelihood(X, 50, generator()), expected.detach())


def test_components_in_use():
    far = DiagonalGaussian(100 * torch.eye(4, 3).double(), torch.zeros(4, 3).double())
    model = fixed(build(), far)
    for used in (1, 3):
        rows = far.mean[torch.arange(6) % used]
        model.encode = lambda pixel_values, rows=rows: GaussianPosterior(rows, torch.zeros_like(rows))
        metrics = model(X, generator=generator()).metrics
        torch.testing.assert_close(metrics["components_in_use"].item(), float(used), atol=1e-6, rtol=0)
    assert set(metrics) == {"active_units", "latent_rms", "components_in_use"}  # without the KL to N(0, I)
    same = fixed(build(), DiagonalGaussian(torch.zeros(4, 3).double(), torch.zeros(4, 3).double()))
    torch.testing.assert_close(same(X).metrics["components_in_use"].item(), 4.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_components": 0}, "num_components must be above 0, got 0"),
        ({"kl_warmup_fraction": 1.5}, r"kl_warmup_fraction must lie in \[0, 1\], got 1.5"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(Exception, match=message):
        VAMPConfig(**fields)
