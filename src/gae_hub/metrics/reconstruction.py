"""Reconstruction error."""

__all__ = ["reconstruction_mse"]

import torch

from ..data import iterate_batches


def reconstruction_mse(model, dataset, batch_size: int = 500) -> float:
    """Mean over images and pixels of (x - x_hat)^2, for x in [0, 1]; the paper's tables show it times 1000."""
    total, count = 0.0, 0
    for images in iterate_batches(dataset, batch_size):
        images = images.to(model.device)
        error = (images - model.reconstruct(images).to(images.dtype)).square()
        total += error.cpu().sum(dtype=torch.float64).item()
        count += error.numel()
    return total / count
