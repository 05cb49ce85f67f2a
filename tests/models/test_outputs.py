"""What forward returns, for every row of cases.py: the embedding, tuples and hidden states."""

import pytest
import torch
from cases import MODELS, VAE, generator, images
from torch import nn

from gae_hub import VAEConfig, VAEModel

X = images()


@pytest.fixture(params=MODELS, ids=lambda case: case.id)
def model(request):
    return request.param.build()


def test_one_image_has_an_embedding_in_eval_mode(model):
    """A loss that needs a larger batch is left out."""
    output = model.eval()(X[:1])
    torch.testing.assert_close(output.embedding, model.embed(X[:1]))
    assert (output.loss is None) == (model.min_batch_size > 1)


def equal(one, other):
    """Whether two outputs, or parts of them, are equal to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return torch.equal(one, other)


def test_the_embedding_is_the_first_field_in_eval_mode(model):
    assert model(X).embedding is None
    model.eval()
    for options in ({}, {"return_loss": False}):
        output = model(X, **options)
        assert list(output)[0] == "embedding"
        torch.testing.assert_close(output[0], model.embed(X))


def test_a_tuple_starts_with_the_loss(model):
    model.eval()
    whole = model(X, generator=generator())
    expected = [value for name, value in whole.items() if name != "embedding"]
    found = model(X, generator=generator(), return_dict=False)
    assert isinstance(found, tuple) and torch.equal(found[0], whole.loss)
    assert len(found) == len(expected) and all(map(equal, found, expected))
    model.config.return_dict = False
    assert all(map(equal, model(X, generator=generator()), expected))
    assert torch.equal(model(X, generator=generator(), return_dict=True).loss, whole.loss)


def test_a_tuple_without_loss_is_that_of_the_output(model):
    model.eval()
    whole = model(X, return_loss=False, generator=generator())
    found = model(X, return_loss=False, generator=generator(), return_dict=False)
    assert "loss" not in whole and len(found) == len(whole) and all(map(equal, found, whole.to_tuple()))


@pytest.mark.parametrize("name", ["mlp", "conv", "resnet"])
def test_hidden_states_are_the_outputs_of_the_encoders_layers(name):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=3, encoder_config=name)).eval()
    assert model(X).hidden_states is None
    expected, value = [], X.flatten(1) if name == "mlp" else X
    for layer in model.encoder.net:
        value = layer(value)
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            expected.append(value)
    found = model(X, output_hidden_states=True).hidden_states
    assert len(found) == len(expected) >= 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(found[-1].flatten(1), model.encode_features(X))
    model.config.output_hidden_states = True
    assert len(model(X).hidden_states) == len(expected)
    assert len(model(X, return_dict=False)[-1]) == len(expected)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_custom_encoder_has_its_features_as_hidden_state():
    class Trunk(nn.Module):
        feature_shape = (5,)

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 5)

        def forward(self, pixel_values):
            return self.linear(pixel_values.flatten(1))

    model = VAE.model_class(VAE.build().config, encoder=Trunk())
    (state,) = model(X, output_hidden_states=True).hidden_states
    assert torch.equal(state, model.encode_features(X))
