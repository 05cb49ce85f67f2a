"""Samples and reconstructions: the drawn pixels are the model's output."""

import subprocess
import sys

import numpy as np
import pytest
from cases import AE, generator, images
from matplotlib.figure import Figure
from plot.artists import grey, pixels, texts

from gae_hub import GaussianMixtureSampler, plot

X = images(30)


def test_pyplot_is_not_imported():
    code = """
import sys, torch
from gae_hub import BetaVAEConfig, BetaVAEModel, plot
assert not any(name.startswith("matplotlib") for name in sys.modules)
plot.plot_samples(BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8))), 4).savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, "/dev/stdout"], check=True, capture_output=True)


def test_samples(model):
    figure = plot.plot_samples(model, 6, seed=3, title="T")
    assert isinstance(figure, Figure) and texts(figure) == ["T"]
    np.testing.assert_array_equal(pixels(figure), grey(model.generate(6, generator=generator(3))))
    assert len(plot.plot_samples(model).axes[0].images) == 64
    sampler = GaussianMixtureSampler(num_components=2).fit(model.embed(X))
    figure = plot.plot_samples(model, 5, sampler)
    np.testing.assert_array_equal(pixels(figure), grey(model.generate(5, sampler, generator(0))))
    with pytest.raises(ValueError, match=r"data is for tables, .*, got examples of shape \(1, 8, 8\)"):
        plot.plot_samples(model, data=X)
    with pytest.raises(NotImplementedError, match="has no prior"):
        plot.plot_samples(AE.build())


def test_examples():
    np.testing.assert_array_equal(pixels(plot.plot_examples(X[:7])), grey(X[:7]))


def test_reconstructions_are_below_their_inputs(model):
    figure = plot.plot_reconstructions(model, X, 15)
    drawn = pixels(figure).reshape(4, 12, 8, 8)  # the second pair of rows has 3 images
    inputs, outputs = grey(X[:15]), grey(model.reconstruct(X[:15]))
    np.testing.assert_array_equal(drawn[0], inputs[:12])
    np.testing.assert_array_equal(drawn[1], outputs[:12])
    np.testing.assert_array_equal(drawn[2, :3], inputs[12:])
    np.testing.assert_array_equal(drawn[3, :3], outputs[12:])
    assert (drawn[2:, 3:] == 255).all()
    assert texts(figure) == ["Reconstructions", "input", "output", "input", "output"]


def test_data_sets_are_read_as_the_trainer_reads_them(model, digits):
    """Also uint8 arrays, of which the first examples are drawn."""
    train, _ = digits
    expected = pixels(plot.plot_reconstructions(model, train.read(range(12))))
    for data in (train, train.pixel_values.numpy()):
        np.testing.assert_array_equal(pixels(plot.plot_reconstructions(model, data)), expected)
    with pytest.raises(ValueError, match=r"expected examples of the model's input_shape \(1, 8, 8\), got"):
        plot.plot_reconstructions(model, images(3, (1, 9, 9)))
