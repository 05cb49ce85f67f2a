"""IWAE, MIWAE, CIWAE and PIWAE: reductions, bounds and gradients; in float64."""

from math import log

import pytest
import torch
from cases import NETWORKS, SHAPE, VAE, generator, images

from gae_hub import CIWAEConfig, CIWAEModel, IWAEConfig, IWAEModel, MIWAEConfig, MIWAEModel, PIWAEConfig, PIWAEModel

X = images(5).double()


def build(cls, config_class, **fields):
    torch.manual_seed(0)
    return cls(config_class(input_shape=SHAPE, latent_dim=3, **NETWORKS, **fields)).double()


def loss(model, seed=0):
    return model(X, generator=generator(seed)).loss


def gradients(model, seed=0, loss_of=loss):
    return torch.autograd.grad(loss_of(model, seed), list(model.parameters()))


def assert_same_gradients(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_one_estimate_equals_iwae():
    """MIWAE(1, K) and CIWAE(beta = 0) have the loss and the gradients of IWAE(K), for the same noise."""
    iwae = build(IWAEModel, IWAEConfig, num_samples=6)
    for other in (
        build(MIWAEModel, MIWAEConfig, num_estimates=1, num_samples=6),
        build(CIWAEModel, CIWAEConfig, elbo_weight=0, num_samples=6),
    ):
        torch.testing.assert_close(loss(other), loss(iwae))
        assert_same_gradients(gradients(other), gradients(iwae))


def test_one_sample_equals_the_elbo():
    """MIWAE(M, 1) and CIWAE(beta = 1) are the ELBO with M samples, whose expectation is the VAE's loss."""
    miwae = build(MIWAEModel, MIWAEConfig, num_estimates=6, num_samples=1)
    ciwae = build(CIWAEModel, CIWAEConfig, elbo_weight=1, num_samples=6)
    torch.testing.assert_close(loss(miwae), loss(ciwae))
    vae = VAE.build().double()
    vae.load_state_dict(miwae.state_dict())
    with torch.no_grad():
        ours = torch.stack([loss(miwae, seed) for seed in range(400)])
        theirs = torch.stack([loss(vae, seed) for seed in range(2000)])
    error = 4 * (ours.std() / 400**0.5 + theirs.std() / 2000**0.5)
    torch.testing.assert_close(ours.mean(), theirs.mean(), atol=error.item(), rtol=0)


def test_ciwae_is_linear_in_beta():
    low, half, high = (build(CIWAEModel, CIWAEConfig, elbo_weight=beta, num_samples=6) for beta in (0, 0.5, 1))
    torch.testing.assert_close(loss(half), 0.5 * (loss(low) + loss(high)))


def test_miwae_axes():
    """The logarithm is of a mean over the K samples; the M estimates are averaged."""
    model = build(MIWAEModel, MIWAEConfig, num_estimates=2, num_samples=3)
    weights = torch.randn(4, 2, 3, generator=generator(), dtype=torch.float64)
    expected = weights.exp().mean(2).log().mean(1)
    torch.testing.assert_close(model.compute_bound(weights), expected)
    assert (model.compute_bound(weights) - weights.exp().mean(1).log().mean(1)).abs().min() > 1e-3


def test_loss_equals_the_likelihood_estimate():
    """The loss is minus the estimate of log_likelihood with K samples, up to the constant."""
    model = build(IWAEModel, IWAEConfig, num_samples=7).eval()
    nats = model.log_likelihood(X, 7, generator()).mean() - model.likelihood.constant()
    torch.testing.assert_close(-loss(model), nats)


def test_more_samples_tighten_the_bound():
    means = []
    for k in (1, 5, 50):
        model = build(IWAEModel, IWAEConfig, num_samples=k, observation_std=0.3)
        with torch.no_grad():
            means.append(torch.stack([loss(model, seed) for seed in range(200)]).mean().item())
    assert means[0] > means[1] > means[2]


def test_iwae_gradient():
    """It is the gradient of the log weights, weighted by their softmax (Burda et al., equation 13)."""
    model = build(IWAEModel, IWAEConfig, num_samples=4)

    def weighted(net, seed):
        posterior = net.encode(X)
        z = posterior.rsample(4, generator=generator(seed))
        log_w = net.log_prob(X, z)[0] + net.prior_log_prob(z) - posterior.log_prob(z)
        return -(log_w.softmax(1).detach() * log_w).sum(1).mean()

    assert_same_gradients(gradients(model), gradients(model, 0, weighted))


def test_piwae_gradients_of_encoder_and_decoder():
    piwae = build(PIWAEModel, PIWAEConfig, num_estimates=2, num_samples=3)
    miwae = build(MIWAEModel, MIWAEConfig, num_estimates=2, num_samples=3)

    def joint(net, seed):
        posterior = net.encode(X)
        z = posterior.rsample(2, 3, generator=generator(seed))
        log_w = net.log_prob(X, z)[0] + net.prior_log_prob(z) - posterior.log_prob(z)
        return -(log_w.flatten(1).logsumexp(1) - log(6)).mean()

    names = [name for name, _ in piwae.named_parameters()]
    ours, encoder, decoder = gradients(piwae), gradients(miwae), gradients(miwae, 0, joint)
    for name, own, for_encoder, for_decoder in zip(names, ours, encoder, decoder, strict=True):
        torch.testing.assert_close(own, for_decoder if name.startswith("decoder") else for_encoder)
    assert not torch.allclose(encoder[0], decoder[0])  # the bounds differ


@pytest.mark.parametrize(
    ("config_class", "fields"),
    [(IWAEConfig, {"num_samples": 0}), (MIWAEConfig, {"num_estimates": 0}), (CIWAEConfig, {"elbo_weight": 1.5})],
)
def test_invalid_fields(config_class, fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        config_class(**fields)
