"""Checks of the tensors that a model receives."""

__all__ = ["check_codes", "check_finite_values", "check_images", "check_latents", "check_values"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gae_hub.core.argument_checks import describe

_ROUNDING = 1e-3  # values so close to [0, 1] are outside by rounding


def check_images(images: Any, input_shape: tuple[int, ...]):
    """Check type, shape and dtype of a batch of images, but not its values.

    Args:
        images: the argument `pixel_values` of a model.
        input_shape: shape of one image.

    Raises:
        ValueError: if it is not a tensor of floats (batch, *input_shape), with what to pass instead.
    """
    if not isinstance(images, Tensor):
        raise ValueError(
            f"pixel_values must be a torch.Tensor of shape {_with_batch(input_shape)}, got {describe(images)}: "
            + _how_to_convert(images)
        )
    shape = tuple(images.shape)
    if shape[1:] != input_shape or not shape[0]:
        raise ValueError(
            f"pixel_values has shape {shape}, but this model was built for input_shape {input_shape}"
            + _how_to_reshape(shape, input_shape)
        )
    if not images.is_floating_point():
        raise ValueError(f"pixel_values has dtype {images.dtype}, but must be floats in [0, 1]: divide by 255")


def check_latents(latents: Any, latent_shape: tuple[int, ...]):
    """Check type and shape of the latents that a model decodes.

    Raises:
        ValueError: if they are not a tensor (batch, *latent_shape).
    """
    expected = _with_batch(latent_shape)
    if not isinstance(latents, Tensor):
        raise ValueError(f"latents must be a torch.Tensor of shape {expected}, got {describe(latents)}")
    shape = tuple(latents.shape)
    if shape[1:] != latent_shape or not shape:
        hint = ": the batch axis is missing, pass latents[None]" if shape == latent_shape else ""
        raise ValueError(f"latents has shape {shape}, but this model decodes latents of shape {expected}{hint}")


def check_codes(codes: Any, code_shape: tuple[int, ...], num_embeddings: int):
    """Check type, shape and range of the codes that a model decodes.

    Raises:
        ValueError: if they are not a tensor of integers (batch, *code_shape) in [0, num_embeddings).
    """
    expected = _with_batch(code_shape)
    if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.dtype == torch.bool:
        found = f"dtype {codes.dtype}" if isinstance(codes, Tensor) else describe(codes)
        raise ValueError(f"codes must be a torch.Tensor of integers, {expected}, got {found}")
    if tuple(codes.shape[1:]) != code_shape or not codes.dim():
        raise ValueError(f"codes has shape {tuple(codes.shape)}, but this model decodes codes of shape {expected}")
    if codes.numel() and not (0 <= codes.min() and codes.max() < num_embeddings):
        raise ValueError(
            f"codes must lie in [0, {num_embeddings}), the indices of the codebook, got [{codes.min()}, {codes.max()}]"
        )


def _with_batch(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, ('batch', *shape)))})"


def _how_to_convert(images: Any) -> str:
    """What to do with images that are not a tensor."""
    if isinstance(images, Mapping):
        return "pass its item 'pixel_values'"
    processor = "GAEImageProcessor.for_model(model)(images)['pixel_values'] converts images of any kind"
    if type(images).__module__.split(".")[0] == "numpy":
        return f"torch.from_numpy converts an array of floats in [0, 1], and {processor}"
    return processor


def _how_to_reshape(shape: tuple[int, ...], input_shape: tuple[int, ...]) -> str:
    """The end of the error about images of another shape: the usual reason, with what to pass instead."""
    if shape[1:] == input_shape:
        return " (the batch is empty)" if shape else ""
    if shape == input_shape:
        return ": the batch axis is missing, pass images[None]"
    if len(input_shape) < 2:
        return ""
    channels, *size = input_shape
    if shape[1:] == (*size, channels):
        return ": the channels come last, pass images.movedim(-1, 1)"
    if shape == (*size, channels):
        return ": the channels come last and the batch axis is missing, pass images.movedim(-1, 0)[None]"
    if channels == 1 and shape[1:] == (*size,):
        return ": the axis of channels is missing, pass images[:, None]"
    if channels == 1 and shape == (*size,):
        return ": the axes of batch and channels are missing, pass images[None, None]"
    if len(input_shape) == 3 and len(shape) == 4:
        return ": resize them, or pass PIL images to GAEImageProcessor.for_model(model), which resizes them"
    return ""


def check_values(pixel_values: Tensor):
    """Check that all values are finite and in [0, 1].

    Raises:
        ValueError: if they are not, with advice that follows from the values.
    """
    low, high = (float(bound) for bound in pixel_values.detach().aminmax())
    if 0 <= low and high <= 1:  # False for NaN
        return
    check_finite_values(pixel_values)
    raise ValueError(
        f"pixel_values must lie in [0, 1], got values from {low:.8g} to {high:.8g}; {_how_to_rescale(low, high)}"
    )


def check_finite_values(pixel_values: Tensor):
    """Raise ValueError unless all values are finite."""
    low, high = pixel_values.detach().aminmax()
    if low.isfinite() and high.isfinite():
        return
    bad = int((~pixel_values.isfinite()).sum())
    raise ValueError(f"pixel_values must be finite, got {bad} values that are nan or infinite; remove or replace them")


def _how_to_rescale(low: float, high: float) -> str:
    """What to do with values outside [0, 1], from what they look like."""
    if -_ROUNDING <= low and high <= 1 + _ROUNDING:
        return "that is rounding: pass pixel_values.clamp(0, 1)"
    if low >= 0 and 2 <= high <= 255:
        return "if they are pixels from 0 to 255, divide by 255"
    if -1 - _ROUNDING <= low < 0 and high <= 1 + _ROUNDING:
        return "if they were scaled to [-1, 1], pass (pixel_values + 1) / 2"
    return (
        "load them with load_data(..., normalize='unit'), or build the model with likelihood='gaussian' and "
        "output_activation='identity', which accept any range"
    )
