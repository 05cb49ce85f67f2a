"""Pictures for a card: which are drawn, and the latent traversal."""

import pytest
from cases import AE, VAE, images

from gae_hub import GenerationPipeline
from gae_hub.hub.cards import pictures
from gae_hub.hub.cards.pictures import draw_pictures, traverse_latents
from gae_hub.images.grids import image_grid


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


def test_data_that_are_not_images_have_no_pictures(tmp_path):
    GenerationPipeline(VAE.build(input_shape=(2, 8, 8))).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").is_file() and not (tmp_path / "assets").exists()


def test_rows_of_the_traversal_are_labelled(tmp_path, monkeypatch):
    """With the index of the latent and the range that it takes in the row."""
    drawn = []
    monkeypatch.setattr(pictures, "image_grid", lambda *args, **kwargs: drawn.append(kwargs) or image_grid(*args))
    model = VAE.build(latent_dim=3).eval()
    model.examples = images(16)
    draw_pictures(model, tmp_path, {"latents": {"order": [2, 0]}})
    z = model.embed(model.examples)[:, [2, 0]]
    low, high = z.mean(0) - 2 * z.std(0), z.mean(0) + 2 * z.std(0)
    assert drawn[-1]["row_labels"] == [f"z[{d}]  {low[i]:.2g} to {high[i]:.2g}" for i, d in enumerate((2, 0))]


def test_latent_traversal():
    """The middle image of a row has the mean of its dimension; the other dimensions stay."""
    model, examples = VAE.build(latent_dim=3).eval(), images()
    rows, ranges = traverse_latents(model, examples, [1, 2], num_steps=5)
    assert rows.shape == (10, 1, 8, 8)
    embeddings = model.embed(examples)
    for row, dimension in ((0, 1), (1, 2)):
        latents = embeddings[:1].clone()
        latents[:, dimension] = embeddings[:, dimension].mean()
        assert rows[5 * row + 2].allclose(model.decode(latents)[0], atol=1e-6)
        mean, std = embeddings[:, dimension].mean().item(), embeddings[:, dimension].std().item()
        assert ranges[row] == pytest.approx((mean - 2 * std, mean + 2 * std), rel=1e-5, abs=1e-5)
