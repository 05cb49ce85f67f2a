"""beta-TC-VAE: its decomposition of the KL, and its estimates of the aggregated posterior."""

from math import log, pi

import pytest
import torch

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.models.beta_tc_vae import BetaTCVAEConfig, BetaTCVAEModel
from gae_hub.modules.posteriors import DiagonalGaussian

TINY = dict(
    input_shape=(1, 8, 8), latent_dim=3, encoder_config={"hidden_sizes": [16]}, decoder_config={"hidden_sizes": [16]}
)


def posterior_of(batch, seed=0):
    g = torch.Generator().manual_seed(seed)
    return DiagonalGaussian(
        torch.randn(batch, 3, generator=g, dtype=torch.float64),
        0.5 * torch.randn(batch, 3, generator=g, dtype=torch.float64),
    )


def test_terms_add_up_to_the_kl():
    """The terms sum to log q(z|x) - log p(z), whose mean over samples is the KL in closed form."""
    torch.manual_seed(0)
    posterior = posterior_of(8)
    model = BetaTCVAEModel(BetaTCVAEConfig(**TINY))
    sums = torch.stack(
        [sum(model.decompose_kl(posterior, *posterior.rsample_and_noise()).values()) for _ in range(4000)]
    )
    torch.testing.assert_close(sums.mean(0), posterior.kl(), atol=0.12, rtol=0)


@pytest.mark.parametrize("row", range(4))
def test_stratified_weights_are_unbiased(row):
    """Over random minibatches of 4 that contain a given example, the mean estimate is the mixture of all 12."""
    densities = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = BetaTCVAEModel(BetaTCVAEConfig(**TINY, dataset_size=12))
    weights = model.compute_log_mixture_weights(4).exp().double()[row]
    torch.testing.assert_close(weights.sum(), torch.ones((), dtype=torch.float64))
    g, estimates = torch.Generator().manual_seed(1), []
    for _ in range(4000):
        batch = densities[1:][torch.randperm(11, generator=g)[:4]]
        batch[row] = densities[0]
        estimates.append(weights @ batch)
    estimates = torch.stack(estimates)
    torch.testing.assert_close(estimates.mean(), densities.mean(), atol=4 * estimates.std().item() / 4000**0.5, rtol=0)


def test_total_correlation_for_a_minibatch_of_the_whole_data_set():
    """The mixture is then exact, and equals a sum over all pairs."""
    torch.manual_seed(1)
    posterior = posterior_of(5, seed=2)
    latents, noise = posterior.rsample_and_noise()
    density = (
        torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_var).exp())
        .log_prob(latents.unsqueeze(1))
        .exp()
    )
    expected = density.prod(-1).mean(1).log() - density.mean(1).log().sum(-1)
    parts = BetaTCVAEModel(BetaTCVAEConfig(**TINY)).decompose_kl(posterior, latents, noise)
    torch.testing.assert_close(parts["total_correlation"], expected)


def test_terms_for_tiny_variances():
    """In float32, with variances of exp(-80), far below the spacing of floats at the means: the values of float64."""
    means, log_var = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, 2.0]]), torch.full((3, 2), -80.0)
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    model = BetaTCVAEModel(BetaTCVAEConfig(**{**TINY, "latent_dim": 2}))
    parts = model.decompose_kl(DiagonalGaussian(means, log_var), means + (-40.0 * torch.ones(())).exp() * noise, noise)
    # each mixture consists of its own component, with weight 1 / 3
    own = (-0.5 * (log(2 * pi) - 80 + noise.double().square())).sum(1)
    torch.testing.assert_close(parts["mutual_information"].double(), torch.full_like(own, log(3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(parts["total_correlation"].double(), torch.full_like(own, log(3)), atol=1e-4, rtol=0)
    prior = (-0.5 * (log(2 * pi) + means.double().square())).sum(1)
    torch.testing.assert_close(parts["dimension_wise_kl"].double(), own - 2 * log(3) - prior, atol=1e-4, rtol=0)


def test_invalid_batches_and_fields():
    with pytest.raises(ValueError, match="needs at least 2 examples in a batch, got 1"):
        BetaTCVAEModel(BetaTCVAEConfig(**TINY))(torch.rand(1, 1, 8, 8))
    for fields in ({"alpha": -1}, {"gamma": float("nan")}, {"dataset_size": 0}, {"estimator": "exact"}):
        with pytest.raises(Exception, match=next(iter(fields))):
            BetaTCVAEConfig(**fields)


def test_weights_of_the_weighted_estimator():
    """1 / (batch size times data set size), as in the paper's code."""
    model = BetaTCVAEModel(BetaTCVAEConfig(**TINY, dataset_size=100, estimator="weighted"))
    assert torch.allclose(model.compute_log_mixture_weights(4).exp(), torch.full((4, 4), 1 / 400))


def test_trainer_sets_the_dataset_size(tmp_path):
    model = BetaTCVAEModel(BetaTCVAEConfig(**TINY))
    GAETrainer(model, GAETrainingArguments(str(tmp_path)), train_dataset=torch.rand(12, 1, 8, 8))
    assert model.config.dataset_size == 12
