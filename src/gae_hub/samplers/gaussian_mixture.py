r"""Gaussian mixture: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf,
2020), arXiv:1903.12436.

.. math::
    q(z) = \sum_k \pi_k N(z; \mu_k, \Sigma_k)

Fitted to latents of the training set by expectation maximization: by scikit-learn, or on the device of the
latents if the set is large.

Use it when: you need a first sampler: it is fast, has few settings, and improves on the prior of most methods.

Relations:
    One component is the Gaussian of the latents. Flows (MAF, IAF) fit densities that a mixture cannot.
    Pythae returns samples grouped by component; here the component of each sample is drawn independently.
"""

__all__ = ["GaussianMixtureSampler", "GaussianMixtureSamplerConfig"]

from math import log
from typing import Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor
from tqdm.auto import tqdm

from ..core.threads import single_thread
from ..modules.expectation_maximization import GaussianMixture, maximize_likelihood
from .base import GAESampler, GAESamplerConfig, fitting_bar, register_sampler
from .constant_dimensions import select_varying

_MAX_SKLEARN_SIZE = 1e9  # multiply-adds per iteration, above which scikit-learn takes too long


@strict
class GaussianMixtureSamplerConfig(GAESamplerConfig):
    """Config of [`GaussianMixtureSampler`].

    Args:
        num_components: number of Gaussians. From a list of numbers, `fit` selects the one with the lowest Bayesian
            information criterion and sets it here.
        covariance_type: "full", "diag", or "tied", one full covariance for all components.
        num_iterations: maximum number of iterations of expectation maximization.
        tolerance: iterations stop when the mean log density rises by less, in nats per example.
        covariance_regularization: added to the variances, as in scikit-learn. It widens dimensions whose variance is
            not far above it: choose it below the smallest variance.
        solver: "sklearn"; "torch", on the device of the latents; or "auto": "torch" for large sets and on GPUs.
        seed: seed of the k-means initialisation.
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
            raise ValueError("num_components must have at least one number, got an empty list")


class GaussianMixtureSampler(GAESampler):
    """A mixture of Gaussians, fitted to latents by expectation maximization.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given: `GaussianMixtureSampler(num_components=10)`.

    Attributes:
        bic_by_num_components: the criterion of each number of components, if the config had several; in nats.
    """

    config: GaussianMixtureSamplerConfig
    weights: Tensor  # these three as in `GaussianMixture`
    means: Tensor
    scales: Tensor
    bic_by_num_components: dict[int, float]

    config_class = GaussianMixtureSamplerConfig
    _keep_in_fp32_modules_strict = ["weights", "means", "scales"]
    omits_constants = True

    def allocate(self, config: GaussianMixtureSamplerConfig):
        k, d = cast(int, config.num_components), config.density_dim
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.zeros(k, d))
        if config.covariance_type == "diag":
            scales = torch.ones(k, d)
        else:
            scales = torch.eye(d).expand(k if config.covariance_type == "full" else 1, d, d).clone()
        self.register_buffer("scales", scales)

    @property
    def mixture(self) -> GaussianMixture:
        """The fitted density. It shares its tensors with the sampler."""
        return GaussianMixture(self.weights, self.means, self.scales, self.config.covariance_type)

    def estimate_density(self, latents: Tensor, progress: bool = True):
        counts = self.config.num_components
        counts = [counts] if isinstance(counts, int) else [*counts]
        for count in counts:
            if len(latents) < count:
                raise ValueError(f"num_components must be at most the number of latents, {len(latents)}, got {count}")
        fitted: dict[int, dict[str, Tensor]] = {}
        self.bic_by_num_components = {}
        for count in counts:
            self.config.num_components = count
            self.reallocate(latents.device)
            with fitting_bar(progress, f"a mixture of {count}", unit=" iterations") as bar:
                self._fit_components(latents, bar)
            if len(counts) > 1:
                fitted[count] = dict(self.named_buffers())
                self.bic_by_num_components[count] = self._compute_bic(latents)
        if len(counts) > 1:
            best = min(self.bic_by_num_components, key=self.bic_by_num_components.__getitem__)
            self.config.num_components = best
            for name, value in fitted[best].items():
                setattr(self, name, value)

    def _fit_components(self, latents: Tensor, bar: tqdm):
        """Fit the mixture. Each iteration moves the progress bar."""
        config = self.config
        if self._prefers_torch(latents):
            return maximize_likelihood(
                self.mixture,
                latents.to(self.means.dtype),
                config.num_iterations,
                config.tolerance,
                config.covariance_regularization,
                config.seed,
                bar.update,
            )
        from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

        class ReportingGaussianMixture(SklearnGaussianMixture):
            def _print_verbose_msg_iter_end(self, n_iter, diff_ll):  # called after each iteration
                bar.update()

        mixture = ReportingGaussianMixture(
            len(self.weights),
            covariance_type=config.covariance_type,
            max_iter=config.num_iterations,
            tol=config.tolerance,
            reg_covar=config.covariance_regularization,
            random_state=config.seed,
        )
        with single_thread():
            found = mixture.fit(latents.cpu().double().numpy())
        arrays = (found.weights_, found.means_, found.covariances_)
        weights, means, covariances = (torch.from_numpy(array) for array in arrays)
        self.mixture.assign(weights, means, covariances, config.covariance_regularization)

    def _prefers_torch(self, latents: Tensor) -> bool:
        if self.config.solver != "auto":
            return self.config.solver == "torch"
        size = latents.numel() * len(self.weights)
        if self.config.covariance_type != "diag":
            size *= latents.shape[1]
        return size > _MAX_SKLEARN_SIZE or latents.device.type != "cpu"

    def compute_log_density(self, latents: Tensor) -> Tensor:
        return self.mixture.log_prob(latents)

    def compute_log_density_of_directions(self, latents: Tensor) -> Tensor:
        return self.mixture.direction_log_prob(latents)

    def bic(self, latents: Tensor) -> float:
        """Bayesian information criterion (Schwarz, 1978) on latents (num, *latent_shape), in nats. Lower is better.

        It is that of the mixture, also with `unit_norm`, of the dimensions that vary.
        """
        points = select_varying(self._flatten_latents(latents), self.config.constants)
        return self._compute_bic(points)

    def _compute_bic(self, points: Tensor) -> float:
        log_likelihood = self.mixture.log_prob(points.to(self.dtype)).double().sum().item()
        return -2 * log_likelihood + self.mixture.num_parameters() * log(len(points))

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        return self.mixture.sample(num_samples, generator)


register_sampler(GaussianMixtureSamplerConfig, GaussianMixtureSampler)
