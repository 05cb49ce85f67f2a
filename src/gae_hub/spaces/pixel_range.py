"""Checks that the values of images are those of pixels, in [0, 1], which is all that a page can show."""

__all__ = ["check_normalization", "check_pixels"]

from torch import Tensor

from ..images.processing import GAEImageProcessor

_TOLERANCE = 1e-3
_REMEDY = "divide the images by their largest value and train again"


def check_normalization(processor: GAEImageProcessor):
    """Raise ValueError if the normalization of a processor was fitted to values outside [0, 1]."""
    normalization = processor.normalization
    if normalization is None:
        return
    for channel, (shift, scale) in enumerate(zip(normalization.shift, normalization.scale, strict=True), 1):
        if not _is_of_pixels(normalization.kind, shift, scale):
            raise ValueError(
                "a Space shows pixel values in [0, 1], but the model was trained on other values: the normalization "
                f"of channel {channel} has shift {shift:g} and scale {scale:g}; {_REMEDY}"
            )


def check_pixels(processor: GAEImageProcessor, pixel_values: Tensor, origin: str):
    """Raise ValueError if images have values outside [0, 1] in the units of the data.

    Args:
        processor: the model's processor.
        pixel_values: (num, *input_shape) values of the model.
        origin: where the images are from, for the error.
    """
    low, high = map(float, processor.restore(pixel_values).aminmax())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise ValueError(
            f"a Space shows pixel values in [0, 1], but its examples ({origin}) have values from {low:g} to {high:g}; "
            f"{_REMEDY}"
        )


def _is_of_pixels(kind: str, shift: float, scale: float) -> bool:
    """Whether values in [0, 1] can have this normalization."""
    if not -_TOLERANCE <= shift <= 1 + _TOLERANCE:
        return False
    if scale == 1:  # of a constant channel
        return True
    if kind == "unit":  # the smallest value is shift, the largest shift + scale
        return shift + scale <= 1 + _TOLERANCE
    return scale**2 <= shift * (1 - shift) + _TOLERANCE  # the largest variance with this mean (Bhatia & Davis, 2000)
