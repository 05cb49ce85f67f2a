"""Estimates of log p(x) converge to the evidence, in float64.

For a linear decoder with Gaussian noise the evidence has a closed form: x = W z + b + noise with z ~ N(0, I) is
distributed as N(b, W W^T + sigma^2 I). For other likelihoods and two latent dimensions it is an integral over a grid.
"""

import pytest
import torch
from cases import LIKELIHOODS, MODELS, generator, images
from torch.distributions import MultivariateNormal

CASES = [case for case in MODELS if case.has_likelihood and case.gaussian_prior]
PAIRS = [(case, row) for case in CASES for row in LIKELIHOODS if row.fits(case.model_class.config_class)]
X = images(3).double()
STD = 1.5


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def model(request):
    """A method with a linear decoder, whose weights are large enough that the latents matter."""
    model = request.param.build(
        decoder_config={"hidden_sizes": []},
        likelihood="gaussian",
        output_activation="identity",
        observation_std=STD,
    ).double()
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(2)
    return model.eval()


def evidence(model):
    layer = model.decoder.net[0]
    covariance = layer.weight @ layer.weight.T + STD**2 * torch.eye(64, dtype=torch.float64)
    return MultivariateNormal(layer.bias, covariance).log_prob(X.flatten(1)).detach()


def test_log_likelihood_converges_to_the_evidence(model):
    estimate = model.log_likelihood(X, num_samples=40_000, generator=generator(), batch_size=30_000)
    torch.testing.assert_close(estimate, evidence(model), atol=0.05, rtol=0)


def test_bounds_are_ordered(model):
    """ELBO < IWAE(4) < IWAE(8) < log p(x): means of many independent bounds, within their errors."""
    repeats, means, errors = 400, [], []
    for samples in (1, 4, 8):
        bounds = model.log_likelihood(
            X.repeat_interleave(repeats, 0), samples, generator(samples), batch_size=repeats * 3 * 8
        ).view(3, repeats)
        means.append(bounds.mean(1))
        errors.append(bounds.std(1) / repeats**0.5)
    assert (means[0] < means[1] + 3 * (errors[0] + errors[1])).all() and (means[0].mean() < means[1].mean())
    assert (means[1] < means[2] + 3 * (errors[1] + errors[2])).all() and (means[1].mean() < means[2].mean())
    assert (means[2] < evidence(model) + 3 * errors[2]).all()


@pytest.mark.parametrize(("case", "likelihood"), PAIRS, ids=lambda row: row.id)
def test_log_likelihood_converges_for_every_likelihood(case, likelihood):
    """log of the integral of p(x|z) p(z) over z in [-7, 7]^2, by the trapezoid rule."""
    model = case.build(latent_dim=2, **likelihood.fields).double().eval()
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(3)
        axis = torch.linspace(-7, 7, 141, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        x = X[:1].round() if likelihood.support is None else X[:1]
        log_p, _ = model.log_prob(x, z.unsqueeze(0))
        log_joint = log_p + model.likelihood.constant() + model.prior_log_prob(z)
        evidence = log_joint.logsumexp(-1) + 2 * torch.log(axis[1] - axis[0])
    estimate = model.log_likelihood(x, num_samples=20_000, generator=generator(), batch_size=20_000)
    torch.testing.assert_close(estimate, evidence, atol=0.05, rtol=0)
