"""Fully connected, convolutional and residual networks for any shape."""

import pytest
import torch
from cases import images
from huggingface_hub.errors import StrictDataclassError

from gae_hub import AEConfig, AEModel, VAEConfig, VAEModel


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 33, 47), (2, 5, 64), (4, 7, 3), (1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("name", ["conv", "resnet", "mlp"])
def test_any_shape(name, shape):
    model = VAEModel(VAEConfig(input_shape=shape, latent_dim=2, encoder_config=name, decoder_config=name))
    x = images(3, shape)
    assert tuple(model.encoder(x).shape[1:]) == model.encoder.feature_shape
    out = model(x)
    assert out.reconstruction.shape == x.shape
    out.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_all_pixels_are_used(name):
    """Features depend on every pixel, and every output pixel depends on the latents."""
    model = AEModel(AEConfig(input_shape=(1, 13, 9), latent_dim=2, encoder_config=name, decoder_config=name)).eval()
    x = images(2, (1, 13, 9)).requires_grad_()
    model.encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    z = torch.randn(8, 2)
    assert (model.decode(z).var(0) > 0).all()


def test_residual_networks_keep_the_variance_of_activations():
    """Away from the border, each layer gives unit variance for rectified noise, which has second moment 1/2."""
    config = {"model_type": "resnet", "channels": [64, 64]}
    model = AEModel(AEConfig(input_shape=(64, 32, 32), encoder_config=config, decoder_config=config))
    noise = torch.randn(20, 64, 16, 16).relu()
    for layer in (model.encoder.net[0], model.decoder.net[-1]):
        assert layer(noise)[..., 2:-2, 2:-2].var().item() == pytest.approx(1.0, rel=0.15)
        assert not layer.bias.any()


def test_vectors_need_mlp():
    with pytest.raises(ValueError, match=r"needs input_shape \(channels, height, width\), got \(5,\); use 'mlp'"):
        AEModel(AEConfig(input_shape=(5,), encoder_config="conv"))


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
