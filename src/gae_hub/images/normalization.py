"""Normalisation of data to [0, 1], or to mean 0 and variance 1: fitted to training data, undone on generated data."""

__all__ = ["NORMALIZATIONS", "Normalization", "NormalizationFit"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, prod
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..core.argument_checks import describe

Kind: TypeAlias = Literal["unit", "standardize"]
NORMALIZATIONS: tuple[Kind, ...] = ("unit", "standardize")


@dataclass(frozen=True)
class Normalization:
    """(x - shift) / scale for each column of a table, or each channel of images, signals and volumes.

    Args:
        kind: "unit", which maps the smallest training value to 0 and the largest to 1, and clips other data to that
            range; or "standardize", which gives training data mean 0 and standard deviation 1.
        shift, scale: one number for each column or channel. A constant column has the scale 1.

    Raises:
        ValueError: if the kind is unknown, or the numbers are not finite, differ in number, or a scale is not
            positive.
    """

    kind: Kind
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self):
        if self.kind not in NORMALIZATIONS:
            raise ValueError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {describe(self.kind)}")
        for name, values in (("shift", self.shift), ("scale", self.scale)):
            is_list = isinstance(values, (tuple, list)) and bool(values)
            if not is_list or not all(isinstance(v, (int, float)) and isfinite(v) for v in values):
                raise ValueError(f"the normalization's {name} must be finite numbers, got {describe(values)}")
            object.__setattr__(self, name, tuple(map(float, values)))
        if len(self.shift) != len(self.scale) or min(self.scale) <= 0:
            raise ValueError("the normalization needs as many shifts as scales, and scales above 0")

    def apply(self, values: np.ndarray | Tensor) -> Tensor:
        """float32 values for a model from (num, dim) or (num, channels, *size) values. Computed in float64."""
        values = torch.as_tensor(values)
        scaled = (values.double() - self._align(self.shift, values)) / self._align(self.scale, values)
        return (scaled.clamp(0, 1) if self.kind == "unit" else scaled).float()

    def invert(self, pixel_values: Tensor) -> Tensor:
        """float64 values in the data's own units from a model's values (num, dim) or (num, channels, *size)."""
        shift, scale = self._align(self.shift, pixel_values), self._align(self.scale, pixel_values)
        return pixel_values.double() * scale + shift

    def log_scale(self, input_shape: Sequence[int]) -> float:
        """Logarithm of the volume that the normalization divides by: the sum of log(scale) over one example."""
        return prod(input_shape[1:]) * sum(map(log, self.scale))

    def _align(self, numbers: Sequence[float], values: Tensor) -> Tensor:
        """Numbers per column or channel, shaped to broadcast with a batch."""
        if values.shape[1] != len(numbers):
            raise ValueError(
                f"the normalization was fitted to {len(numbers)} columns or channels, got {values.shape[1]}"
            )
        found = torch.tensor(numbers, dtype=torch.float64, device=values.device)
        return found.view(-1, *[1] * (values.dim() - 2))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which `from_dict` reads."""
        return {"kind": self.kind, "shift": list(self.shift), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, values: Any) -> "Normalization":
        """The normalization of a dict from `to_dict`, which may come from anyone.

        Raises:
            ValueError: if it is not such a dict.
        """
        if not isinstance(values, Mapping) or set(values) != {"kind", "shift", "scale"}:
            raise ValueError(f"normalization must be a dict of kind, shift and scale, got {describe(values)}")
        return cls(values["kind"], values["shift"], values["scale"])


class NormalizationFit:
    """Fits a `Normalization` to batches, in float64. Means and variances are merged as in Chan et al., 1979.

    Args:
        kind: "unit" or "standardize".
    """

    def __init__(self, kind: Kind):
        self.kind: Kind = kind
        self._num = 0
        self._mean = self._squares = self._low = self._high = np.zeros(0)

    def add(self, values: np.ndarray):
        """Add a batch (num, dim) or (num, channels, *size)."""
        flat = np.moveaxis(np.asarray(values, np.float64), 1, -1).reshape(-1, values.shape[1])
        if not len(flat):
            return
        low, high, mean = flat.min(0), flat.max(0), flat.mean(0)
        squares = np.square(flat - mean).sum(0)
        if not self._num:
            self._num, self._mean, self._squares, self._low, self._high = len(flat), mean, squares, low, high
            return
        total, difference = self._num + len(flat), mean - self._mean
        self._squares = self._squares + squares + difference**2 * (self._num * len(flat) / total)
        self._mean = self._mean + difference * (len(flat) / total)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._num = total

    def compute(self) -> Normalization:
        """The normalization of all batches so far.

        Raises:
            ValueError: if there were none.
        """
        if not self._num:
            raise ValueError("cannot fit a normalization to no data")
        if self.kind == "unit":
            shift, scale = self._low, self._high - self._low
        else:
            shift, scale = self._mean, np.sqrt(self._squares / self._num)
        # rounding leaves a tiny deviation in a constant column
        is_constant = self._high == self._low
        scale = np.where(is_constant | (scale == 0), 1.0, scale)
        shift = np.where(is_constant, self._low, shift)
        return Normalization(self.kind, tuple(shift.tolist()), tuple(scale.tolist()))
