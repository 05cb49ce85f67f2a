"""The paper's classification task: how well one linear layer tells the classes from the embeddings, over 20 runs that
are trained together."""

__all__ = ["linear_probe"]

from math import cos, pi

import torch
from torch import Tensor

from ..estimate import Estimate, require_features
from .clustering import over_runs


@torch.no_grad()
def linear_probe(
    latents: Tensor,
    labels: Tensor,
    test_latents: Tensor,
    test_labels: Tensor,
    num_runs: int = 20,
    num_epochs: int = 50,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    seed: int = 0,
) -> dict[str, Estimate]:
    """`probe_accuracy` on the test latents, the mean over runs that differ in initial weights and order of the images.

    The latents are standardised by the training set's mean and deviation; the layer is trained by Adam on the cross
    entropy, with a learning rate that falls to 0 along a cosine. All runs are one batched matrix product a step.

    Args:
        latents, labels: (num, dim) and (num,) integers to train on.
        test_latents, test_labels: those to measure on, of the same classes.
        num_runs: runs.
        num_epochs, batch_size, learning_rate: of the training.
        seed: of weights and orders.
    """
    for side, answers in ((latents, labels), (test_latents, test_labels)):
        require_features("the probe", side.flatten(1), 1)
        if len(side) != len(answers):
            raise ValueError(f"there are {len(side)} latents but {len(answers)} labels")
    labels, test_labels = labels.cpu(), test_labels.cpu()
    classes = labels.unique()
    if len(classes) < 2:
        raise ValueError(f"the probe needs labels of 2 or more classes, got {len(classes)}")
    x, test = (t.detach().flatten(1).float().cpu() for t in (latents, test_latents))
    mean, deviation = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
    x, test = ((t - mean) / deviation for t in (x, test))
    targets = torch.searchsorted(classes, labels)
    generator = torch.Generator().manual_seed(seed)
    weights = _train(x, targets, len(classes), num_runs, num_epochs, batch_size, learning_rate, generator)
    scores = weights[..., :-1] @ test.T + weights[..., -1:]
    right = classes[scores.argmax(1)] == test_labels
    return {"probe_accuracy": over_runs(right.double().mean(1), "runs")}


def _train(x: Tensor, targets: Tensor, num_classes: int, runs: int, epochs, size, rate, generator) -> Tensor:
    """(runs, classes, dim + 1): the layers' weights, the biases last. Adam, written out on one tensor: the gradient
    of the cross entropy of a linear layer is known, (softmax - target)^T x. With classes in front of the images, the
    softmax is element-wise along the memory."""
    num, dim = x.shape
    rows = torch.cat([x, torch.ones(num, 1)], 1)
    weights = (2 * torch.rand(runs, num_classes, dim + 1, generator=generator) - 1) / dim**0.5
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    steps, step = epochs * -(-num // size), 0
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(num, generator=generator) for _ in range(runs)])
        for chosen in orders.split(size, 1):
            batch = rows.index_select(0, chosen.flatten()).view(*chosen.shape, dim + 1)
            answers = targets[chosen].unsqueeze(1)
            errors = torch.bmm(weights, batch.transpose(1, 2)).softmax(1)
            errors.scatter_add_(1, answers, errors.new_full((1, 1, 1), -1.0).expand_as(answers))
            gradient = torch.bmm(errors, batch).div_(chosen.shape[1])
            step += 1
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient.square_(), 0.001)
            now = rate * 0.5 * (1 + cos(pi * step / steps))
            scale = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            weights.addcdiv_(first, scale, value=-now / (1 - 0.9**step))
    return weights
