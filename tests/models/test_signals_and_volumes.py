"""Every method with convolutional networks on signals and volumes."""

import pytest
import torch
from cases import CODES, MODELS, ROWS, SAMPLERS, generator, images

from gae_hub import AutoGAE, InMemoryDataset

SHAPES = {"signal": (2, 37), "volume": (1, 7, 9, 6)}
ON_SHAPES = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
NETWORKS = {
    "conv": {"model_type": "conv", "channels": [4, 6]},
    "resnet": {"model_type": "resnet", "channels": [4, 6], "num_residual_blocks": 1, "residual_channels": 3},
}
ON_NETWORKS = pytest.mark.parametrize("network", NETWORKS)
MAPS = {"signal": (9,), "volume": (3, 2, 3)}  # sizes of the features: halved twice, but kept below 4


def build(case, network, shape, **fields):
    return case.build(input_shape=shape, encoder_config=NETWORKS[network], decoder_config=NETWORKS[network], **fields)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
@ON_NETWORKS
@ON_SHAPES
def test_every_method(case, network, shape, tmp_path):
    """One training step, reconstruction, interpolation, generation, log-likelihood and a saved copy."""
    if case.images_only:
        with pytest.raises(
            Exception, match=r"input_shape must be \(channels, height, width\) (for MS-SSIM|of images), got "
        ):
            build(case, network, shape)
        return
    model, x = build(case, network, shape).train(), images(12, shape)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    out = model(x, generator=generator())
    out.loss.backward()
    optimizer.step()
    assert out.loss.isfinite() and out.reconstruction.shape == x.shape and set(out.losses) == set(case.terms)
    assert all(torch.equal(p, before[name]) != case.is_trained(name) for name, p in model.named_parameters())

    model.eval()
    reconstructions = model.reconstruct(x)
    assert model.embed(x).shape == (12, *model.latent_shape) and reconstructions.shape == x.shape
    path = model.interpolate(x[:2], x[2:4], num_steps=3)
    torch.testing.assert_close(path[:, 0], reconstructions[:2])
    torch.testing.assert_close(path[:, -1], reconstructions[2:4])
    if case.has_prior:
        assert model.generate(3, generator=generator()).shape == (3, *shape)
    if case.has_likelihood:
        assert model.log_likelihood(x[:2], num_samples=3, generator=generator()).isfinite().all()

    model.save_pretrained(tmp_path)
    loaded = AutoGAE.from_pretrained(tmp_path)
    assert torch.equal(loaded.reconstruct(x), reconstructions)
    assert loaded.config.input_shape == shape and loaded.latent_shape == model.latent_shape


@pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
@ON_NETWORKS
@pytest.mark.parametrize("kind", SHAPES)
def test_codes_are_maps(name, network, kind):
    levels = (3,) if name == "hrq_vae" else ()
    model, x = build(ROWS[name], network, SHAPES[kind]), images(8, SHAPES[kind])
    assert model.latent_shape == (3, *MAPS[kind]) and model.code_shape == (*MAPS[kind], *levels)
    assert model.train()(x).codes.shape == (8, *MAPS[kind], *levels)
    codes = model.encode_codes(x)
    assert codes.shape == (8, *MAPS[kind], *levels)
    torch.testing.assert_close(model.decode_codes(codes), model.reconstruct(x))
    flat = build(ROWS[name], network, SHAPES[kind], latent_layout="flat")
    assert flat.latent_shape == (3,) and flat.encode_codes(x).shape == (8, *levels)


class Tokens(torch.nn.Module):
    """An encoder whose features have two entries."""

    def forward(self, pixel_values):
        return pixel_values.flatten(2)


def test_sequences_of_features_are_maps_of_signals_only():
    """Features (length, dim) of an image, as of a transformer, are not a map unless the layout says so."""
    case = ROWS["vq_vae"]

    def latent_shape(input_shape, **fields):
        config = case.build(input_shape=input_shape, **fields).config
        return case.model_class(config, encoder=Tokens()).latent_shape

    assert latent_shape((2, 20)) == (3, 20)
    assert latent_shape((2, 4, 5)) == (3,)
    vectors = case.build(input_shape=(2, 4, 5)).config
    vectors.latent_layout = "spatial"
    assert case.model_class(vectors, encoder=Tokens()).latent_shape == (3, 20)


OF_CODES = [case for case in SAMPLERS if type(case.build()).explain_incompatibility(CODES.build()) is None]


@pytest.mark.parametrize("sampler", OF_CODES, ids=lambda sampler: sampler.id)
@ON_SHAPES
def test_samplers_of_codes(sampler, shape):
    model = build(CODES, "conv", shape)
    model.train()(images(16, shape))
    data = InMemoryDataset(images(20, shape), sampler.labels(20).get("class_labels"))
    fitted = sampler.build().fit_to(model.eval(), data, **sampler.brief())
    assert fitted.sample(3, generator()).shape == (3, *model.latent_shape)
    assert model.generate(3, fitted, generator()).shape == (3, *shape)
