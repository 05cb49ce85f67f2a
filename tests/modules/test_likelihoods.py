"""Every likelihood is a density: it integrates to 1, its mean is the activation, and its samples follow it."""

from math import prod

import numpy as np
import pytest
import torch
from cases import LIKELIHOODS, MODELS, generator, images
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from scipy import stats

from gae_hub import VAEConfig
from gae_hub.modules.likelihoods import LIKELIHOODS as REGISTRY
from gae_hub.modules.likelihoods import Gaussian, build_likelihood, register_likelihood

EACH = pytest.mark.parametrize("case", LIKELIHOODS, ids=lambda case: case.id)
LOGITS = torch.tensor([-30.0, -3.0, -0.6, -0.4, -0.099, -1e-3, 0.0, 1e-3, 0.101, 0.4, 0.6, 3.0, 30.0]).double()


def build(case, shape=(1,)):
    """The likelihood of a row, in float64, with a variance that is not 1 where it is learned."""
    likelihood = build_likelihood(case.config_class(input_shape=shape, **case.fields)).double().eval()
    if case.id == "gaussian, optimal":
        likelihood.variance.fill_(0.25)
    return likelihood


def log_density(likelihood, x, logits):
    """log p(x|z), (num,), for one pixel each."""
    x, logits = x.unsqueeze(-1), logits.unsqueeze(-1)
    return likelihood.log_prob(x, logits, likelihood.activation(logits)) + likelihood.constant()


def integration_points(case):
    """Points and weights of an integral (or sum) over a pixel."""
    if case.support is None:
        return torch.tensor([0.0, 1.0]).double(), torch.ones(2).double()
    low, high = case.support
    points = torch.linspace(low, high, 400_001, dtype=torch.float64)
    weights = torch.full_like(points, (high - low) / 400_000)
    weights[[0, -1]] /= 2
    return points, weights


def test_every_likelihood_has_a_row():
    missing = set(REGISTRY) - {case.name for case in LIKELIHOODS}
    assert not missing, f"add a row for {', '.join(missing)} to LIKELIHOODS in tests/cases.py"


@EACH
def test_density_integrates_to_one_and_has_the_activation_as_its_mean(case):
    likelihood, (x, weights) = build(case), integration_points(case)
    for logit in LOGITS:
        density = log_density(likelihood, x, logit.expand(len(x))).exp() * weights
        torch.testing.assert_close(density.sum(), torch.tensor(1.0).double(), atol=1e-7, rtol=0)
        torch.testing.assert_close((density * x).sum(), likelihood.activation(logit), atol=1e-7, rtol=0)


@EACH
def test_log_prob_equals_torch_distributions(case):
    likelihood, logits = build(case), LOGITS[1:-1]
    x = torch.rand(len(logits), generator=generator()).double()
    if case.support is None:
        x = x.round()
    expected = case.distribution(logits).log_prob(x)
    torch.testing.assert_close(log_density(likelihood, x, logits), expected, atol=1e-8, rtol=1e-8)


@EACH
@pytest.mark.parametrize("logit", [-4.0, 0.0, 0.05, 2.0])
def test_samples_follow_the_density(case, logit):
    likelihood = build(case)
    logits = torch.full((20_000,), logit).double()
    drawn = likelihood.sample(logits, generator())
    assert torch.equal(drawn, likelihood.sample(logits, generator()))
    x, weights = integration_points(case)
    density = log_density(likelihood, x, torch.full_like(x, logit)).exp() * weights
    if case.support is None:
        assert set(drawn.tolist()) <= {0.0, 1.0}
        assert drawn.mean() == pytest.approx(density[1].item(), abs=4 * (0.25 / 20_000) ** 0.5)
    else:
        cumulative = density.cumsum(0)
        test = stats.kstest(drawn, lambda values: np.interp(values, x, cumulative))
        assert test.pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_continuous_bernoulli_is_smooth_everywhere(dtype):
    """Gradient of log p is x - mean: by series about 0, and finite at huge logits."""
    likelihood = build_likelihood(VAEConfig(input_shape=(1,), likelihood="continuous_bernoulli"))
    steps = torch.linspace(-1, 1, 4001, dtype=dtype)
    logits = torch.cat([steps, 1e-3 * steps, 300 * steps]).unsqueeze(1).requires_grad_()
    x = torch.rand(logits.shape, generator=generator()).to(dtype)
    mean = likelihood.activation(logits)
    likelihood.log_prob(x, logits, mean).sum().backward()
    tolerance = 1e-11 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(logits.grad, (x - mean).detach(), atol=tolerance, rtol=0)
    exact = REGISTRY["continuous_bernoulli"].activation(likelihood, logits.detach().double())
    torch.testing.assert_close(mean.detach().double(), exact, atol=tolerance, rtol=0)
    order = logits.detach().squeeze(1).argsort()
    assert (mean.detach().squeeze(1)[order].diff() > -tolerance).all() and 0 <= mean.min() and mean.max() <= 1


@EACH
def test_pixels_are_summed_and_draws_kept_apart(case):
    likelihood = build(case, shape=(2, 3, 4))
    logits = torch.randn(5, 7, 2, 3, 4, generator=generator()).double()
    x = torch.rand(5, 1, 2, 3, 4, generator=generator(1)).double().round().expand_as(logits)
    whole = likelihood.log_prob(x, logits, likelihood.activation(logits)) + likelihood.constant()
    one = log_density(build(case), x.flatten(), logits.flatten()).view(5, 7, -1).sum(-1)
    assert whole.shape == (5, 7)
    torch.testing.assert_close(whole, one)


def method_of(case):
    """The row of the method that a likelihood comes with: the VAE for those of the library."""
    return next(model for model in MODELS if model.model_class.config_class is case.config_class)


@EACH
def test_training_with_every_likelihood(case):
    model = method_of(case).build(**case.fields).train()
    x = images(20).round() if case.support is None else images(20)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = model(x, generator=generator()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval()
    constant, size = model.likelihood.constant(), prod(model.config.input_shape)
    assert model.log_likelihood(x, 20, generator=generator()).shape == (20,)
    assert abs(constant) < 10 * size
    drawn = model.sample_pixel_values(model.embed(x), generator())
    assert drawn.shape == x.shape and torch.equal(drawn, model.sample_pixel_values(model.embed(x), generator()))
    assert not torch.equal(drawn, model.reconstruct(x))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"likelihood": "laplac"}, "likelihood 'laplac' is not registered; did you mean 'laplace'?"),
        ({"likelihood": "laplace", "observation_std": "optimal"}, "observation_std 'optimal' needs likelihood"),
        (
            {"likelihood": "bernoulli", "output_activation": "identity"},
            "'bernoulli' needs output_activation 'sigmoid'",
        ),
        ({"likelihood": "continuous_bernoulli", "output_activation": "identity"}, "'continuous_bernoulli' needs out"),
    ],
)
def test_settings_that_do_not_fit(fields, message):
    with pytest.raises(StrictDataclassError) as error:
        VAEConfig(**fields)
    assert message in str(error.value)


class GaussianWithTilt(Gaussian):
    config_fields = ("tilt",)


def test_registered_names(monkeypatch):
    """A class that is defined again replaces itself; the name of another class is an error."""
    for name in ("gaussian", "own"):
        monkeypatch.setitem(REGISTRY, name, Gaussian)
    again = type("Gaussian", (Gaussian,), {"__module__": Gaussian.__module__, "__qualname__": Gaussian.__qualname__})
    register_likelihood("own", again)
    assert REGISTRY["own"] is again
    with pytest.raises(
        ValueError, match=r"'own' is already gae_hub.modules.likelihoods.Gaussian: choose another name"
    ):
        register_likelihood("own", type("Other", (Gaussian,), {}))
    assert REGISTRY["own"] is again and REGISTRY["gaussian"] is Gaussian


def test_a_likelihood_with_a_field_of_its_own(monkeypatch):
    monkeypatch.setitem(REGISTRY, "tilted", GaussianWithTilt)
    with pytest.raises(StrictDataclassError, match="likelihood 'tilted' reads tilt, which VAEConfig does not have"):
        VAEConfig(likelihood="tilted")

    @strict
    class TiltedVAEConfig(VAEConfig):
        model_type = "gae_tilted_vae"
        likelihood: str = "tilted"
        tilt: float = 0.5

    assert isinstance(build_likelihood(TiltedVAEConfig()), GaussianWithTilt)
