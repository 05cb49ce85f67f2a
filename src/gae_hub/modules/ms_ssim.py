"""MS-SSIM: Multiscale Structural Similarity for Image Quality Assessment (Wang, Simoncelli & Bovik, 2003),
doi:10.1109/ACSSC.2003.1292216."""

__all__ = ["max_levels", "ms_ssim"]

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, from the finest, as the paper measured them
SMALLEST = 4  # pixels a side at the coarsest scale


def max_levels(height: int, width: int) -> int:
    """How many scales, at most five, an image has before a side falls below 4 pixels; 0 if it is smaller itself."""
    return sum(min(height, width) >> level >= SMALLEST for level in range(len(WEIGHTS)))


def ms_ssim(x: Tensor, y: Tensor, num_scales: int | None = None, window_size: int = 11) -> Tensor:
    r"""(batch,) similarity of images in [0, 1], (batch, channels, height, width): 1 for equal ones.

    :math:`SSIM_M^{w_M} \prod_{j<M} CS_j^{w_j}` for each channel, then the mean over channels. CS (contrast and
    structure) and SSIM are means over each example's pixels, under a Gaussian window of standard deviation 1.5 without
    padding; a scale halves the one before by averages of 2 x 2. With M below five, the first M weights are scaled to
    sum to 1. Where a window is larger than the image at a scale, it is cut to the largest odd size that fits.

    Where a mean is negative it counts as 1e-3, but lets gradients pass, so that a bad reconstruction can be mended.

    Raises:
        ValueError: if the image is too small for so many levels.
    """
    most = max_levels(*x.shape[-2:])
    levels = num_scales or most
    if levels > most or not most:
        raise ValueError(
            f"MS-SSIM halves images {levels - 1} times and needs {SMALLEST} pixels a side at the end: "
            f"num_scales must be at most {most} for images of {x.shape[-2]} x {x.shape[-1]}, got {levels}"
            if most
            else f"MS-SSIM needs images of {SMALLEST} pixels a side or more, got {x.shape[-2]} x {x.shape[-1]}"
        )
    similarity = 1.0
    for level in range(levels):
        contrast, full = ssim(x, y, window_size)
        value = positive(full if level == levels - 1 else contrast)
        similarity = similarity * value ** (WEIGHTS[level] / sum(WEIGHTS[:levels]))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return similarity.mean(1)


def ssim(x: Tensor, y: Tensor, window_size: int) -> tuple[Tensor, Tensor]:
    """Contrast-structure and full similarity at one scale, each (batch, channels), means over pixels."""
    moments = blur(torch.cat([x, y, x * x, y * y, x * y], 1), window_size)
    mean_x, mean_y, xx, yy, xy = moments.chunk(5, 1)
    var_x, var_y, covariance = xx - mean_x * mean_x, yy - mean_y * mean_y, xy - mean_x * mean_y
    contrast = (2 * covariance + 0.03**2) / (var_x + var_y + 0.03**2)
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x * mean_x + mean_y * mean_y + 0.01**2)
    return contrast.mean((2, 3)), (luminance * contrast).mean((2, 3))


def blur(images: Tensor, window_size: int) -> Tensor:
    """Gaussian window, one axis after the other, without padding."""
    channels = images.shape[1]
    for axis in (2, 3):
        size = min(window_size, images.shape[axis] - (images.shape[axis] + 1) % 2)
        at = torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2
        window = (-0.5 * (at / 1.5).square()).exp()
        kernel = (window / window.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        images = F.conv2d(images, kernel.expand(channels, -1, -1, -1), groups=channels)
    return images


def positive(value: Tensor, floor: float = 1e-3) -> Tensor:
    """At least the floor, with the gradient of the value itself."""
    return value + (value.clamp(min=floor) - value).detach()
