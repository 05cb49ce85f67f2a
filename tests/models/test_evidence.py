"""A linear decoder with Gaussian noise has a known evidence: every method's likelihood must converge to it.

x = W z + b + noise and z ~ N(0, I) make x ~ N(b, W W^T + sigma^2 I), whatever the encoder. In float64.
"""

import pytest
import torch
from cases import MODELS, generator, images
from torch.distributions import MultivariateNormal

CASES = [case for case in MODELS if case.has_likelihood and case.gaussian_prior]
X = images(3).double()
STD = 1.5


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def model(request):
    """A method with a linear decoder that makes its latents matter."""
    model = request.param.build(
        decoder_config={"hidden_sizes": []}, output_activation="identity", observation_std=STD
    ).double()
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(2)
    return model.eval()


def evidence(model):
    layer = model.decoder.net[0]
    covariance = layer.weight @ layer.weight.T + STD**2 * torch.eye(64, dtype=torch.float64)
    return MultivariateNormal(layer.bias, covariance).log_prob(X.flatten(1)).detach()


def test_the_likelihood_converges_to_the_evidence(model):
    estimate = model.log_likelihood(X, num_samples=40_000, generator=generator(), batch_size=30_000)
    torch.testing.assert_close(estimate, evidence(model), atol=0.05, rtol=0)


def test_bounds_are_ordered(model):
    """ELBO < IWAE(4) < IWAE(8) < log p(x): averages of many independent bounds, within their error."""
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
