"""What a plain function of arrays finds: a value and how far it may be trusted."""

__all__ = ["Estimate"]

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .passport import normal_interval, wilson_interval


@dataclass(frozen=True)
class Estimate:
    """
    Args:
        value: the number.
        error: its standard error.
        interval, method: where it lies with a confidence of 95 %, and how that was found.
        details: what else a passport shall tell.
    """

    value: float
    error: float | None = None
    interval: tuple[float, float] | None = None
    method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def normal(cls, value: float, error: float, method: str, least: float | None = None, **details) -> "Estimate":
        """With the interval that a normal error gives."""
        return cls(value, error, normal_interval(value, error, least), method, details)

    @classmethod
    def mean(cls, values: Tensor, least: float | None = None, **details) -> "Estimate":
        """Mean of independent values, (num,)."""
        values = values.double()
        if len(values) < 2:
            return cls(values.mean().item(), details=details)
        error = (values.std() / len(values) ** 0.5).item()
        return cls.normal(values.mean().item(), error, "closed form: mean of independent images", least, **details)

    @classmethod
    def share(cls, hits: Tensor, **details) -> "Estimate":
        """Share of independent cases, (num,) truth values."""
        value = hits.double().mean().item()
        error = (value * (1 - value) / len(hits)) ** 0.5
        return cls(value, error, wilson_interval(value, len(hits)), "closed form: Wilson", details)


def require_features(name: str, features: Tensor, least: int, of: str = "images"):
    """Raise unless there are (num, dim) finite features of so many images."""
    if features.dim() != 2:
        raise ValueError(f"{name} needs (num, dim) features, got shape {tuple(features.shape)}")
    if len(features) < least:
        raise ValueError(f"{name} needs {least} or more {of} on each side, got {len(features)}")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} was given features that are nan or infinite")
