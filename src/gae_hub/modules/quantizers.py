"""Quantizers by name, and groups of them.

A new quantizer is a subclass of [`Quantizer`] and one call of [`register_quantizer`]; its name is then a value of the
field `quantizer`, in every config that has the fields that the quantizer reads.
"""

__all__ = ["QUANTIZERS", "GroupedQuantizer", "build_quantizer", "check_quantizer", "register_quantizer"]

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gae_hub.core.argument_checks import suggest

from .lookup_free_quantizers import BinarySphericalQuantizer, FiniteScalarQuantizer, LookupFreeQuantizer
from .quantizer_base import Quantization, Quantizer
from .vector_quantizers import ResidualVectorQuantizer, SimVectorQuantizer, VectorQuantizer, combine_parts

QUANTIZERS: dict[str, type[Quantizer]] = {}
"""Name in a config to class, filled by `register_quantizer`."""


class GroupedQuantizer(Quantizer):
    """Splits tokens into groups of coordinates with a quantizer each (Yang et al., 2023, arXiv:2305.02765).

    The codes of a token are those of its groups, one after the other. Terms are summed over the groups.

    Args:
        config: a config with `quantizer`, `num_groups`, and the fields that this quantizer reads.
        dim: size of a token.
    """

    def __init__(self, config: Any, dim: int):
        super().__init__()
        build, size = QUANTIZERS[config.quantizer], dim // config.num_groups
        self.groups = nn.ModuleList(build(config, size) for _ in range(config.num_groups))
        self.dim, self.num_embeddings = dim, config.num_embeddings
        self.num_codes_per_token = sum(group.num_codes_per_token for group in self)

    def __iter__(self) -> Iterator[Quantizer]:
        return cast("Iterator[Quantizer]", iter(self.groups))

    def find_codes(self, tokens: Tensor) -> Tensor:
        return self._join(
            [group.find_codes(own) for group, own in zip(self, self._split(tokens), strict=True)], tokens
        )

    def lookup(self, codes: Tensor) -> Tensor:
        per_group = codes.split([group.num_codes_per_token for group in self], -1)
        shapes = [(*codes.shape[:-1], *group.code_axes) for group in self]
        parts = zip(self, per_group, shapes, strict=True)
        return torch.cat([group.lookup(own.reshape(shape)) for group, own, shape in parts], -1)

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        found = [group.quantize(own, generator) for group, own in zip(self, self._split(tokens), strict=True)]
        quantized = torch.cat([each.tokens for each in found], -1)
        return Quantization(quantized, self._join([each.codes for each in found], tokens), *combine_parts(found))

    @property
    def code_vectors(self) -> Tensor:
        """As in [`Quantizer`], with zeros in the coordinates of other groups."""
        size = self.dim // len(self.groups)
        margins = [(index * size, self.dim - (index + 1) * size) for index in range(len(self.groups))]
        return torch.cat([F.pad(group.code_vectors, margin) for group, margin in zip(self, margins, strict=True)])

    def _split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return tokens.chunk(len(self.groups), -1)

    def _join(self, codes: list[Tensor], tokens: Tensor) -> Tensor:
        return torch.cat([own.reshape(*tokens.shape[:-1], -1) for own in codes], -1)


def register_quantizer(name: str, quantizer_class: type[Quantizer]):
    """Make `quantizer=name` a valid setting of the configs that have the quantizer's `config_fields`.

    A class that is defined again, such as in a notebook, replaces itself.

    Raises:
        ValueError: if the name belongs to another class.
    """
    known = QUANTIZERS.get(name, quantizer_class)
    if (known.__module__, known.__qualname__) != (quantizer_class.__module__, quantizer_class.__qualname__):
        raise ValueError(f"quantizer '{name}' is already {known.__module__}.{known.__qualname__}: choose another name")
    QUANTIZERS[name] = quantizer_class


def check_quantizer(config: Any):
    """Check the fields of a config that its quantizer reads, and that those that only others read are the defaults.

    Raises:
        ValueError: if the quantizer is not registered, or does not fit the config.
    """
    name = config.quantizer
    if name not in QUANTIZERS:
        raise ValueError(f"quantizer '{name}' is not registered; {suggest(name, sorted(QUANTIZERS), 'known are')}")
    quantizer = QUANTIZERS[name]
    defaults = {field.name: field.default for field in fields(config)}
    missing = [field for field in quantizer.config_fields if field not in defaults]
    if missing:
        raise ValueError(
            f"quantizer '{name}' reads {', '.join(missing)}, which {type(config).__name__} does not have: use the "
            "config that comes with this quantizer"
        )
    of_others = {field: other for other, found in QUANTIZERS.items() for field in found.config_fields}
    for field, other in of_others.items():
        if field in defaults and field not in quantizer.config_fields and getattr(config, field) != defaults[field]:
            raise ValueError(
                f"{field}={getattr(config, field)!r} has no effect on quantizer '{name}': leave it out, or choose a "
                f"quantizer that reads it, such as '{other}'"
            )
    if config.latent_layout == "scalar" and (not quantizer.supports_scalars or config.num_groups > 1):
        raise ValueError(
            f"latent_layout 'scalar' needs quantizer 'vq' with num_groups=1, got '{name}' with "
            f"num_groups={config.num_groups}: choose 'auto', 'spatial' or 'flat'"
        )
    dim = _token_dim(config)
    if dim % config.num_groups:
        raise ValueError(f"num_groups must divide latent_dim {dim}, got {config.num_groups}")
    quantizer.check_config(config, dim // config.num_groups)


def build_quantizer(config: Any) -> Quantizer:
    """The quantizer that a model's config names, for tokens of size `latent_dim`."""
    build = QUANTIZERS[config.quantizer] if config.num_groups == 1 else GroupedQuantizer
    return build(config, _token_dim(config))


def _token_dim(config: Any) -> int:
    return 1 if config.latent_layout == "scalar" else config.latent_dim


register_quantizer("vq", VectorQuantizer)
register_quantizer("fsq", FiniteScalarQuantizer)
register_quantizer("lfq", LookupFreeQuantizer)
register_quantizer("bsq", BinarySphericalQuantizer)
register_quantizer("residual_vq", ResidualVectorQuantizer)
register_quantizer("sim_vq", SimVectorQuantizer)
