"""Settings of the parts of a study: data sets and samplers."""

__all__ = ["NORMAL", "DataSettings", "SamplerSettings"]

from dataclasses import dataclass, field
from typing import Any

NORMAL = "normal"
"""Name of the sampler that draws from N(0, I), whatever the method's own prior is."""


@dataclass(frozen=True)
class DataSettings:
    """A data set of a study.

    Args:
        name: its name in the study.
        dataset: name, folder or file for `load_data`.
        latent_dim: number of latent dimensions, unless the study varies them.
        options: options of `load_data`.
        num_train, num_validation, num_test: number of examples of each split, from its beginning; all by default.
        training: training arguments that replace the study's.
    """

    name: str
    dataset: str
    latent_dim: int = 16
    options: dict[str, Any] = field(default_factory=dict)
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplerSettings:
    """A sampler of a study.

    Args:
        name: its name in the study.
        sampler: short name of `AutoSampler`; "prior" is the method's own prior, and "normal" is N(0, I).
        fields: fields of the sampler's config.
        training: training arguments, for a sampler that is trained.
    """

    name: str
    sampler: str
    fields: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
