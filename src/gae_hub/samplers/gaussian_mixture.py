r"""Gaussian mixture: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf,
2020), arXiv:1903.12436.

.. math::
    q(z) = \sum_k \pi_k N(z; \mu_k, \Sigma_k)

Fitted by expectation maximisation on the embeddings of the training set: scikit-learn's, or for large sets our own on
the device of the latents.

Relations:
    One component is the Gaussian of the embeddings. Flows (MAF, IAF) fit densities that a mixture cannot.
    Pythae returns its draws grouped by component; here the component of each draw is independent.
"""

__all__ = ["GaussianMixtureSampler", "GaussianMixtureSamplerConfig"]

from math import log, pi
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..modules.kmeans import kmeans, proximity_scores
from ..modules.noise import randn
from ..modules.precision import full_precision, to_float64
from .base import GAESampler, GAESamplerConfig, register_sampler

_LARGE = 1e9  # multiply-adds of a step, from where on scikit-learn takes too long
_ROWS = 8192  # of latents that are seen at a time


@strict
class GaussianMixtureSamplerConfig(GAESamplerConfig):
    """
    Args:
        num_components: number of Gaussians; or several numbers, of which `fit` chooses the one with the least Bayesian
            information criterion, and writes it here.
        covariance_type: "full", "diag", or "tied", one full covariance for all.
        num_iterations: at most so many steps of expectation maximisation.
        tolerance: they end where a step gains less, in nats per example.
        covariance_regularization: added to the variances.
        solver: "sklearn", "torch" on the device of the latents, or "auto": the second for large sets and accelerators.
        seed: of the k-means initialisation.
    """

    model_type = "gae_gaussian_mixture_sampler"

    num_components: int | list[int] | tuple[int, ...] = 10
    covariance_type: Literal["full", "diag", "tied"] = "full"
    num_iterations: int = 2000
    tolerance: float | int = 1e-3
    covariance_regularization: float | int = 1e-6
    solver: Literal["auto", "sklearn", "torch"] = "auto"
    seed: int = 0

    def validate_counts(self):
        self.require_positive("num_components", "num_iterations", "tolerance", "covariance_regularization")
        if isinstance(self.num_components, (list, tuple)) and not self.num_components:
            raise ValueError("num_components must name at least one number, got none")


class GaussianMixtureSampler(GAESampler):
    """
    Args:
        config: the config; or leave it out and give its fields as keywords,
            `GaussianMixtureSampler(num_components=10)`.
    """

    config_class = GaussianMixtureSamplerConfig

    def prepare(self, latents: Tensor):
        counts, config = self.config.num_components, self.config
        counts = [counts] if isinstance(counts, int) else [*counts]
        for count in counts:
            if len(latents) < count:
                raise ValueError(f"num_components is {count}, but there are only {len(latents)} latents")
        fits = {}
        for count in counts:
            config.num_components = count
            self.allocate(config)
            self.to(latents.device)
            self._fit(latents)
            state = {name: value.clone() for name, value in self.named_buffers()}
            fits[count] = (self.bic(latents) if len(counts) > 1 else 0.0, state)
        config.num_components = min(fits, key=lambda count: fits[count][0])
        self._chosen = fits[config.num_components][1]
        self.criteria = {count: bic for count, (bic, _) in fits.items()}  # BIC by number of components

    def allocate(self, config: GaussianMixtureSamplerConfig):
        k, d = config.num_components, config.latent_dim
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.zeros(k, d))
        if config.covariance_type == "diag":  # standard deviations, or Cholesky factors of the covariances
            scales = torch.ones(k, d)
        else:
            scales = torch.eye(d).expand(k if config.covariance_type == "full" else 1, d, d).clone()
        self.register_buffer("scales", scales)

    def estimate(self, latents: Tensor):
        for name, value in self._chosen.items():
            getattr(self, name).copy_(value)
        del self._chosen

    def _fit(self, latents: Tensor):
        config, size = self.config, latents.numel() * self.config.num_components
        if config.covariance_type != "diag":
            size *= latents.shape[1]
        large = size > _LARGE or latents.device.type != "cpu"
        if config.solver == "torch" or (config.solver == "auto" and large):
            return self._maximise(latents.to(self.means.dtype))
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            config.num_components,
            covariance_type=config.covariance_type,
            max_iter=config.num_iterations,
            tol=config.tolerance,
            reg_covar=config.covariance_regularization,
            random_state=config.seed,
        ).fit(latents.cpu().double().numpy())
        self._set(*(torch.from_numpy(t) for t in (mixture.weights_, mixture.means_, mixture.covariances_)))

    def _set(self, weights: Tensor, means: Tensor, covariances: Tensor):
        diagonal = self.config.covariance_type == "diag"
        scales, faults = (covariances.sqrt(), None) if diagonal else torch.linalg.cholesky_ex(covariances)
        if faults is not None and faults.any():
            raise ValueError(
                "the covariance of a component is singular (its latents lie in a plane): raise "
                f"covariance_regularization, which is {self.config.covariance_regularization}, or use "
                "covariance_type='diag'"
            )
        for buffer, value in ((self.weights, weights), (self.means, means), (self.scales, scales)):
            buffer.copy_(value.view(buffer.shape))

    def _maximise(self, latents: Tensor):
        """Expectation maximisation from the clusters of k-means, by sums over parts of the latents."""
        config, k = self.config, self.config.num_components
        device = latents.device
        generator = torch.Generator().manual_seed(config.seed)
        sample = latents[torch.randperm(len(latents), generator=generator)[: 256 * k].to(device)]
        self._step(latents, kmeans(sample, k, 10, generator))
        last = -float("inf")
        for _ in range(config.num_iterations):
            reached = self._step(latents)
            if reached - last < config.tolerance:
                break
            last = reached

    def _step(self, latents: Tensor, centres: Tensor | None = None) -> float:
        """One step, from the clusters about given centres, or from the mixture; gives the mean log density before it.

        Moments are taken about each component's own centre: as differences of large numbers they would have no digits.
        """
        (k, d), kind = self.means.shape, self.config.covariance_type
        about = self.means.clone() if centres is None else centres
        counts, sums, total, overlap = (to_float64(latents.new_zeros(shape)) for shape in ((k,), (k, d), (), (k, k)))
        squares = to_float64(latents.new_zeros({"diag": (k, d), "tied": (1, d, d), "full": (k, d, d)}[kind]))
        for part in latents.split(_ROWS):
            if centres is None:
                each = self.component_log_prob(part)
                total += to_float64(each.logsumexp(-1)).sum()
                r = each.softmax(-1)
            else:
                r = torch.nn.functional.one_hot(proximity_scores(part, centres).argmax(-1), k)
            part, r = to_float64(part), to_float64(r.to(part.dtype))
            counts += r.sum(0)
            with full_precision(part):
                if kind == "tied":
                    z = part - r @ to_float64(about)
                    sums += r.T @ z
                    squares += z.T @ z
                    overlap += r.T @ r
                    continue
                for j, (own, centre) in enumerate(zip(r.T, to_float64(about), strict=True)):
                    z = part - centre
                    sums[j] += own @ z
                    squares[j] += own @ z.square() if kind == "diag" else (z * own.unsqueeze(1)).T @ z
        counts += 1e-15 * len(latents)
        about = to_float64(about)
        if kind == "tied":  # from moments about each row's mixture of centres to those about each centre
            overlap.fill_diagonal_(0)
            between = overlap.sum(1).diag() - overlap
            sums -= between @ about
            squares += about.T @ between @ about
        moves = sums / counts.unsqueeze(1)
        if kind == "tied":
            covariances = (squares - (moves.T * counts) @ moves) / counts.sum()
        elif kind == "full":
            covariances = squares / counts.view(-1, 1, 1) - moves.unsqueeze(-1) * moves.unsqueeze(-2)
        else:
            covariances = (squares / counts.unsqueeze(1) - moves.square()).clamp(min=0)
        if kind == "diag":
            covariances = covariances + self.config.covariance_regularization
        else:
            covariances.diagonal(dim1=-2, dim2=-1).add_(self.config.covariance_regularization)
        self._set(counts / counts.sum(), about + moves, covariances)
        return (total / len(latents)).item()

    def component_log_prob(self, latents: Tensor) -> Tensor:
        """(num, num_components): log pi_k N(z; k), in nats, for latents (num, latent_dim)."""
        d = self.means.shape[1]
        if self.config.covariance_type == "diag":
            pairs = zip(self.means, self.scales, strict=True)
            square = torch.stack([((latents - mean) / std).square().sum(-1) for mean, std in pairs], -1)
            log_det = self.scales.log().sum(-1)
        else:
            inverses = torch.linalg.solve_triangular(
                self.scales, torch.eye(d, dtype=self.dtype, device=self.device), upper=False
            )
            with full_precision(latents):
                if len(inverses) == 1:
                    z, means = (latents - self.means[0]) @ inverses[0].T, (self.means - self.means[0]) @ inverses[0].T
                    square = torch.cdist(z, means, compute_mode="donot_use_mm_for_euclid_dist").square()
                else:
                    pairs = zip(self.means, inverses, strict=True)
                    square = torch.stack([((latents - mean) @ inv.T).square().sum(-1) for mean, inv in pairs], -1)
            log_det = self.scales.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.weights.log() - 0.5 * (square + d * log(2 * pi)) - log_det

    @torch.no_grad()
    def log_prob(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, *latent_shape), in nats."""
        self.require_fitted()
        parts = latents.flatten(1).to(self.dtype).split(_ROWS)
        return torch.cat([self.component_log_prob(part).logsumexp(-1) for part in parts])

    def bic(self, latents: Tensor) -> float:
        """The Bayesian information criterion (Schwarz, 1978) on latents (num, latent_dim), in nats: less is better."""
        k, d = self.means.shape
        per_covariance = d if self.config.covariance_type == "diag" else d * (d + 1) // 2
        free = k - 1 + k * d + per_covariance * (1 if self.config.covariance_type == "tied" else k)
        return -2 * self.log_prob(latents).double().sum().item() + free * log(len(latents))

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        device = generator.device if generator is not None else self.device
        components = torch.multinomial(self.weights.to(device), num_samples, replacement=True, generator=generator)
        components = components.to(self.device)
        noise = randn((num_samples, self.config.latent_dim), self.means, generator)
        if self.config.covariance_type == "diag":
            return self.means[components] + self.scales[components] * noise
        if len(self.scales) == 1:
            return self.means[components] + noise @ self.scales[0].T
        for k, (mean, scale) in enumerate(zip(self.means, self.scales, strict=True)):
            own = components == k
            noise[own] = mean + noise[own] @ scale.T
        return noise


register_sampler(GaussianMixtureSamplerConfig, GaussianMixtureSampler)
