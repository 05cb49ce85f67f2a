"""Uniform dequantisation of 8-bit pixels, for which a density of continuous values is a bound of a probability."""

__all__ = ["count_levels", "dequantize"]

from collections.abc import Iterable

from torch import Tensor

from ...images.pixel_noise import draw_noise

_ROUNDING = 1e-3  # of a level of 255; a normalization in float32 that was undone leaves less


def dequantize(pixel_values: Tensor, seed: int = 0) -> Tensor:
    r"""Continuous values (k + u) / 256 of 8-bit pixels k / 255, with u uniform in [0, 1).

    A density p of these values bounds the probability of the pixels, of which it fills a cell of volume
    :math:`256^{-D}` (Theis, van den Oord & Bethge, 2016, arXiv:1511.01844):

    .. math::
        -\log_2 P(k) = -\log_2 \int p((k + u) / 256)\, 256^{-D}\, du \le -\mathbb{E}_u \log_2 p((k + u) / 256) + 8 D

    The uniform density on [0, 1] has exactly 8 bits per dimension. k / 255 lies in its own cell, so that a model that
    was trained on these values sees the same range.

    Args:
        pixel_values: (num, *input_shape) in [0, 1], as `load_images` scales pixels.
        seed: seed of u. The noise of an image depends on the image and the seed only.

    Returns:
        (num, *input_shape) float64, on the CPU.

    Raises:
        ValueError: if a value is not k / 255 for k = 0, ..., 255.
    """
    levels = _find_levels(pixel_values.detach().cpu())
    if levels is None:
        raise ValueError("only the values k / 255 of 8-bit pixels can be dequantized, for k = 0, ..., 255")
    return (levels + draw_noise(levels / 255, seed)) / 256


def count_levels(batches: Iterable[Tensor]) -> int | None:
    """The number of values that pixels can have, as the data show: 2 if all are 0 or 1, 256 if all are k / 255.

    None for other data.

    Args:
        batches: of values (num, *input_shape).
    """
    is_binary = True
    for pixel_values in batches:
        levels = _find_levels(pixel_values)
        if levels is None:
            return None
        is_binary = is_binary and bool(((levels == 0) | (levels == 255)).all())
    return 2 if is_binary else 256


def _find_levels(pixel_values: Tensor) -> Tensor | None:
    """The integers k of values k / 255, as float64; None for other values."""
    scaled = 255 * pixel_values.double()
    levels = scaled.round()
    is_level = ((scaled - levels).abs() < _ROUNDING) & (levels >= 0) & (levels <= 255)
    return levels.abs() if is_level.all() else None  # -0.0 is 0.0
