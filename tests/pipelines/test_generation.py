"""GenerationPipeline: images, streams, files, and saving and loading."""

import numpy as np
import pytest
import torch
from cases import AE, VAE, generator
from PIL import Image

from gae_hub import GaussianMixtureSampler, GenerationPipeline, load_images
from gae_hub.pipelines import generation


@pytest.fixture
def pipe():
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    return GenerationPipeline(VAE.build().eval(), sampler)


def same(one, other):
    return [image.tobytes() for image in one] == [image.tobytes() for image in other]


# Generation


def test_call_returns_images_that_depend_on_the_seed_only(model):
    pipe = GenerationPipeline(model)
    pictures = pipe(num_samples=5, seed=0)
    assert all(isinstance(p, Image.Image) and p.size == (8, 8) and p.mode == "L" for p in pictures)
    assert len(pictures) == 5
    assert same(pictures, pipe(5, seed=0)) and same(pictures, pipe(5, seed=0, batch_size=2))
    assert not same(pictures, pipe(5, seed=1)) and not same(pipe(5), pipe(5))


def test_stream_equals_call_at_any_batch_size(pipe, monkeypatch):
    monkeypatch.setattr(generation, "_LATENTS_PER_DRAW", 8)
    expected = pipe(20, seed=3)
    for batch_size in (1, 3, 8, 500):
        assert same(pipe.stream(20, seed=3, batch_size=batch_size), expected)
    assert not same(pipe.stream(20, seed=4), expected)
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        pipe(0)


def test_stream_draws_1000_latents_at_a_time(pipe, monkeypatch):
    """The first of a million images needs the first draw only."""
    drawn = []
    sample = pipe.sampler.sample
    monkeypatch.setattr(pipe.sampler, "sample", lambda num, *args: (drawn.append(num), sample(num, *args))[1])
    next(pipe.stream(1_000_000, seed=0))
    assert drawn == [1000]


@pytest.mark.parametrize("format", ["npz", "dataset"])
def test_write_equals_call(pipe, tmp_path, format):
    output = tmp_path / ("a.npz" if format == "npz" else "a")
    pipe.write(output, 20, seed=0, format=format, batch_size=7, progress=False)
    found = np.load(output)["arr_0"] if format == "npz" else load_images(output).pixel_values.squeeze(1).numpy()
    np.testing.assert_array_equal(found, np.stack([np.asarray(image) for image in pipe(20, seed=0)]))


def test_to_moves_model_and_sampler(pipe, model):
    assert len(pipe.to("cpu")(2)) == 2 and len(GenerationPipeline(model).to("cpu")(2)) == 2
    meta = pipe.to("meta")
    assert meta is pipe and meta.model.device.type == meta.sampler.device.type == "meta"


def test_errors():
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 5))
    with pytest.raises(ValueError, match=r"draws latents of shape \(5,\), but this model's latents have shape \(3,\)"):
        GenerationPipeline(VAE.build(), sampler)
    with pytest.raises(NotImplementedError, match="fit a sampler"):
        GenerationPipeline(AE.build())(2)


# Saving and loading


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
    nested = GenerationPipeline.from_pretrained(tmp_path.parent, subfolder=tmp_path.name)
    assert same(nested(6, seed=3), pipe(6, seed=3))
