"""The base of the samplers that are normalizing flows."""

__all__ = ["AffineFlowSampler", "AffineFlowSamplerConfig", "FlowSampler", "FlowSamplerConfig"]

from typing import Any, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers.utils.generic import can_return_tuple

from ..models.base import GAEOutput
from ..modules.flows import BatchNormStep, Flow, FlowStep, Standardization
from ..modules.noise import randn
from ..modules.posteriors import gaussian_log_prob
from .base import require_value
from .learned import LearnedSampler, LearnedSamplerConfig

_MAX_ROWS = 10_000  # latents per pass of `log_prob`


@strict
class FlowSamplerConfig(LearnedSamplerConfig):
    """Fields of every flow.

    Args:
        num_flows: number of autoregressive steps, each with the order of the previous one reversed. The tables of
            Papamakarios et al. have 5 and 10; use 5 for a density with several modes.
        num_hidden_layers: number of hidden layers of the MADE in each step.
        hidden_size: width of these layers.
        activation: activation of these layers.
        batch_norm: whether batch normalization follows each step.
        order: order of the dimensions in the first step: "natural", "random", or a permutation of 0 to latent_dim - 1.
        drawn_order: the permutation drawn for "random", of the dimensions that vary. `fit` sets it.
        seed: seed of the initial weights, the random order and the order of the batches.
    """

    num_flows: int = 2
    num_hidden_layers: int = 3
    hidden_size: int = 128
    activation: Literal["elu", "relu"] = "elu"
    batch_norm: bool = False
    order: Literal["natural", "random"] | list[int] | tuple[int, ...] = "natural"
    drawn_order: list[int] | tuple[int, ...] | None = None

    set_by_fit = (*LearnedSamplerConfig.set_by_fit, "drawn_order")

    def validate_flow(self):
        self.require_positive("num_flows", "num_hidden_layers", "hidden_size")


@strict
class AffineFlowSamplerConfig(FlowSamplerConfig):
    """Fields of MAF and IAF.

    Args:
        log_scale_bound: bound of the log scales in each step. With larger bounds, a few latents are mapped so far out
            that their likelihood outweighs all others: five steps diverge with 5 on two moons, and with 3 on a sphere.
    """

    activation: Literal["elu", "relu"] = "relu"
    log_scale_bound: float | int = 2.0

    def validate_bound(self):
        self.require_positive("log_scale_bound")


class FlowSampler(LearnedSampler):
    """Base of the flows: `self.flow` maps latents to standard normal noise. A subclass defines `build_step`."""

    config: FlowSamplerConfig
    flow: Flow

    config_class = FlowSamplerConfig
    # the buffers of Standardization and BatchNormStep
    _keep_in_fp32_modules_strict = [
        *LearnedSampler._keep_in_fp32_modules_strict,
        "mean",
        "std",
        "running_mean",
        "running_var",
    ]

    def build_step(self, dim: int, **made_arguments: Any) -> FlowStep:
        """One autoregressive step, whose `forward` maps latents to noise. `made_arguments` are as for [`MADE`]."""
        raise NotImplementedError(f"{type(self).__name__} must define build_step")

    def allocate(self, config: FlowSamplerConfig):
        d = config.density_dim
        orders = {"natural": None, "random": config.drawn_order}
        order = orders[config.order] if isinstance(config.order, str) else self._order_varying(config)
        steps: list[FlowStep] = [Standardization(d)]
        for block in range(config.num_flows):
            steps.append(
                self.build_step(
                    d,
                    hidden_size=config.hidden_size,
                    num_hidden_layers=config.num_hidden_layers,
                    activation=config.activation,
                    reverse=block % 2 == 1,
                    order=order,
                )
            )
            if config.batch_norm:
                steps.append(BatchNormStep(d))
        self.flow = Flow(*steps)
        self.min_batch_size = 2 if config.batch_norm else 1

    @staticmethod
    def _order_varying(config: FlowSamplerConfig) -> list[int]:
        """The order of the dimensions that vary, numbered among themselves, from the order of all dimensions.

        Raises:
            ValueError: if the order is not a permutation of all dimensions.
        """
        latent_dim = require_value(config.latent_dim, "latent_dim")
        if sorted(config.order) != [*range(latent_dim)]:
            raise ValueError(f"order must contain each of 0 to {latent_dim - 1} once, got {config.order}")
        constants = config.constants or [None] * latent_dim
        varying = [dim for dim, value in enumerate(constants) if value is None]
        return [varying.index(dim) for dim in config.order if dim in varying]

    @property
    def standardization(self) -> Standardization:
        """The first step of the flow."""
        return cast(Standardization, self.flow.steps[0])

    def fit_standardization(self, latents: Tensor):
        self.standardization.fit(latents)

    def estimate_density(self, latents: Tensor, progress: bool = True, **training: Any):
        if self.config.order == "random":
            generator = torch.Generator().manual_seed(self.config.seed)
            self.config.drawn_order = torch.randperm(latents.shape[1], generator=generator).tolist()
        super().estimate_density(latents, progress, **training)

    @can_return_tuple
    def forward(self, latents: Tensor, return_loss: bool = True) -> GAEOutput:
        """The loss: the mean of -log p(z) over latents (batch, density_dim), in nats."""
        self.check_density_dim(latents)
        return self.build_output({"negative_log_likelihood": -self._log_density(latents)}, return_loss)

    def _log_density(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, latent_dim), with gradients."""
        noise, log_det = self.flow(latents.to(self.latent_dtype))
        return gaussian_log_prob(noise).sum(-1) + log_det

    def compute_log_density(self, latents: Tensor) -> Tensor:
        return torch.cat([self._log_density(part) for part in latents.split(_MAX_ROWS)])

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        shape = (num_samples, self.config.density_dim)
        like = torch.empty(0, device=self.device, dtype=self.latent_dtype)
        return self.flow.inverse(randn(shape, like, generator))[0]


class AffineFlowSampler(FlowSampler):
    """Base of MAF and IAF. The gradient's norm is clipped: sometimes a few distant latents dominate it."""

    config: AffineFlowSamplerConfig

    config_class = AffineFlowSamplerConfig
    default_arguments = {**FlowSampler.default_arguments, "max_grad_norm": 1.0}
