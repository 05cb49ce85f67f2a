"""Wrong arguments of a model's methods: each error says what was given, what was expected, and what to pass."""

import re

import numpy as np
import pytest
import torch
from cases import MODELS, ROWS, VAE, images
from PIL import Image

from gae_hub import BetaVAEModel, GaussianMixtureSampler, GenerationPipeline, MAFSampler, VAEModel
from gae_hub.images.processing import GAEImageProcessor

X = images(4)
GREY = Image.new("L", (8, 8))


@pytest.fixture(scope="module")
def model():
    return VAE.build().eval()


CONVERTED = r"GAEImageProcessor.for_model\(model\)\(images\)\['pixel_values'\] converts"


@pytest.mark.parametrize(
    ("pixel_values", "message"),
    [
        (X.numpy(), rf"shape \(batch, 1, 8, 8\), got an object of type ndarray: torch.from_numpy.*{CONVERTED}"),
        (GREY, f"got an object of type Image: {CONVERTED}"),
        ([X[0]], f"got an object of type list: {CONVERTED}"),
        ("digit.png", f"got the text 'digit.png': {CONVERTED}"),
        (GAEImageProcessor((1, 8, 8))(GREY), "type BatchFeature: pass its item 'pixel_values'"),
        (X[0], r"has shape \(1, 8, 8\).*the batch axis is missing, pass images\[None\]"),
        (X[:, 0], r"has shape \(4, 8, 8\).*the axis of channels is missing, pass images\[:, None\]"),
        (X[0, 0], r"has shape \(8, 8\).*pass images\[None, None\]"),
        (X.movedim(1, -1), r"the channels come last, pass images.movedim\(-1, 1\)"),
        (X[0].movedim(0, -1), r"come last and the batch axis is missing, pass images.movedim\(-1, 0\)\[None\]"),
        (images(2, (1, 9, 9)), "resize them, or pass PIL images"),
        (torch.tensor(0.5), r"has shape \(\), but this model was built for input_shape \(1, 8, 8\)"),
        ((X * 255).long(), "dtype torch.int64, but must be floats in .*: divide by 255"),
    ],
)
def test_images_of_another_kind(model, pixel_values, message):
    for call in (model, model.embed, model.reconstruct, model.log_likelihood, lambda x: model.interpolate(x, X)):
        with pytest.raises(ValueError, match=message):
            call(pixel_values)


@pytest.mark.parametrize(
    ("shape", "found", "remedy"),
    [
        ((2, 9), (4, 9, 2), "the channels come last, pass images.movedim(-1, 1)"),
        ((1, 9), (4, 9), "the axis of channels is missing, pass images[:, None]"),
        ((2, 3, 4, 5), (3, 4, 5, 2), "the channels come last and the batch axis is missing, pass "),
        ((1, 3, 4, 5), (3, 4, 5), "the axes of batch and channels are missing, pass images[None, None]"),
    ],
)
def test_signals_and_volumes_of_another_shape(shape, found, remedy):
    with pytest.raises(ValueError, match=re.escape(remedy)):
        VAE.build(input_shape=shape).embed(torch.rand(found))


def test_images_of_another_size_are_only_resized_for_images():
    with pytest.raises(ValueError, match=r"built for input_shape \(2, 9\)$"):
        VAE.build(input_shape=(2, 9)).embed(torch.rand(4, 2, 8, 8))


def test_the_remedies_work(model):
    """What the errors say to pass is accepted, and gives the same embeddings."""
    expected = model.embed(X)
    channels_last = X.movedim(1, -1)
    for remedy in (torch.from_numpy(X.numpy()), X[:, 0][:, None], channels_last.movedim(-1, 1)):
        assert torch.equal(model.embed(remedy), expected)
    first = model.embed(X[:1])
    for remedy in (X[0][None], X[0, 0][None, None], channels_last[0].movedim(-1, 0)[None]):
        assert torch.equal(model.embed(remedy), first)
    assert torch.equal(model.embed(GAEImageProcessor.for_model(model)(X.numpy())["pixel_values"]), expected)


@pytest.mark.parametrize("case", [case for case in MODELS], ids=lambda case: case.id)
def test_every_method_names_the_missing_batch_axis(case):
    model = case.build()
    with pytest.raises(ValueError, match="the batch axis is missing"):
        model(X[0])
    with pytest.raises(ValueError, match=r"latents has shape \(2, 7\), but this model decodes .*\(batch, 3\)"):
        model.decode(torch.zeros(2, 7))


def fitted(latent_dim):
    return GaussianMixtureSampler(num_components=1).fit(torch.randn(9, latent_dim), progress=False)


class Drawer:
    """An object that draws what it was given."""

    def __init__(self, drawn):
        self.drawn = drawn

    def sample(self, num_samples, generator=None):
        return self.drawn


@pytest.mark.parametrize("name", ["vae", "vq_vae"])
def test_a_sampler_that_does_not_fit_the_model(name):
    model = ROWS[name].build().eval()
    for sampler, message in (
        (fitted(5), r"draws latents of shape \(5,\), but this model's latents have shape \(3,\): fit the sampler"),
        ("maf", r"got the text 'maf': pass GaussianMixtureSampler\(\).fit_to\(model, images\)"),
        (MAFSampler, r"got the class MAFSampler: pass MAFSampler\(\).fit_to\(model, images\)"),
        (3, "sampler must be a fitted sampler, got 3"),
        (MAFSampler(), "this MAFSampler is not fitted: call fit or fit_to first"),
        (Drawer(torch.zeros(2, 5)), r"must return a tensor of shape \(2, 3\), got latents of shape \(2, 5\)"),
        (Drawer([0, 0]), r"must return a tensor of shape \(2, 3\), got an object of type list"),
    ):
        with pytest.raises(ValueError, match=message):
            model.generate(2, sampler=sampler)
        if not isinstance(sampler, Drawer):
            with pytest.raises(ValueError, match=message):
                GenerationPipeline(model, sampler)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate(-1), "num_samples must be 1 or more, got -1"),
        (lambda m: m.generate(2.5), "num_samples must be an integer, got 2.5"),
        (lambda m: m.generate(True), "num_samples must be an integer, got True"),
        (lambda m: m.generate(3, batch_size=0), "batch_size must be 1 or more, got 0"),
        (
            lambda m: m.generate(3, generator=7),
            r"generator must be .*, got 7: pass torch.Generator\(\).manual_seed\(7\)",
        ),
        (lambda m: m(X, generator=7), "generator must be a torch.Generator or None, got 7"),
        (lambda m: m.embed(X, generator="cpu"), "generator must be a torch.Generator or None, got the text 'cpu'"),
        (lambda m: m.sample_prior(2, 0), "generator must be a torch.Generator or None, got 0"),
        (lambda m: m.interpolate(X, X, num_steps=1), "num_steps must be 2 or more, got 1"),
        (lambda m: m.interpolate(X, X, num_steps=2.0), "num_steps must be an integer, got 2.0"),
        (lambda m: m.log_likelihood(X, num_samples=0), "num_samples must be 1 or more, got 0"),
        (lambda m: m.log_likelihood(X, batch_size=0), "batch_size must be 1 or more, got 0"),
        (lambda m: m.decode(torch.zeros(3)), r"the batch axis is missing, pass latents\[None\]"),
        (lambda m: m.decode(np.zeros((2, 3))), r"latents must be a torch.Tensor of shape \(batch, 3\), got"),
        (lambda m: m.sample_pixel_values(torch.zeros(2, 4)), r"latents has shape \(2, 4\)"),
        (lambda m: BetaVAEModel(m.config), "BetaVAEModel needs a BetaVAEConfig, got an object of type VAEConfig"),
        (lambda m: VAEModel("vae"), "VAEModel needs a VAEConfig, got the text 'vae'"),
        (lambda m: GenerationPipeline("user/vae"), "needs a model, got the text 'user/vae': .*from_pretrained"),
        (lambda m: GenerationPipeline(m)(0), "num_samples must be 1 or more, got 0"),
        (lambda m: GenerationPipeline(m)(2, batch_size=0), "batch_size must be 1 or more, got 0"),
        (lambda m: GenerationPipeline(m)(2, seed="a"), "seed must be an integer, got the text 'a'"),
    ],
)
def test_wrong_numbers_and_objects(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


@pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
def test_wrong_codes(name):
    model = ROWS[name].build().eval()
    codes = model.encode_codes(X)
    assert torch.equal(model.decode_codes(codes.to(torch.uint8)), model.reconstruct(X))
    for wrong, message in (
        (codes.float(), "codes must be a torch.Tensor of integers, .*, got dtype torch.float32"),
        (codes.numpy(), "codes must be a torch.Tensor of integers, .*, got an object of type ndarray"),
        (codes.unsqueeze(-1), r"codes has shape .* but this model decodes codes of shape \(batch"),
        (codes - 9, r"codes must lie in \[0, \d\), the indices of the codebook, got \[-\d, -\d\]"),
        (codes + 9, r"codes must lie in \[0, \d\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode_codes(wrong)


def test_integers_of_numpy_and_torch_are_counts(model):
    for count in (np.int64(2), torch.tensor(2)):
        assert len(model.generate(count)) == 2
