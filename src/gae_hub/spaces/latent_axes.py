"""Directions of the latent space that the sliders move along, and the plane of the map."""

__all__ = ["LatentAxes", "LatentPlane"]

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.latent_dimensions import measure_latents
from ..models.base import GAEPreTrainedModel
from .example_sets import batch_size_of

_MAX_COMPONENTS = 32
_SPAN = 3.0  # of a slider, in standard deviations to each side
_ACTIVE_SHARE = 0.01  # of the variance on a principal component: the scale of latent maps is arbitrary


@dataclass(frozen=True)
class LatentAxes:
    """Directions of the latent space, the most informative first.

    Latent vectors have one axis for each dimension, ordered by its KL to the prior or by its variance. Latent maps
    have principal components of the examples' embeddings.

    Args:
        directions: (num_axes, size), orthonormal; `size` is the number of values in one example's latents.
        dimensions: (num_axes,) indices of the dimensions that the axes are, or None for principal components.
        origin: (size,), the mean of the embeddings.
        names: short name of each axis, such as "z[3]".
        scores: the number by which the axes are ordered.
        by: what that number is: "kl", "variance" or "explained variance".
        low, high: ends of each slider.
        num_active: number of axes that the model uses: dimensions whose embeddings have a variance above 0.01, or
            principal components with more than 1 % of the variance.
    """

    directions: Tensor
    dimensions: list[int] | None
    origin: Tensor
    names: list[str]
    scores: list[float]
    by: str
    low: list[float]
    high: list[float]
    num_active: int

    @classmethod
    def measure(
        cls,
        model: GAEPreTrainedModel,
        pixel_values: Tensor,
        embeddings: Tensor,
        class_labels: Tensor | None = None,
    ) -> "LatentAxes":
        """The axes of a model, measured on examples.

        Args:
            model: the model.
            pixel_values: (num, *input_shape).
            embeddings: (num, *latent_shape), those of the examples.
            class_labels: (num,), those of the examples, for a conditional model.
        """
        flat = embeddings.flatten(1).float()
        origin = flat.mean(0)
        facts = {}
        if embeddings.dim() == 2:
            facts = measure_latents(model, pixel_values, batch_size_of(pixel_values.shape[1:]), class_labels)
        dimensions: list[int] | None = facts.get("order")
        if dimensions is not None:
            directions = torch.eye(flat.shape[1])[dimensions]
            names, scores, by = [f"z[{index}]" for index in dimensions], facts["values"], facts["by"]
            num_active = max(1, facts["active_units"])
        else:
            directions, variances = _principal_components(flat - origin, _MAX_COMPONENTS)
            names = [f"component {index + 1}" for index in range(len(directions))]
            shares = variances / variances.sum().clamp(min=1e-12)
            scores, by = [round(float(share), 4) for share in shares], "explained variance"
            num_active = max(1, int((shares > _ACTIVE_SHARE).sum()))
        coordinates = flat @ directions.T
        mean, std = coordinates.mean(0), coordinates.std(0, correction=0)
        span = _SPAN * std.clamp(min=float(std.max()) / _SPAN).clamp(min=1e-3)  # a collapsed axis still moves
        low, high = (mean - span).tolist(), (mean + span).tolist()
        return cls(directions, dimensions, origin, names, scores, by, low, high, num_active)

    def __len__(self) -> int:
        return len(self.directions)

    def coordinates(self, latents: Tensor) -> Tensor:
        """(num, num_axes) of latents (num, *latent_shape)."""
        return latents.flatten(1).float() @ self.directions.T

    def place(self, base: Tensor, values: Tensor) -> Tensor:
        """(num, *latent_shape): the base, (1, *latent_shape), moved so that its first coordinates are `values`.

        Args:
            base: latents of one example.
            values: (num, k) coordinates on the first k axes.
        """
        flat = base.flatten(1).float().repeat(len(values), 1)
        if self.dimensions is not None:
            flat[:, self.dimensions[: values.shape[1]]] = values
        else:
            directions = self.directions[: values.shape[1]]
            flat += (values - flat @ directions.T) @ directions
        return flat.view(-1, *base.shape[1:])


@dataclass(frozen=True)
class LatentPlane:
    """The plane of the map: the two principal components of the embeddings, or the latent space if it has two axes.

    Args:
        directions: (2, size), orthonormal.
        origin: (size,).
        shares: share of the embeddings' variance on each axis.
    """

    directions: Tensor
    origin: Tensor
    shares: tuple[float, float]

    @classmethod
    def measure(cls, embeddings: Tensor) -> "LatentPlane":
        """The plane for embeddings (num, *latent_shape)."""
        flat = embeddings.flatten(1).float()
        if flat.shape[1] == 2:
            origin, directions, variances = torch.zeros(2), torch.eye(2), flat.var(0, correction=0)
        else:
            origin = flat.mean(0)
            directions, variances = _principal_components(flat - origin, 2)
        total = float((flat - flat.mean(0)).square().mean(0).sum()) or 1.0
        padding = 2 - len(directions)  # a latent space of one dimension
        directions = torch.cat([directions, directions.new_zeros(padding, flat.shape[1])])
        shares = [round(float(variance) / total, 4) for variance in variances] + [0.0] * padding
        return cls(directions, origin, (shares[0], shares[1]))

    def project(self, latents: Tensor) -> Tensor:
        """(num, 2): the points of latents (num, *latent_shape)."""
        return (latents.flatten(1).float() - self.origin) @ self.directions.T

    def lift(self, points: Tensor, latent_shape: tuple[int, ...]) -> Tensor:
        """(num, *latent_shape): the latents of points (num, 2) on the plane."""
        return (self.origin + points @ self.directions).view(-1, *latent_shape)


def _principal_components(centred: Tensor, max_components: int) -> tuple[Tensor, Tensor]:
    """(k, size) directions and (k,) variances, with a sign that does not depend on the platform."""
    _, singular_values, directions = torch.linalg.svd(centred, full_matrices=False)
    k = min(max_components, len(directions))
    directions = directions[:k]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * largest.sign(), singular_values[:k].square() / len(centred)
