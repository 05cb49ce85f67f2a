"""Figures of tables, signals and volumes, in the units of the data."""

import numpy as np
import pytest
import torch
from cases import VAE, generator, images
from matplotlib.figure import Figure

from gae_hub import GAEImageProcessor, plot
from gae_hub.data.latent_dimensions import decode_traversals, measure_latents
from gae_hub.images.normalization import Normalization
from gae_hub.images.tiles import to_image

STANDARDIZED = Normalization("standardize", (10, 20, 30), (1, 2, 3))
PROCESSOR = GAEImageProcessor((3,), normalization=STANDARDIZED, column_names=["a", "b", "c"])


@pytest.fixture
def table():
    return VAE.build(input_shape=(3,), latent_dim=2).eval(), images(40, (3,))


def in_units(values):
    return values.double() * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([10.0, 20.0, 30.0])


def test_tables_are_in_the_units_of_the_data(table):
    model, x = table
    figure = plot.plot_reconstructions(model, x, processor=PROCESSOR)
    expected = torch.stack([in_units(x), in_units(model.reconstruct(x))], 2)
    for column, axis in enumerate(figure.axes):
        np.testing.assert_allclose(axis.collections[0].get_offsets(), expected[:, column], rtol=1e-6)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    samples = plot.plot_samples(model, 100, data=x, processor=PROCESSOR)
    area, line = samples.axes[0].patches
    values = in_units(model.generate(100, generator=generator()))[:, 0]
    np.testing.assert_allclose(line.get_data().values, np.histogram(values, line.get_data().edges)[0] / 100)
    np.testing.assert_allclose(area.get_data().values, np.histogram(in_units(x)[:, 0], area.get_data().edges)[0] / 40)


def test_paths_of_tables_are_lines(table):
    model, x = table
    figure = plot.plot_interpolation(model, x[:2], x[2:4], num_steps=5, processor=PROCESSOR)
    expected = in_units(model.interpolate(x[:2], x[2:4], 5))
    for column, axis in enumerate(figure.axes):
        for path, line in zip(expected, axis.lines, strict=True):
            np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, 5))
            np.testing.assert_allclose(line.get_ydata(), path[:, column], rtol=1e-6)
    traversal = plot.plot_traversals(model, x, processor=PROCESSOR, num_steps=5)
    order = measure_latents(model, x)["order"]
    rows, _ = decode_traversals(model, x, order, 5)
    np.testing.assert_allclose(traversal.axes[1].lines[0].get_ydata(), in_units(rows)[0, :, 1], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 9), (3, 8, 8), (1, 3, 8, 8)])
def test_every_kind_of_data(shape):
    model, x = VAE.build(input_shape=shape).eval(), images(12, shape)
    drawn = [
        plot.plot_samples(model),
        plot.plot_reconstructions(model, x),
        plot.plot_interpolation(model, x[:4], x[4:8]),
        plot.plot_traversals(model, x),
        plot.plot_embeddings(model, x),
        plot.plot_latent_usage(model, x),
    ]
    for figure in drawn:
        to_image(figure)
        assert isinstance(figure, Figure) and figure.axes
