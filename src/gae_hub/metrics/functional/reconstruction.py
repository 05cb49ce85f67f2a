"""Differences between reconstructions and originals, one value for each image."""

__all__ = ["multiscale_similarity", "psnr", "squared_error", "structural_similarity"]

from torch import Tensor

from ...modules.ms_ssim import ms_ssim, ssim
from .checks import check_rows

WINDOW = 11
SMALLEST_ERROR = 1e-10  # caps PSNR at 100 dB; it would be infinite for equal images


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) mean of (x - y)^2 over pixels, for (batch, *input_shape)."""
    _check_pair("the squared error", x, y)
    return (x.double() - y.double()).square().flatten(1).mean(1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) peak signal-to-noise ratio in decibels, for images in [0, 1]. Equal images have 100, the maximum."""
    return -10 * squared_error(x, y).clamp(min=SMALLEST_ERROR).log10()


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) structural similarity (SSIM).

    Image Quality Assessment: From Error Visibility to Structural Similarity (Wang, Bovik, Sheikh & Simoncelli, 2004),
    doi:10.1109/TIP.2003.819861.

    Mean over pixels and channels, in float64, under an 11 x 11 Gaussian window of standard deviation 1.5 without
    padding. The window is reduced where the image is smaller.

    Args:
        x, y: (batch, channels, height, width) in [0, 1].
    """
    _check_pair("SSIM", x, y)
    return ssim(x.double(), y.double(), WINDOW)[1].mean(1)


def multiscale_similarity(x: Tensor, y: Tensor) -> Tensor:
    """(batch,) [`ms_ssim`] in float64, for (batch, channels, height, width) in [0, 1]."""
    _check_pair("MS-SSIM", x, y)
    return ms_ssim(x.double(), y.double())


def _check_pair(name: str, x: Tensor, y: Tensor):
    """Raise ValueError unless both are finite tensors of one shape: other shapes would be broadcast."""
    for argument, side in (("x", x), ("y", y)):
        check_rows(name, argument, side, 0)
    if x.shape != y.shape:
        raise ValueError(f"images that are compared must have one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
