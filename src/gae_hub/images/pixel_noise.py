"""Uniform noise for pixels that depends on the image and a seed only."""

__all__ = ["draw_noise"]

from hashlib import shake_128

import numpy as np
import torch
from torch import Tensor


def draw_noise(pixel_values: Tensor, seed: int) -> Tensor:
    """Uniform noise in [0, 1) for each pixel, as float64 on the CPU.

    It is the output of SHAKE128 (FIPS 202, doi:10.6028/NIST.FIPS.202) for the seed and the bytes of the image. An
    image gets the same noise in each batch, order, process, split and version of the libraries; images that differ
    get independent noise.

    Args:
        pixel_values: (num, *input_shape) floats. They are compared in float32.
        seed: an integer.

    Returns:
        (num, *input_shape), multiples of 2^-32.
    """
    images = np.ascontiguousarray(pixel_values.detach().cpu().float().numpy(), "<f4") + np.float32(0)  # -0.0 is 0.0
    prefix, size = f"{int(seed)}:".encode(), 4 * (images.size // max(1, len(images)))
    noise = b"".join(shake_128(prefix + image.tobytes()).digest(size) for image in images)
    return torch.from_numpy(np.frombuffer(noise, "<u4").reshape(images.shape) / 2.0**32)
