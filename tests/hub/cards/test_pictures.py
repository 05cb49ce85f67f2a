"""Pictures for a card: which are drawn, and the latent traversal."""

import pytest
import torch
from cases import AE, VAE, generator, images

from gae_hub import GenerationPipeline
from gae_hub.data.latent_dimensions import decode_traversals
from gae_hub.hub.cards import pictures
from gae_hub.hub.cards.pictures import draw_pictures
from gae_hub.images.examples import draw_rows
from gae_hub.images.normalization import Normalization
from gae_hub.images.processing import GAEImageProcessor


def test_pictures_are_drawn_for_a_pipeline_but_not_for_a_checkpoint(tmp_path):
    model = VAE.build()
    model.examples = images(16)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "assets").exists() and "Output, captured" not in (tmp_path / "README.md").read_text()
    GenerationPipeline(model).save_pretrained(tmp_path)
    assert {path.stem for path in (tmp_path / "assets").iterdir()} == {
        "samples",
        "reconstructions",
        "interpolations",
        "traversal",
    }


def test_a_model_without_a_prior_has_no_samples(tmp_path):
    GenerationPipeline(AE.build()).save_pretrained(tmp_path)
    assert not (tmp_path / "assets" / "samples.png").exists() and (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5,), {"samples", "reconstructions"}),
        ((2, 30), {"samples", "reconstructions", "interpolations", "traversal"}),
        ((2, 8, 8), {"samples", "reconstructions", "interpolations", "traversal"}),
        ((1, 4, 8, 8), {"samples", "reconstructions", "interpolations", "traversal"}),
        ((1, 2, 3, 4, 5), set()),
    ],
)
def test_pictures_of_other_data(tmp_path, shape, expected):
    model = VAE.build(input_shape=shape)
    model.examples = images(8, shape)
    GenerationPipeline(model).save_pretrained(tmp_path)
    assert {path.stem for path in (tmp_path / "assets").glob("*")} == expected
    assert (tmp_path / "README.md").read_text().count("url: assets/") == len(expected)


def test_pictures_are_in_the_units_of_the_data(tmp_path, monkeypatch):
    drawn = {}
    for name in ("draw_samples", "draw_reconstructions", "draw_rows"):
        draw = getattr(pictures, name)
        monkeypatch.setattr(pictures, name, lambda *a, n=name, d=draw: drawn.setdefault(n, a) and d(*a))
    model = VAE.build(input_shape=(2, 30)).eval()
    model.examples = images(8, (2, 30))
    GAEImageProcessor((2, 30), normalization=Normalization("standardize", (10, -5), (2, 4))).save_pretrained(tmp_path)
    draw_pictures(model, tmp_path, {"latents": {"order": [0]}})
    scale, shift = torch.tensor([[2.0], [4.0]]), torch.tensor([[10.0], [-5.0]])
    originals, reconstructions, _ = drawn["draw_reconstructions"]
    torch.testing.assert_close(originals.float(), model.examples * scale + shift)
    torch.testing.assert_close(reconstructions.float(), model.reconstruct(model.examples) * scale + shift)
    samples, _, data, _ = drawn["draw_samples"]
    torch.testing.assert_close(samples.float(), model.generate(64, generator=generator()) * scale + shift)
    torch.testing.assert_close(data.float(), originals.float())
    rows = drawn["draw_rows"][0]
    torch.testing.assert_close(rows.float(), model.interpolate(*model.examples.split(4)) * scale + shift)


def test_the_map_of_embeddings_needs_classes(tmp_path, monkeypatch):
    drawn = []
    plot = pictures.plot_embedding_map
    monkeypatch.setattr(pictures, "plot_embedding_map", lambda *a, **k: drawn.append((a, k)) or plot(*a, **k))
    model = VAE.build().eval()
    model.examples = images(16)
    for labels in (None, torch.zeros(16, dtype=torch.int64), torch.arange(7)):
        model.example_labels = labels
        draw_pictures(model, tmp_path, {})
        assert not drawn and not (tmp_path / "assets" / "embeddings.png").exists()
    model.example_labels, model.label_names = torch.arange(16) % 3, ("a", "b", "c")
    draw_pictures(model, tmp_path, {})
    (((embeddings, labels), names),) = drawn
    assert torch.equal(embeddings, model.embed(model.examples)) and labels.tolist() == [i % 3 for i in range(16)]
    assert names == {"label_names": ("a", "b", "c")} and (tmp_path / "assets" / "embeddings.png").is_file()


def test_rows_of_the_traversal_are_labelled(tmp_path, monkeypatch):
    """With the index of the latent and the range that it takes in the row."""
    drawn = []
    monkeypatch.setattr(pictures, "draw_rows", lambda *args: drawn.append(args) or draw_rows(*args))
    model = VAE.build(latent_dim=3).eval()
    model.examples = images(16)
    draw_pictures(model, tmp_path, {"latents": {"order": [2, 0]}})
    z = model.embed(model.examples)[:, [2, 0]]
    low, high = z.mean(0) - 2 * z.std(0), z.mean(0) + 2 * z.std(0)
    assert drawn[-1][2] == [f"z[{d}]  {low[i]:.2g} to {high[i]:.2g}" for i, d in enumerate((2, 0))]


def test_latent_traversal():
    """The middle image of a row has the mean of its dimension; the other dimensions stay."""
    model, examples = VAE.build(latent_dim=3).eval(), images()
    rows, ranges = decode_traversals(model, examples, [1, 2], num_steps=5)
    assert rows.shape == (2, 5, 1, 8, 8)
    embeddings = model.embed(examples)
    for row, dimension in ((0, 1), (1, 2)):
        latents = embeddings[:1].clone()
        latents[:, dimension] = embeddings[:, dimension].mean()
        assert rows[row, 2].allclose(model.decode(latents)[0], atol=1e-6)
        mean, std = embeddings[:, dimension].mean().item(), embeddings[:, dimension].std().item()
        assert ranges[row] == pytest.approx((mean - 2 * std, mean + 2 * std), rel=1e-5, abs=1e-5)
