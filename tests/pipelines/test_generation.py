"""GenerationPipeline: images, streams, files, and saving and loading."""

import numpy as np
import pytest
import torch
from cases import AE, VAE, generator
from PIL import Image

from gae_hub import GAEImageProcessor, GaussianMixtureSampler, GenerationPipeline, load_data, load_images
from gae_hub.images.examples import draw_samples
from gae_hub.images.grids import image_grid
from gae_hub.images.normalization import Normalization
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


NORMALIZATIONS = {
    (3,): Normalization("standardize", (10, -5, 0), (2, 4, 0.1)),
    (2, 6): Normalization("unit", (100, -1), (50, 2)),
    (1, 2, 3, 4): None,
}


@pytest.fixture(params=NORMALIZATIONS, ids=str)
def other(request):
    """A pipeline of data that are no images, and its samples for seed 0."""
    shape, normalization = request.param, NORMALIZATIONS[request.param]
    model = VAE.build(input_shape=shape).eval()
    names = ("a", "b", "c") if len(shape) == 1 else None
    processor = GAEImageProcessor(shape, normalization=normalization, column_names=names)
    samples = model.generate(20, generator=generator())
    return GenerationPipeline(model, processor=processor), processor.restore(samples).numpy()


def test_other_data_are_arrays_in_their_units(other, monkeypatch):
    pipe, expected = other
    found = pipe(20, seed=0)
    assert isinstance(found, np.ndarray) and found.shape == expected.shape and not pipe.returns_images
    assert found.dtype == (np.float32 if pipe.processor.normalization is None else np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    monkeypatch.setattr(generation, "_LATENTS_PER_DRAW", 8)
    np.testing.assert_allclose(np.stack([*pipe.stream(20, seed=0, batch_size=3)]), pipe(20, seed=0), atol=1e-5)


def test_other_data_are_written_as_arrays(other, tmp_path):
    pipe, expected = other
    for suffix in (".npy", ".npz"):
        pipe.write(tmp_path / f"a{suffix}", 20, seed=0, progress=False)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pipe(20, seed=0))
    np.testing.assert_allclose(np.load(tmp_path / "a.npz")["arr_0"], expected, rtol=1e-6)
    if expected.ndim == 2:
        for suffix in (".csv", ".parquet"):
            pipe.write(tmp_path / f"a{suffix}", 20, seed=0, progress=False)
            data = load_data(tmp_path / f"a{suffix}")
            assert data.column_names == ("a", "b", "c")
            np.testing.assert_array_equal(data.pixel_values, pipe(20, seed=0).astype(np.float32))
    for arguments in ({"output": "a"}, {"output": "a", "format": "dataset"}, {"output": "a.npz", "format": "npz"}):
        with pytest.raises(ValueError, match=r"are not images: expected an output that ends in \.npy, \.npz"):
            pipe.write(num_samples=2, progress=False, **arguments)


def test_images_are_written_as_values_too(pipe, tmp_path):
    pipe.write(tmp_path / "a.npy", 20, seed=0, batch_size=7, progress=False)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), next(pipe.generate_batches(20, 0)), rtol=1e-5)
    pipe.write(tmp_path / "a.npz", 20, seed=0, progress=False)
    pipe.write(tmp_path / "a", 20, seed=0, progress=False)
    expected = np.stack([np.asarray(image) for image in pipe(20, seed=0)])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["arr_0"], expected)
    assert len(list((tmp_path / "a").glob("*.png"))) == 20
    with pytest.raises(ValueError, match=r"have shape \(1, 8, 8\): write \.npy or \.npz"):
        pipe.write(tmp_path / "a.csv", 20, progress=False)
    with pytest.raises(ValueError, match=r"the format 'npz' writes a file that ends in \.npz, got '.*/b'"):
        pipe.write(tmp_path / "b", 20, format="npz", progress=False)


def test_draw(pipe, other, tmp_path):
    assert pipe.draw(20, seed=0).tobytes() == image_grid(pipe(20, seed=0)).tobytes()
    array_pipe, expected = other
    shown = draw_samples(torch.from_numpy(expected), "T", column_names=array_pipe.processor.column_names)
    assert array_pipe.draw(20, seed=0, title="T").tobytes() == shown.tobytes()
    array_pipe.save_pretrained(tmp_path)
    assert (tmp_path / "assets" / "samples.png").is_file()
    again = GenerationPipeline.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(5, seed=1), array_pipe(5, seed=1))


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
    prior.save_pretrained(tmp_path / "other")
    pipe.save_sampler(tmp_path / "other")
    prior.save_pretrained(tmp_path / "other")  # a sampler of an earlier model would draw other latents
    assert GenerationPipeline.from_pretrained(tmp_path / "other").sampler is None
    nested = GenerationPipeline.from_pretrained(tmp_path.parent, subfolder=tmp_path.name)
    assert same(nested(6, seed=3), pipe(6, seed=3))
