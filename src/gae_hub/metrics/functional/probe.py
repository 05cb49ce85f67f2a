"""Linear probe: the paper's classification task, one linear layer on the latents, in several runs trained together."""

__all__ = ["linear_probe"]

from math import cos, pi

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_labels, check_rows, check_same_dim


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
    """`probe_accuracy` on the test latents, as a mean over runs that differ in initial weights and order of examples.

    Latents are standardised by mean and standard deviation of the training set. The layer is trained with Adam on the
    cross-entropy, with a cosine learning rate schedule that ends at 0. A step of all runs is one batched matrix
    product.

    Args:
        latents, labels: (num, dim) and (num,) integers, the training set.
        test_latents, test_labels: test set of the same classes.
        num_runs: number of runs.
        num_epochs, batch_size, learning_rate: settings of the training.
        seed: seed of initial weights and orders.

    Raises:
        ValueError: if numbers of latents and labels differ, or there are fewer than 2 classes.
    """
    for name, count in (("num_runs", num_runs), ("num_epochs", num_epochs), ("batch_size", batch_size)):
        check_count(name, count)
    for side, answers in ((latents, labels), (test_latents, test_labels)):
        check_rows("the probe", side, 1, "latents")
        check_labels("the probe", answers, len(side))
    check_same_dim(latents[0].numel(), test_latents[0].numel())
    labels, test_labels = labels.cpu(), test_labels.cpu()
    classes = labels.unique()
    if len(classes) < 2:
        raise ValueError(f"the probe needs labels of 2 or more classes, got {len(classes)}")
    x, test = (side.detach().reshape(len(side), -1).float().cpu() for side in (latents, test_latents))
    mean, deviation = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
    x, test = (x - mean) / deviation, (test - mean) / deviation
    targets = torch.searchsorted(classes, labels)
    generator = torch.Generator().manual_seed(seed)
    weights = _train_layers(x, targets, len(classes), num_runs, num_epochs, batch_size, learning_rate, generator)
    scores = weights[..., :-1] @ test.T + weights[..., -1:]
    correct = classes[scores.argmax(1)] == test_labels
    return {"probe_accuracy": Estimate.mean_of_runs(correct.double().mean(1), "runs")}


def _train_layers(
    x: Tensor,
    targets: Tensor,
    num_classes: int,
    num_runs: int,
    num_epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> Tensor:
    """(num_runs, num_classes, dim + 1) weights of the linear layers, biases last.

    Adam is written out on one tensor, because the gradient of the cross-entropy of a linear layer is known:
    (softmax - target)^T x. With the class axis before the example axis, the softmax is element-wise along the memory.
    """
    num, dim = x.shape
    rows = torch.cat([x, torch.ones(num, 1)], 1)
    weights = (2 * torch.rand(num_runs, num_classes, dim + 1, generator=generator) - 1) / dim**0.5
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)  # Adam's moments of the gradient
    num_steps, step = num_epochs * -(-num // batch_size), 0
    for _ in range(num_epochs):
        orders = torch.stack([torch.randperm(num, generator=generator) for _ in range(num_runs)])
        for chosen in orders.split(batch_size, 1):
            batch = rows.index_select(0, chosen.flatten()).view(*chosen.shape, dim + 1)
            answers = targets[chosen].unsqueeze(1)
            errors = torch.bmm(weights, batch.transpose(1, 2)).softmax(1)
            errors.scatter_add_(1, answers, errors.new_full((1, 1, 1), -1.0).expand_as(answers))
            gradient = torch.bmm(errors, batch).div_(chosen.shape[1])
            step += 1
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient.square_(), 0.001)
            rate = learning_rate * 0.5 * (1 + cos(pi * step / num_steps))
            scale = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            weights.addcdiv_(first, scale, value=-rate / (1 - 0.9**step))
    return weights
