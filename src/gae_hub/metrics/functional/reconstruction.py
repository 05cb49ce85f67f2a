"""Reconstruction errors, an image at a time."""

__all__ = ["PIXELWISE", "psnr", "reconstruction_mse", "squared_error", "structural_similarity"]

from collections.abc import Callable

import torch
from torch import Tensor

from ...data.loading import iterate_batches
from ...modules.ms_ssim import ms_ssim, ssim

WINDOW = 11
LEAST_ERROR = 1e-10  # at which PSNR ends, 100 dB: equal images would have an infinite one


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) mean over pixels of (x - y)^2."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) peak signal-to-noise ratio in decibels of images in [0, 1], at most 100, which equal images have."""
    return -10 * squared_error(x, y).clamp(min=LEAST_ERROR).log10()


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) SSIM: Image Quality Assessment: From Error Visibility to Structural Similarity (Wang, Bovik, Sheikh &
    Simoncelli, 2004), doi:10.1109/TIP.2003.819861. Mean over pixels and channels under a Gaussian window of 11 x 11
    and standard deviation 1.5, without padding; the window is cut where the image is smaller.
    """
    return ssim(x.double(), y.double(), WINDOW)[1].mean(1)


def multiscale_similarity(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) [`ms_ssim`] in float64."""
    return ms_ssim(x.double(), y.double())


PIXELWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": squared_error,
    "psnr": psnr,
    "ssim": structural_similarity,
    "ms_ssim": multiscale_similarity,
}
"""Name to a function of two batches of images, (batch, channels, height, width) in [0, 1], that gives (batch,)."""


@torch.no_grad()
def reconstruction_mse(model, dataset, batch_size: int = 500) -> float:
    """Mean over images and pixels of (x - x_hat)^2, for x in [0, 1]; the paper's tables show it times 1000."""
    total, count = 0.0, 0
    for images in iterate_batches(dataset, batch_size):
        images = images.to(model.device)
        error = (images - model.reconstruct(images).to(images.dtype)).square()
        total += error.cpu().sum(dtype=torch.float64).item()
        count += error.numel()
    return total / count
