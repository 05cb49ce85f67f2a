"""MS-SSIM: Multiscale Structural Similarity for Image Quality Assessment (Wang, Simoncelli & Bovik, 2003),
doi:10.1109/ACSSC.2003.1292216."""

__all__ = ["max_scales", "ms_ssim", "ssim"]

from functools import reduce
from operator import mul

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # measured in the paper, for five scales from the finest
MIN_SIDE = 4  # pixels per side at the coarsest scale


def max_scales(height: int, width: int) -> int:
    """Number of scales, at most five, at which both sides have at least 4 pixels. 0 for smaller images."""
    return sum(min(height, width) >> scale >= MIN_SIDE for scale in range(len(WEIGHTS)))


def ms_ssim(x: Tensor, y: Tensor, num_scales: int | None = None, window_size: int = 11) -> Tensor:
    r"""Multiscale structural similarity of two batches of images; 1 for equal images.

    :math:`SSIM_M^{w_M} \prod_{j<M} CS_j^{w_j}` per channel, averaged over the channels. CS (contrast and structure)
    and SSIM are means over the pixels of an example, from a Gaussian window with standard deviation 1.5 and without
    padding. Each scale is the 2 x 2 average pooling of the previous one. With M below five, the first M weights are
    scaled to sum to 1. A window larger than the image is cropped to the largest odd size that fits.

    Negative means count as 1e-3, with the gradient of the unclamped value, so that bad reconstructions can improve.

    Args:
        x, y: (batch, channels, height, width), in [0, 1].
        num_scales: M, from 1 to `max_scales(height, width)`, which is the default.
        window_size: side of the window in pixels, an odd number.

    Returns:
        (batch,).

    Raises:
        ValueError: if the images are too small for the number of scales.
    """
    height, width = x.shape[-2:]
    most = max_scales(height, width)
    scales = num_scales or most
    if not most:
        raise ValueError(f"MS-SSIM needs images of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {height} x {width}")
    if scales > most:
        raise ValueError(
            f"num_scales must be at most {most} for images of {height} x {width} pixels, got {scales}: MS-SSIM halves "
            f"the images for each further scale, and needs {MIN_SIDE} x {MIN_SIDE} pixels at the last one"
        )
    factors = []
    for scale in range(scales):
        contrast, full = ssim(x, y, window_size)
        value = _floor(full if scale == scales - 1 else contrast)
        factors.append(value ** (WEIGHTS[scale] / sum(WEIGHTS[:scales])))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return reduce(mul, factors).mean(1)


def ssim(x: Tensor, y: Tensor, window_size: int) -> tuple[Tensor, Tensor]:
    """Structural similarity at one scale, averaged over the pixels.

    Args:
        x, y: (batch, channels, height, width), in [0, 1].
        window_size: side of the window in pixels, an odd number.

    Returns:
        The contrast-structure term and the full similarity, (batch, channels) each.
    """
    moments = _blur(torch.cat([x, y, x * x, y * y, x * y], 1), window_size)
    mean_x, mean_y, xx, yy, xy = moments.chunk(5, 1)
    var_x, var_y, covariance = xx - mean_x * mean_x, yy - mean_y * mean_y, xy - mean_x * mean_y
    contrast = (2 * covariance + 0.03**2) / (var_x + var_y + 0.03**2)
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x * mean_x + mean_y * mean_y + 0.01**2)
    return contrast.mean((2, 3)), (luminance * contrast).mean((2, 3))


def _blur(images: Tensor, window_size: int) -> Tensor:
    """Convolve each channel with the Gaussian window, one axis after the other, without padding."""
    channels = images.shape[1]
    for axis in (2, 3):
        size = min(window_size, images.shape[axis] - (images.shape[axis] + 1) % 2)
        offsets = torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2
        window = (-0.5 * (offsets / 1.5).square()).exp()
        kernel = (window / window.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        images = F.conv2d(images, kernel.expand(channels, -1, -1, -1), groups=channels)
    return images


def _floor(value: Tensor, floor: float = 1e-3) -> Tensor:
    """Clamp from below, with the gradient of the unclamped value."""
    return value + (value.clamp(min=floor) - value).detach()
