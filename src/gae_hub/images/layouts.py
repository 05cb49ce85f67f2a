"""The order of axes in arrays of images, signals and volumes: channels first, as models need them, or last."""

__all__ = ["LAYOUTS", "Layout", "add_channels", "check_layout", "move_channels_first"]

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from torch import Tensor

from ..core.argument_checks import describe

Layout: TypeAlias = Literal["channels_first", "channels_last", "no_channels"]
"""The axes of one example: (channels, *size), (*size, channels) or (*size,)."""

LAYOUTS: tuple[Layout, ...] = ("channels_first", "channels_last", "no_channels")
CHANNEL_COUNTS = (1, 3, 4)
"""Numbers of channels that image files have: grey, RGB, and RGB with transparency."""
MAX_SIGNAL_CHANNELS = 15
"""A pair of axes is taken for (channels, length) only if one of them is at most this long."""

_KINDS = {2: "vectors", 3: "grey images or signals", 4: "images", 5: "volumes"}
_Array = TypeVar("_Array", np.ndarray, Tensor)


def check_layout(layout: Any):
    """Raise ValueError unless `layout` is a layout or None."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {describe(layout)}")


def move_channels_first(array: _Array, layout: Layout | None = None, *, grey_images: bool = False) -> _Array:
    """A view of a batch with its channels first: (num, dim) or (num, channels, *size).

    Args:
        array: (num, dim) for vectors; (num, channels, *size) or (num, *size, channels), where size is (length,) for
            signals, (height, width) for images and (depth, height, width) for volumes; or (num, *size) with
            `layout="no_channels"`.
        layout: order of the axes. By default channels are first, unless the last axis has 1, 3 or 4 entries and the
            first has not; if both have, they are first in tensors, by torch's convention, and an array is an error.
        grey_images: whether three axes are (num, height, width) by default; otherwise they are a signal's.

    Raises:
        ValueError: if the layout is unknown, or the shape allows two layouts and none is given.
    """
    check_layout(layout)
    shape = tuple(array.shape)
    if len(shape) < 2 or len(shape) > 5:
        raise ValueError(
            f"expected vectors (num, dim), signals (num, channels, length), images (num, channels, height, width) or "
            f"volumes (num, channels, depth, height, width), got shape {shape}"
        )
    if layout is None:
        layout = _find_layout(shape, grey_images, isinstance(array, Tensor))
    if len(shape) == 2:
        # one number per row and channel: nothing to move
        return array
    if layout == "no_channels":
        return array[:, None]
    return _move_last_axis(array) if layout == "channels_last" else array


def add_channels(shape: Sequence[int], layout: Layout | None) -> tuple[int, ...]:
    """Shape of one example with its channels first, from its shape in a layout."""
    shape = tuple(shape)
    return tuple(move_channels_first(np.empty((0, *shape)), layout).shape[1:])


def _find_layout(shape: tuple[int, ...], grey_images: bool, is_tensor: bool) -> Layout:
    """The layout of a batch of this shape."""
    if len(shape) == 2:
        return "channels_first"
    if len(shape) == 3 and grey_images:
        return "no_channels"
    first, last = shape[1] in CHANNEL_COUNTS, shape[-1] in CHANNEL_COUNTS
    if first and last and not is_tensor:
        raise ValueError(
            f"shape {shape} may be {_KINDS[len(shape)]} with {shape[1]} channels first or {shape[-1]} channels last: "
            "pass layout='channels_first' or layout='channels_last'"
        )
    if len(shape) == 3 and not (first or last) and min(shape[1:]) > MAX_SIGNAL_CHANNELS:
        raise ValueError(
            f"shape {shape} may be grey images of {shape[1]} x {shape[2]} pixels or signals with {shape[1]} channels: "
            "pass layout='no_channels' for images, layout='channels_first' or layout='channels_last' for signals"
        )
    return "channels_last" if last and not first else "channels_first"


def _move_last_axis(array: _Array) -> _Array:
    return array.movedim(-1, 1) if isinstance(array, Tensor) else np.moveaxis(array, -1, 1)
