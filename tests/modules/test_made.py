"""MADE: which outputs depend on which inputs, the context, and the masks; in float64."""

from copy import deepcopy

import pytest
import torch
from flow_checks import noise
from torch.autograd.functional import jacobian

from gae_hub import NeuralSplineSampler
from gae_hub.modules.made import MADE, MaskedLinear


def dependencies(made, d, context=None):
    """(outputs, d, d): absolute derivative of output i with respect to input j."""
    x = noise(1, d)
    return torch.stack([j[0, :, 0] for j in jacobian(lambda x: tuple(made(x, context)), x)]).abs()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("num_hidden_layers", [1, 3])
@pytest.mark.parametrize(("d", "hidden_size"), [(2, 1), (5, 1), (5, 2), (5, 4), (5, 15), (6, 4), (9, 7), (4, 10)])
def test_outputs_depend_on_all_earlier_inputs_only(d, hidden_size, num_hidden_layers, reverse):
    torch.manual_seed(0)
    made = MADE(d, hidden_size, num_hidden_layers, num_outputs=3, reverse=reverse).double()
    found = dependencies(made, d)
    if reverse:
        found = found.flip(1, 2)
    earlier = torch.ones(d, d).tril(-1).bool()
    assert (found[:, ~earlier] == 0).all()
    assert (found[:, -1, :-1] > 0).all()  # however narrow the network is, the last output depends on all inputs
    if hidden_size >= d - 1:
        assert (found[:, earlier] > 0).all()


def test_one_input():
    """Its output is a constant, or a function of the context."""
    made = MADE(1, 4).double()
    a, b = made(noise(6, 1))[0], made(noise(6, 1, seed=1))[0]
    assert torch.equal(a, b) and torch.equal(a, a[:1].expand(6, 1))
    made = MADE(1, 4, context_size=2).double()
    context = noise(6, 2)
    a, b = made(noise(6, 1), context)[0], made(noise(6, 1, seed=1), context)[0]
    assert torch.equal(a, b) and len(a.unique()) == 6


@pytest.mark.parametrize(("d", "hidden_size"), [(1, 3), (2, 1), (5, 2), (5, 20)])
def test_all_outputs_depend_on_the_context(d, hidden_size):
    made = MADE(d, hidden_size, context_size=3).double()
    x = noise(1, d)
    for derivative in jacobian(lambda context: tuple(made(x, context)), noise(1, 3, seed=1)):
        assert (derivative[0, :, 0] != 0).all()
    assert (dependencies(made, d, noise(1, 3))[:, torch.ones(d, d).triu().bool()] == 0).all()


def test_context_and_inputs_interact():
    """The derivative with respect to the inputs depends on the context."""
    made = MADE(3, 16, context_size=2).double()
    one, other = (dependencies(made, 3, noise(1, 2, seed=seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


def test_context_is_shared_by_all_draws():
    made = MADE(3, 8, context_size=2).double()
    x, context = noise(4, 6, 3), noise(4, 2, seed=1)
    for together, each in zip(made(x, context), made(x.flatten(0, 1), context.repeat_interleave(6, 0)), strict=True):
        torch.testing.assert_close(together.flatten(0, 1), each)


def test_masks_are_rebuilt_and_not_stored():
    made = MADE(4, 6, 2)
    assert not any("mask" in name for name in made.state_dict())
    with torch.device("meta"):
        empty = MADE(4, 6, 2)
    empty.to_empty(device="cpu")
    for module in empty.modules():
        if isinstance(module, MaskedLinear):
            module.mask.fill_(True)
            module.reset_parameters()
    for copy in (empty, deepcopy(made), deepcopy(made).bfloat16().float()):
        for (name, mask), (_, other) in zip(made.named_buffers(), copy.named_buffers(), strict=True):
            assert set(mask.unique().tolist()) == {0, 1} and torch.equal(mask, other), name


def test_half_precision_returns_float32():
    assert MADE(4, 6, 2).bfloat16()(torch.randn(2, 4))[0].dtype == torch.float32


def test_errors():
    with pytest.raises(ValueError, match=r"order must contain each of 0 to 2 once, got \[0, 0, 1\]"):
        MADE(3, order=[0, 0, 1])
    made = MADE(3, context_size=2)
    with pytest.raises(ValueError, match="needs a context; pass context="):
        made(torch.randn(2, 3))


@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_scaled_init(activation):
    """Values keep a spread of about 1 from layer to layer; with `nn.Linear` they shrink. Outputs are small."""
    torch.manual_seed(0)
    spreads = []
    for scaled_init in (True, False):
        made = MADE(64, 500, 4, num_outputs=5, activation=activation, scaled_init=scaled_init).double()
        h, found = noise(500, 64), []
        for layer in made.layers[:-1]:
            before = layer(h)
            h = made.activation(before)
            found.append(before.square().mean().sqrt().item())
        spreads.append((*found, torch.stack(made(noise(500, 64))).std().item()))
    *hidden, outputs = spreads[0]
    assert all(0.9 < spread < 1.6 for spread in hidden) and 0.2 < outputs < 0.45, spreads
    assert spreads[1][-2] < 0.3, spreads


def test_scaled_init_keeps_loaded_weights(tmp_path):
    """Loading a sampler resets its weights first; the mask is not stored, but the weights are."""
    sampler = NeuralSplineSampler(hidden_size=8, num_hidden_layers=1)
    sampler.fit(noise(50, 3), num_train_epochs=1, progress=False).save_pretrained(tmp_path)
    again = NeuralSplineSampler.from_pretrained(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in sampler.state_dict().items())
