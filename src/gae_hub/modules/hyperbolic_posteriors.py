r"""Normal distributions of hyperbolic space (Mathieu et al., 2019, arXiv:1901.06033), as posteriors and priors.

Points are vectors in normal coordinates at the origin, see hyperbolic_space.py. Densities are with respect to the
hyperbolic volume.
"""

__all__ = ["HYPERBOLIC_POSTERIORS", "HyperbolicPosterior", "RiemannianNormal", "WrappedNormal"]

from dataclasses import dataclass

import torch
from torch import Tensor

from .hyperbolic_space import hyperbolic_translate, log_sinhc
from .inverse_cdf import find_support, log_integral, sample_by_cdf
from .noise import rand, randn
from .posteriors import Posterior, expand, gaussian_log_prob
from .precision import to_float64
from .sphere import log_sphere_area, normalize


@dataclass
class HyperbolicPosterior(Posterior):
    """A distribution around the origin, moved to the mean by an isometry. A subclass defines the one at the origin.

    Args:
        mean: (batch, latent_dim), in normal coordinates.
        log_var: log of sigma^2: (batch, latent_dim), or (batch, 1) for one scale.
        curvature: c; the curvature of the space is -c.
    """

    mean: Tensor
    log_var: Tensor
    curvature: float

    def sample_tangents(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """(batch, *shape, latent_dim): samples around the origin."""
        raise NotImplementedError(f"{type(self).__name__} must define sample_tangents")

    def centred_log_prob(self, tangent: Tensor) -> Tensor:
        """(batch, *draws): log density around the origin at normal coordinates (batch, *draws, latent_dim)."""
        raise NotImplementedError(f"{type(self).__name__} must define centred_log_prob")

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples, in normal coordinates."""
        return self._move_to_mean(self.sample_tangents(shape, generator))

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        tangents = self.sample_tangents(shape, generator)  # computing them from the samples again would lose digits
        return self._move_to_mean(tangents), self.centred_log_prob(tangents).to(self.mean.dtype)

    def _move_to_mean(self, tangents: Tensor) -> Tensor:
        mean = expand(to_float64(self.mean), tangents.dim() - 2)
        return hyperbolic_translate(mean, tangents, self.curvature).to(self.mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        mean = expand(to_float64(self.mean), z.dim() - 2)
        return self.centred_log_prob(hyperbolic_translate(-mean, to_float64(z), self.curvature)).to(self.mean.dtype)

    def diagnostics(self) -> dict[str, Tensor]:
        """As for every posterior, and `radius`, the mean distance of the means from the origin."""
        radius = torch.linalg.vector_norm(self.mean.detach(), dim=-1).mean()
        return {**super().diagnostics(), "radius": radius}


class WrappedNormal(HyperbolicPosterior):
    """The push-forward of N(0, diag(exp(log_var))) from the tangent space of the origin."""

    def sample_tangents(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        batch, dim = self.mean.shape
        std = expand((0.5 * to_float64(self.log_var)).exp(), len(shape))
        return std * to_float64(randn((batch, *shape, dim), self.mean, generator))

    def centred_log_prob(self, tangent: Tensor) -> Tensor:
        flat = gaussian_log_prob(tangent, 0.0, expand(to_float64(self.log_var), tangent.dim() - 2)).sum(-1)
        stretch = log_sinhc(self.curvature**0.5 * torch.linalg.vector_norm(tangent, dim=-1))
        return flat - (tangent.shape[-1] - 1) * stretch


class RiemannianNormal(HyperbolicPosterior):
    """The density exp(-distance^2 / (2 sigma^2)) / Z. `log_var` is (batch, 1).

    The paper draws the radius by rejection. Here it is drawn by its inverse CDF, which has complete gradients.
    """

    def sample_tangents(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        noise = randn((self.mean.shape[0], *shape, self.mean.shape[-1]), to_float64(self.mean), generator)
        uniform = rand((self.mean.shape[0], *shape), noise, generator)
        return sample_by_cdf(self._log_density, *self._bounds(), uniform).unsqueeze(-1) * normalize(noise)

    def centred_log_prob(self, tangent: Tensor) -> Tensor:
        variance, dim = to_float64(self.log_var).exp(), self.mean.shape[-1]
        radial = log_integral(self._log_density, *find_support(self._log_density, *self._bounds()))
        log_z = radial + 0.5 * variance * self.curvature * (dim - 1) ** 2 + log_sphere_area(dim)
        log_z, variance = (t.view(-1, *[1] * (tangent.dim() - 2)) for t in (log_z, variance))
        return -0.5 * tangent.square().sum(-1) / variance - log_z

    def _log_density(self, radius: Tensor) -> Tensor:
        """Log density of the radius, up to a constant.

        It is the log of exp(-r^2 / (2 sigma^2)) (sinh(sqrt(c) r) / sqrt(c))^(d - 1) without the constant
        sigma^2 c (d - 1)^2 / 2. Without it, the exponents add up to one square; for a large sigma they would cancel.
        """
        variance, power, root = to_float64(self.log_var).exp(), self.mean.shape[-1] - 1, self.curvature**0.5
        room = (-(-2 * root * radius).expm1() / (2 * root)).clamp(min=torch.finfo(radius.dtype).tiny)
        return -0.5 * (radius - power * root * variance).square() / variance + power * room.log()

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """(batch, 1) each: radii between which the mass lies.

        The mode solves r = a coth(sqrt(c) r), with a = (d - 1) sqrt(c) sigma^2, and coth x lies between max(1, 1 / x)
        and 1 + 1 / x. The log density is more curved than that of a Gaussian with standard deviation sigma.
        """
        with torch.no_grad():
            std, power = (0.5 * to_float64(self.log_var)).exp(), self.mean.shape[-1] - 1
            far, near = power * self.curvature**0.5 * std.square(), power**0.5 * std
            low, high = torch.maximum(far, near), 0.5 * (far + (far.square() + 4 * near.square()).sqrt())
            return (low - 10 * std).clamp(min=0), high + 10 * std


HYPERBOLIC_POSTERIORS = {"wrapped_normal": WrappedNormal, "riemannian_normal": RiemannianNormal}
"""Name in a config to class."""
