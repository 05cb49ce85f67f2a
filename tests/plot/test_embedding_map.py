"""Maps of embeddings: the places and colours of the points."""

import itertools
import sys

import numpy as np
import pytest
import torch
from cases import VAE, generator, images
from plot.artists import points, texts
from torch.utils.data import IterableDataset

from gae_hub import plot

X = images(30)


def test_two_dimensions_are_drawn_as_they_are():
    model = VAE.build(latent_dim=2).eval()
    expected = model.embed(X).numpy().astype(np.float64)
    figure = plot.plot_embeddings(model, X)
    np.testing.assert_allclose(points(figure), expected[np.lexsort(expected.T)])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("z[0]", "z[1]")


def test_principal_components(model):
    z = torch.randn(200, 5, generator=generator()) * torch.tensor([0.1, 3.0, 0.2, 2.0, 0.1]) + 7
    figure = plot.plot_embedding_map(z)
    centred = (z.double() - z.double().mean(0)).numpy()
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions * np.sign(np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1))
    expected = centred @ directions[:2].T
    np.testing.assert_allclose(points(figure), expected[np.lexsort(expected.T)], atol=1e-9)
    shares = singular**2 / (singular**2).sum()
    assert figure.axes[0].get_xlabel() == f"component 1 ({shares[0]:.0%} of the variance)"
    assert figure.axes[0].get_ylabel() == f"component 2 ({shares[1]:.0%} of the variance)"


def test_latents_with_more_dimensions_than_examples():
    """A covariance of 100,000 dimensions would need 80 GB."""
    z = torch.zeros(40, 100_000)
    z[:, [5, 9]] = torch.randn(40, 2, generator=generator()) * torch.tensor([1.0, 3.0])
    wide, narrow = plot.plot_embedding_map(z), plot.plot_embedding_map(z[:, [5, 9, 0]])
    np.testing.assert_allclose(points(wide), points(narrow), atol=1e-6)
    assert wide.axes[0].get_xlabel() == narrow.axes[0].get_xlabel()


def test_the_first_examples_of_a_stream_are_drawn(model):
    class Endless(IterableDataset):
        def __iter__(self):
            yield from ({"pixel_values": X[k % 30]} for k in itertools.count())

    figure = plot.plot_embeddings(model, Endless(), num_examples=7)
    assert len(points(figure)) == 7


def test_colours_of_classes():
    """Each point has the colour of its class in the legend; points are drawn in a random order."""
    z, labels = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    figure = plot.plot_embedding_map(z, labels, label_names=["a", "b", "c"])
    drawn, *keys = figure.axes[0].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert texts(figure)[-3:] == ["a", "b", "c"] and len(keys) == 3  # the names at the medians of their classes
    for text, label in zip(figure.axes[0].texts[-3:], range(3), strict=True):
        np.testing.assert_allclose(text.get_position(), np.median(z[labels == label], 0))
    offsets, colours = np.asarray(drawn.get_offsets()), drawn.get_facecolors()
    for place, colour in zip(offsets, colours, strict=True):
        label = labels[(z == place).all(1).argmax()]
        np.testing.assert_allclose(colour[:3], keys[label].get_facecolors()[0][:3])
    assert not np.array_equal(offsets, z)


def test_more_than_ten_classes_have_other_markers_and_missing_labels_are_grey():
    z, labels = np.random.default_rng(0).normal(size=(260, 2)), np.arange(260) % 13 - 1
    figure = plot.plot_embedding_map(z, labels)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*map(str, range(12)), "no label"] and len(points(figure)) == 260
    keys = [c for c in figure.axes[0].collections if len(c.get_offsets()) == 0]
    looks = {(tuple(c.get_facecolors()[0]), len(c.get_paths()[0].vertices)) for c in keys}
    assert len(looks) == 13


def test_numbers_and_many_classes_have_a_scale():
    z = np.random.default_rng(0).normal(size=(50, 2))
    for labels in (np.linspace(0, 1, 50), np.arange(50), np.array([f"name {i:02}" for i in range(50)])):
        figure = plot.plot_embedding_map(z, labels)
        (drawn,) = figure.axes[0].collections
        order = [(z == place).all(1).argmax() for place in np.asarray(drawn.get_offsets())]
        values = np.arange(50) if labels.dtype.kind == "U" else labels
        np.testing.assert_allclose(drawn.get_array(), values[order])
        assert len(figure.axes) == 2 and not figure.legends


def test_labels_of_the_data_set(model, digits):
    train, _ = digits
    figure = plot.plot_embeddings(model, train, num_examples=100)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(i) for i in range(10)]
    assert len(points(figure)) == 100 and "100 examples, PCA of 4 dimensions" in texts(figure)


def test_a_part_of_the_data_has_its_own_labels():
    model = VAE.build(latent_dim=2).eval()
    labels = np.linspace(0, 1, 30)
    (drawn,) = plot.plot_embeddings(model, X, labels, num_examples=8).axes[0].collections
    z = model.embed(X).double().numpy()
    for place, value in zip(np.asarray(drawn.get_offsets()), drawn.get_array(), strict=True):
        assert value == pytest.approx(labels[np.abs(z - place).sum(1).argmin()]) and len(drawn.get_offsets()) == 8


def test_tsne_is_seeded():
    z = np.random.default_rng(0).normal(size=(40, 5))
    first, again = (plot.plot_embedding_map(z, method="tsne", seed=1) for _ in range(2))
    np.testing.assert_array_equal(points(first), points(again))
    assert "40 examples, t-SNE of 5 dimensions" in texts(first) and first.axes[0].get_xticks().size == 0


def test_maps_and_single_dimensions():
    z = images(9, (2, 3, 3))
    np.testing.assert_allclose(points(plot.plot_embedding_map(z)), points(plot.plot_embedding_map(z.flatten(1))))
    one = plot.plot_embedding_map(z[:, 0, 0, :1])
    np.testing.assert_allclose(np.sort(points(one)[:, 0]), np.sort(z[:, 0, 0, 0].numpy()), rtol=1e-6)


def test_errors_of_maps(model, monkeypatch):
    with pytest.raises(ValueError, match="method must be one of pca, tsne, umap, got the text 'mds'"):
        plot.plot_embedding_map(X, method="mds")
    with pytest.raises(ValueError, match="there are 30 embeddings, but 3 labels"):
        plot.plot_embedding_map(X, [1, 2, 3])
    with pytest.raises(ValueError, match="there are 30 examples, but 3 labels"):
        plot.plot_embeddings(model, X, [1, 2, 3])
    with pytest.raises(ValueError, match="a map needs 3 or more embeddings, got 2"):
        plot.plot_embedding_map(X[:2])
    with pytest.raises(ValueError, match="embeddings hold nan or infinite values: check whether the training"):
        plot.plot_embedding_map(torch.full((9, 3), torch.nan))
    monkeypatch.setattr("gae_hub.plot.embedding_map.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="method 'umap' needs umap-learn: pip install umap-learn"):
        plot.plot_embedding_map(X, method="umap")


def test_umap(monkeypatch):
    """With the package's interface: the places are those that it returns."""

    class UMAP:
        def __init__(self, random_state, n_jobs):
            assert (random_state, n_jobs) == (5, 1)

        def fit_transform(self, points):
            return points[:, :2] * 2

    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    sys.modules["umap"].UMAP = UMAP
    monkeypatch.setattr("gae_hub.plot.embedding_map.find_spec", lambda name: object())
    z = np.random.default_rng(0).normal(size=(9, 4))
    expected = z[:, :2] * 2
    found = points(plot.plot_embedding_map(z, method="umap", seed=5))
    np.testing.assert_allclose(found, expected[np.lexsort(expected.T)])
