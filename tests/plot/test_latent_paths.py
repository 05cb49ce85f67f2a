"""Interpolations and traversals: the drawn pixels are the model's output."""

import numpy as np
import pytest
import torch
from cases import AE, MODELS, images
from plot.artists import grey, pixels, texts

from gae_hub import plot
from gae_hub.data.latent_dimensions import decode_traversals, measure_latents

VQ = next(case for case in MODELS if case.id == "vq_vae")
X = images(30)


def test_interpolation(model):
    figure = plot.plot_interpolation(model, X[:3], X[3:6], num_steps=5)
    np.testing.assert_array_equal(pixels(figure), grey(model.interpolate(X[:3], X[3:6], 5)))
    assert texts(figure) == ["Interpolation through the latent space", "start", "", "", "", "end"]
    assert len(plot.plot_interpolation(model, X, X, num_steps=3, num_pairs=2).axes[0].images) == 6


def test_traversals_are_ordered_by_kl(model):
    with torch.no_grad():
        model.head.weight[2] *= 30  # the mean of z[2]
    figure = plot.plot_traversals(model, X, num_dimensions=3, num_steps=5)
    usage = measure_latents(model, X)
    kl = model.encode(X).kl_per_dimension().mean(0)
    assert usage["order"] == kl.argsort(descending=True).tolist() and usage["order"][0] == 2
    rows, _ = decode_traversals(model, X, usage["order"][:3], 5)
    np.testing.assert_array_equal(pixels(figure), grey(rows))
    labels = [f"z[{d}]  {kl[d]:.2f} nats" for d in usage["order"][:3]]
    assert texts(figure) == ["Latent traversals", "−2σ", "−1σ", "mean", "+1σ", "+2σ", *labels]
    chosen = plot.plot_traversals(model, X, dimensions=[1], num_steps=5)
    np.testing.assert_array_equal(pixels(chosen), grey(decode_traversals(model, X, [1], 5)[0]))


def test_traversals_of_a_model_without_kl():
    figure = plot.plot_traversals(AE.build(latent_dim=2).eval(), X)
    assert texts(figure)[-1].endswith("variance") and len(figure.axes[0].images) == 18


def test_errors_of_traversals(model):
    with pytest.raises(ValueError, match="dimensions must be integers from 0 to 3, got 4"):
        plot.plot_traversals(model, X, dimensions=[4])
    with pytest.raises(ValueError, match="traversals need 2 or more examples"):
        plot.plot_traversals(model, X[:1])
    maps = VQ.build(encoder_config="conv", decoder_config="conv")
    for function in (plot.plot_traversals, plot.plot_latent_usage):
        with pytest.raises(ValueError, match="VQVAEModel has latent maps of shape"):
            function(maps, X)
