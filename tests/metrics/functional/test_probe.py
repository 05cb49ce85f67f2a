"""The linear probe: accuracy on known latents, and its training against torch's Adam."""

import numpy as np
import pytest
import torch
from cases import generator

from gae_hub.metrics import linear_probe
from gae_hub.metrics.functional.probe import _train_layers


def test_accuracy_on_linear_classes_and_on_noise():
    labels = torch.arange(600) % 3
    latents = 4 * torch.eye(3, 5)[labels] + torch.randn(600, 5, generator=generator())
    train, test = (latents[:400], labels[:400] + 5), (latents[400:], labels[400:] + 5)
    found = linear_probe(*train, *test, num_epochs=150)["probe_accuracy"]
    assert found.value > 0.97 and found.details["num_runs"] == 20 and found.details["deviation_of_runs"] < 0.02
    shuffled = labels[torch.randperm(600)][:400]
    noise = linear_probe(latents[:400], shuffled, latents[400:], labels[400:], num_epochs=5)
    assert noise["probe_accuracy"].value < 0.6


def test_training_equals_adam_of_torch():
    """One run, compared with torch's Adam on the same weights, batches and learning rates."""
    x, labels = torch.randn(20, 3, generator=generator()), torch.arange(20) % 2
    found = _train_layers(x, labels, 2, 1, 3, 8, 0.05, generator(7))[0]
    g = generator(7)
    layer = torch.nn.Linear(3, 2)
    start = ((2 * torch.rand(1, 2, 4, generator=g) - 1) / 3**0.5)[0]
    layer.weight.data, layer.bias.data = start[:, :3].clone(), start[:, 3].clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    step = 0
    for _ in range(3):
        for chosen in torch.randperm(20, generator=g).split(8):
            step += 1
            optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + np.cos(np.pi * step / 9))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[chosen]), labels[chosen]).backward()
            optimizer.step()
    expected = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_invalid_input():
    latents, labels = torch.rand(6, 2), torch.arange(6) % 2
    with pytest.raises(ValueError, match="there are 6 latents but 5 labels"):
        linear_probe(latents, labels[:5], latents, labels)
    with pytest.raises(ValueError, match="the probe needs labels of 2 or more classes, got 1"):
        linear_probe(latents, labels * 0, latents, labels * 0)
