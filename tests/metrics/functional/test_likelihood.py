"""Bits per dimension, active units and KL divergences with known values."""

import numpy as np
import pytest
import torch
from cases import VAE, images

from gae_hub.metrics import active_units, evaluate_model, summarize_log_likelihoods


def test_log_likelihood_and_bits():
    values = torch.tensor([-10.0, -12.0, -14.0])
    found = summarize_log_likelihoods(values, num_dims=4)
    assert found["log_likelihood"].value == -12 and found["log_likelihood"].error == pytest.approx(2 / 3**0.5)
    assert found["bits_per_dimension"].value == pytest.approx(12 / (4 * np.log(2)) + 8)
    discrete = summarize_log_likelihoods(values, 4, discrete=True)
    assert discrete["bits_per_dimension"].value == pytest.approx(3 / np.log(2))
    with pytest.raises(ValueError, match="values of the log-likelihood must be finite, but 1 of 2 values"):
        summarize_log_likelihoods(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="the data set is empty"):
        summarize_log_likelihoods(torch.zeros(0))


def test_uniform_images_have_eight_bits():
    """The density of uniform noise in [0, 1] is 1: 8 bits for each pixel of 256 levels."""
    assert summarize_log_likelihoods(torch.zeros(5), num_dims=64)["bits_per_dimension"].value == 8


def test_active_units():
    means = torch.zeros(100, 3)
    means[::2, 1] = 1
    assert active_units(means) == 1


def test_kl_of_a_model():
    model, x = VAE.build(), images(30)
    found = evaluate_model(model, x, ["latent_usage"])
    posterior = model.encode(x)
    assert found["kl"] == pytest.approx(posterior.kl().mean().item(), rel=1e-5)
    each = found["kl_per_dimension"].passport.details["kl_of_each_dimension"]
    assert each == pytest.approx(posterior.kl_per_dimension().mean(0).tolist(), rel=1e-5)
