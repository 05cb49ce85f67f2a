"""Figures show what the model computes: pixels, points, bars and lines are read back from the artists."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from cases import AE, MODELS, VAE, generator, images
from matplotlib.figure import Figure

from gae_hub import GAEImageProcessor, GAETrainer, GAETrainingArguments, GaussianMixtureSampler, HRQVAEModel, plot
from gae_hub.data.latent_dimensions import measure_latents, traverse_latents
from gae_hub.images.normalization import Normalization

VQ = next(case for case in MODELS if case.id == "vq_vae")
X = images(30)


@pytest.fixture
def model():
    return VAE.build(latent_dim=4).eval()


def pixels(figure):
    """(num, height, width): the grey images of a figure."""
    return np.stack([image.get_array() for image in figure.axes[0].images])


def grey(values):
    """Values (*batch, 1, height, width) as grey levels (num, height, width)."""
    return (255 * values.flatten(0, -4).clamp(0, 1))[:, 0].round().numpy()


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_pyplot_is_not_imported():
    code = """
import sys, torch
from gae_hub import BetaVAEConfig, BetaVAEModel, plot
assert not any(name.startswith("matplotlib") for name in sys.modules)
plot.plot_samples(BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8))), 4).savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, "/dev/stdout"], check=True, capture_output=True, timeout=120)


# Examples


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


# Paths


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
    rows, _ = traverse_latents(model, X, usage["order"][:3], 5)
    np.testing.assert_array_equal(pixels(figure), grey(rows))
    labels = [f"z[{d}]  {kl[d]:.2f} nats" for d in usage["order"][:3]]
    assert texts(figure) == ["Latent traversals", "−2σ", "−1σ", "mean", "+1σ", "+2σ", *labels]
    chosen = plot.plot_traversals(model, X, dimensions=[1], num_steps=5)
    np.testing.assert_array_equal(pixels(chosen), grey(traverse_latents(model, X, [1], 5)[0]))


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


# Other data


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
    rows, _ = traverse_latents(model, x, order, 5)
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
        figure.canvas.draw()
        assert isinstance(figure, Figure) and figure.axes


# Embeddings


def points(figure):
    """(num, 2): the places of all points of a map, sorted."""
    found = np.concatenate([np.asarray(c.get_offsets()).reshape(-1, 2) for c in figure.axes[0].collections])
    return found[np.lexsort(found.T)]


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


# Codebooks, latent dimensions and losses


def test_use_of_a_codebook():
    model = VQ.build(num_embeddings=8).eval()
    codes = model.encode_codes(X).flatten()
    counts = np.bincount(codes.numpy(), minlength=8)
    figure = plot.plot_codebook_usage(model, X)
    (bars,) = figure.axes[0].patches
    np.testing.assert_allclose(bars.get_data().values, 100 * np.sort(counts)[::-1] / counts.sum())
    p = counts[counts > 0] / counts.sum()
    perplexity = np.exp(-(p * np.log(p)).sum())
    assert f"{(counts > 0).sum()} of 8 codes used, perplexity {perplexity:.1f}" in texts(figure)
    assert figure.axes[0].lines[0].get_ydata()[0] == 100 / 8
    with pytest.raises(ValueError, match="VAEModel has no codebook: expected a model such as VQVAEModel"):
        plot.plot_codebook_usage(VAE.build(), X)


def test_use_of_the_codebooks_of_levels():
    networks = {"encoder_config": "conv", "decoder_config": "conv"}
    fields = {"input_shape": (1, 8, 8), "latent_dim": 3, "num_embeddings": 6, "num_levels": 2}
    config = HRQVAEModel.config_class(**fields, **networks)
    model = HRQVAEModel(config).eval()
    codes = model.encode_codes(X).reshape(-1, 2).numpy()
    figure = plot.plot_codebook_usage(model, X, batch_size=7)
    assert len(figure.axes[0].patches) == 2
    for level, line in enumerate(figure.axes[0].patches):
        counts = np.sort(np.bincount(codes[:, level], minlength=6))[::-1]
        np.testing.assert_allclose(line.get_data().values, 100 * counts / counts.sum())


def test_use_of_latent_dimensions(model):
    figure = plot.plot_latent_usage(model, X)
    kl = model.encode(X).kl_per_dimension().mean(0).sort(descending=True)
    np.testing.assert_allclose([bar.get_height() for bar in figure.axes[0].patches], kl.values.detach(), atol=1e-4)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [str(int(d)) for d in kl.indices]
    assert figure.axes[0].get_ylabel() == "KL to the prior, nats"
    many = plot.plot_latent_usage(VAE.build(latent_dim=64), X).axes[0]
    assert len(many.patches) == 64 and many.get_xlabel() == "latent dimensions, by their rank"


def test_losses(model, tmp_path):
    log = [{"epoch": e, "loss": 3.0 / e, "kl": 1.0} for e in (1, 2)] + [{"epoch": 2, "eval_loss": 2.0}]
    loss, _ = plot.plot_losses(log).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3.0, 1.5], [2.0]]
    with pytest.raises(ValueError, match="there are no losses: pass trainer.state.log_history"):
        plot.plot_losses(model)
    args = GAETrainingArguments(str(tmp_path), max_steps=2, logging_steps=1, report_to="none", disable_tqdm=True)
    trainer = GAETrainer(model, args, train_dataset=X)
    trainer.train()
    drawn = plot.plot_losses(model).axes[0].lines[0].get_ydata()
    assert list(drawn) == [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
