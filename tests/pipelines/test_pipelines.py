"""GenerationPipeline, and the pictures."""

import pytest
import torch
from cases import AE, VAE, images
from PIL import Image

from gae_hub import GaussianMixtureSampler, GenerationPipeline
from gae_hub.images.grids import image_grid, save_interpolations, save_loss_curves, save_reconstructions, save_samples


def same(one, other):
    return [image.tobytes() for image in one] == [image.tobytes() for image in other]


def test_images(model):
    pipe = GenerationPipeline(model)
    pictures = pipe(num_samples=5, seed=0)
    assert (
        all(isinstance(p, Image.Image) and p.size == (8, 8) and p.mode == "L" for p in pictures) and len(pictures) == 5
    )
    assert same(pictures, pipe(5, seed=0)) and same(pictures, pipe(5, seed=0, batch_size=2))
    assert not same(pictures, pipe(5, seed=1)) and not same(pipe(5), pipe(5))


def test_save_and_load(trained, tmp_path):
    pipe = GenerationPipeline.from_pretrained(trained)
    assert isinstance(pipe.sampler, GaussianMixtureSampler) and pipe.processor.input_shape == (1, 8, 8)
    pipe.save_pretrained(tmp_path)
    again = GenerationPipeline.from_pretrained(tmp_path)
    assert same(again(6, seed=3), pipe(6, seed=3))
    prior = GenerationPipeline.from_pretrained(tmp_path, sampler=None)
    assert prior.sampler is None and not same(prior(6, seed=3), pipe(6, seed=3))
    with pytest.raises(ValueError, match="has no sampler in its subfolder 'flow'"):
        GenerationPipeline.from_pretrained(tmp_path, sampler="flow")
    assert not (tmp_path / "sampler" / "README.md").exists()


def test_moves_to_a_device(model):
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 4))
    assert (
        len(GenerationPipeline(model, sampler).to("cpu")(2)) == 2 and len(GenerationPipeline(model).to("cpu")(2)) == 2
    )


def test_what_goes_wrong():
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 5))
    with pytest.raises(ValueError, match=r"draws latents of shape \(5,\), but those of the model have \(3,\)"):
        GenerationPipeline(VAE.build(), sampler)
    with pytest.raises(NotImplementedError, match="fit a sampler"):
        GenerationPipeline(AE.build())(2)


def test_grid():
    grid = image_grid(images(5, (3, 10, 20)), columns=3, title="T", min_edge=20)
    assert grid.size == (3 * 44 + 4, 2 * 24 + 4 + 28) and grid.mode == "RGB"
    assert image_grid(images(4)).size == (2 * 52 + 4, 2 * 52 + 4)
    block = grid.crop((4, 32, 44, 52)).resize((20, 10), Image.Resampling.NEAREST)
    expected = (images(5, (3, 10, 20))[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert block.tobytes() == expected.tobytes()


def test_pictures_are_written(tmp_path):
    save_samples(images(9), tmp_path / "a.png")
    save_reconstructions(images(7), images(7), tmp_path / "b.png", columns=4)
    save_interpolations(images(6).unflatten(0, (2, 3)), tmp_path / "c.png")
    log = [{"epoch": e, "step": e, "loss": 3.0 / e, "kl": 1.0, "learning_rate": 1} for e in (1, 2)]
    save_loss_curves([*log, {"epoch": 2, "step": 2, "eval_loss": 2.0, "eval_kl": 1.0}], tmp_path / "d.png")
    save_loss_curves([], tmp_path / "e.png")
    for value in (0.0, float("inf")):  # a line without detail, and one that cannot be drawn
        save_loss_curves([{"epoch": k, "step": k, "loss": value} for k in range(3)], tmp_path / "f.png")
    for name in "abcde":
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 50
