"""Batch normalisation in custom networks and in the paper's: running statistics move once in a training step."""

import pytest
import torch
from cases import MODELS, generator, images
from torch import nn

SHAPE = (1, 28, 28)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 6), nn.BatchNorm1d(6), nn.Tanh())
        self.feature_shape = (6,)

    def forward(self, x):
        return self.net(x)


class Decoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(latent_dim, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 784))

    def forward(self, z):
        return self.net(z).unflatten(1, SHAPE)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_running_statistics_move_once_in_a_training_step(case):
    """By momentum * (batch mean - running mean), for one call of each trained network; and not in evaluation."""
    torch.manual_seed(0)
    fields = {"input_shape": SHAPE, "latent_dim": 3, **case.fields}
    networks = {
        "encoder": Encoder(),
        "decoder": Decoder(6 if case.frozen else 3),
    }  # features are the latents if frozen
    model = case.model_class(case.model_class.config_class(**fields), **networks).train()
    norms = [network.net[index] for network, index in zip(networks.values(), (2, 1), strict=True)]
    frozen = [norms.pop(0)] if case.frozen else []
    calls = [[] for _ in norms]
    for norm, seen in zip(norms, calls, strict=True):
        norm.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].detach().clone()))
    model(images(8, SHAPE), generator=generator()).loss.backward()
    for norm, seen in zip(norms, calls, strict=True):
        assert norm.num_batches_tracked == 1 and norm.track_running_stats and norm.training
        moved = [0.1 * batch.mean(0) for batch in seen]
        assert any(torch.allclose(norm.running_mean, mean, atol=1e-6) for mean in moved)
    model.eval()(images(8, SHAPE), generator=generator())
    assert all(norm.num_batches_tracked == 1 for norm in norms)
    assert all(norm.num_batches_tracked == 0 for norm in frozen)
