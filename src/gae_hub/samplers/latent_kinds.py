"""Kinds of latents. Each sampler can model some of them."""

__all__ = ["INCOMPATIBILITIES", "LatentKind", "get_latent_kind"]

from typing import Literal

from ..models.base import GAEPreTrainedModel
from ..models.quantized import QuantizedModel
from ..models.svae import SVAEModel

LatentKind = Literal["vectors", "sphere", "codes"]
"""Vectors of real numbers, points of the unit sphere, or vectors of a codebook."""

INCOMPATIBILITIES: dict[LatentKind, str] = {
    "vectors": "they are vectors of real numbers, not codes",
    "sphere": "they lie on a sphere, where a density over all vectors is unbounded",
    "codes": "they are vectors of a codebook, where a density over all vectors is unbounded",
}
"""Why a sampler that does not support this kind of latents cannot model them."""


def get_latent_kind(model: GAEPreTrainedModel) -> LatentKind:
    """Kind of a model's latents."""
    if isinstance(model, QuantizedModel):
        return "codes"
    return "sphere" if isinstance(model, SVAEModel) else "vectors"
