"""Fully connected, convolutional and residual networks for any shape."""

from itertools import product

import pytest
import torch
from cases import generator, images
from huggingface_hub.errors import StrictDataclassError

from gae_hub import AEConfig, AEModel, VAEConfig, VAEModel, VQVAEConfig, VQVAEModel
from gae_hub.modules.network_blocks import plan_levels

SIGNALS = [(1, 1), (3, 33), (4, 7), (2, 64)]
IMAGES = [(1, 1, 1), (3, 33, 47), (2, 5, 64), (4, 7, 3), (1, 28, 28), (3, 64, 64)]
VOLUMES = [(1, 1, 1, 1), (3, 5, 4, 3), (2, 9, 2, 11)]


@pytest.mark.parametrize("shape", [*SIGNALS, *IMAGES, *VOLUMES])
@pytest.mark.parametrize("name", ["conv", "resnet", "mlp"])
def test_any_shape(name, shape):
    model = VAEModel(VAEConfig(input_shape=shape, latent_dim=2, encoder_config=name, decoder_config=name))
    x = images(3, shape)
    assert tuple(model.encoder(x).shape[1:]) == model.encoder.feature_shape
    out = model(x)
    assert out.reconstruction.shape == x.shape
    out.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_a_levels_transposed_convolution_has_the_shape_of_its_input(num_axes):
    """For every size from 1 to 17 on each axis, beside an even and an odd size."""
    for axis, size, other in product(range(num_axes), range(1, 18), (6, 3)):
        sizes = [other] * num_axes
        sizes[axis] = size
        x = images(1, (2, *sizes))
        for level in plan_levels((2, *sizes), (3, 1)):
            y = level.build_conv()(x)
            assert tuple(y.shape[1:]) == level.smaller == (y.shape[1], *(n // 2 if n >= 4 else n for n in x.shape[2:]))
            assert level.build_transposed_conv()(y).shape == x.shape
            x = y


@pytest.mark.parametrize("shape", [(1, 13), (1, 13, 9), (1, 5, 9, 6)])
@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_all_pixels_are_used(name, shape):
    """Features depend on every pixel, and every output pixel depends on the latents."""
    model = AEModel(AEConfig(input_shape=shape, latent_dim=2, encoder_config=name, decoder_config=name)).eval()
    x = images(2, shape).requires_grad_()
    model.encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    z = torch.randn(8, 2)
    assert (model.decode(z).var(0) > 0).all()


@pytest.mark.parametrize("sizes", [(512,), (32, 32), (24, 24, 24)])
def test_residual_networks_keep_the_variance_of_activations(sizes):
    """Away from the border, each layer gives unit variance for rectified noise, which has second moment 1/2."""
    config = {"model_type": "resnet", "channels": [64, 64]}
    model = AEModel(AEConfig(input_shape=(64, *sizes), encoder_config=config, decoder_config=config))
    noise = torch.randn(20, 64, *(size // 2 for size in sizes)).relu()
    inner = (..., *[slice(2, -2)] * len(sizes))
    for layer in (model.encoder.net[0], model.decoder.net[-1]):
        assert layer(noise)[inner].var().item() == pytest.approx(1.0, rel=0.15)
        assert not layer.bias.any()


def widen(model, config_class, model_class, axis):
    """The same model for inputs with another axis of size 1. The kernels' middle slices hold the weights.

    The other slices keep random numbers: they see only the padding.
    """
    config = model.config.to_dict()
    config["input_shape"] = [*config["input_shape"][:axis], 1, *config["input_shape"][axis:]]
    wide = model_class(config_class(**config)).to(model.dtype)
    weights, wide_weights = model.state_dict(), wide.state_dict()
    assert list(weights) == list(wide_weights)
    for name, weight in weights.items():
        if weight.shape == wide_weights[name].shape:
            wide_weights[name].copy_(weight)
        else:
            wide_weights[name].select(axis + 1, wide_weights[name].shape[axis + 1] // 2).copy_(weight)
    return wide


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 37), 1), ((2, 37), 2), ((2, 9, 6), 1), ((2, 9, 6), 2), ((2, 9, 6), 3)]
)
@pytest.mark.parametrize("method", [(VAEConfig, VAEModel), (VQVAEConfig, VQVAEModel)], ids=["vectors", "maps"])
@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_an_axis_of_one_pixel_changes_nothing(name, method, shape, axis):
    """A signal is an image of one row, and an image a volume of one plane: with equal weights, outputs are equal."""
    network = {"model_type": name, "channels": [4, 6]}
    model = method[1](method[0](input_shape=shape, latent_dim=3, encoder_config=network, decoder_config=network))
    wide = widen(model.double(), *method, axis)
    x = images(5, shape).double()
    for mode in (True, False):  # batch normalisation with the statistics of the batch, then with running ones
        out = model.train(mode)(x, generator=generator())
        wide_out = wide.train(mode)(x.unsqueeze(axis + 1), generator=generator())
        torch.testing.assert_close(wide.encoder(x.unsqueeze(axis + 1)).squeeze(axis + 1), model.encoder(x))
        torch.testing.assert_close(wide_out.reconstruction.squeeze(axis + 1), out.reconstruction)
        torch.testing.assert_close(wide_out.loss, out.loss)


@pytest.mark.parametrize("name", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5)])
def test_other_shapes_need_mlp(name, shape):
    message = (
        r"needs input_shape \(channels, length\), \(channels, height, width\) or \(channels, depth, height, width\), "
        rf"got \({', '.join(map(str, shape))},?\); use 'mlp' for other shapes"
    )
    for networks in ({"encoder_config": name}, {"decoder_config": name}):
        with pytest.raises(ValueError, match=message):
            AEModel(AEConfig(input_shape=shape, **networks))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "mlp", "hidden_sizes": [0]}, "hidden_sizes must be above 0"),
        ({"model_type": "conv", "channels": []}, "channels must have at least one entry, got none"),
        ({"model_type": "resnet", "channels": []}, "channels must have at least one entry, got none"),
        ({"model_type": "resnet", "num_residual_blocks": -1}, "num_residual_blocks must be 0 or more, got -1"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        VAEConfig(encoder_config=fields)
