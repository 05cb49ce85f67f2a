"""What the samplers that are normalizing flows have in common."""

__all__ = ["AffineFlowSampler", "AffineFlowSamplerConfig", "FlowSampler", "FlowSamplerConfig"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..models.base import GAEOutput, inference
from ..modules.flows import BatchNormStep, Flow, Standardization
from ..modules.noise import randn
from ..modules.posteriors import gaussian_log_prob
from .base import GAESamplerConfig
from .learned import LearnedSampler


@strict
class FlowSamplerConfig(GAESamplerConfig):
    """
    Args:
        num_flows: autoregressive steps; each has the order of the one before reversed. Papamakarios et al. have 5 and
            10 in their tables: for a density with several modes, take 5.
        num_hidden_layers, hidden_size, activation: of the MADE in each step.
        batch_norm: whether each step is followed by batch norm.
        order: of the dimensions in the first step: "natural", "random", or all of 0 to latent_dim - 1 in any order.
        drawn_order: what "random" has drawn; `fit` fills it in.
        seed: of weights, order and batches.
    """

    num_flows: int = 2
    num_hidden_layers: int = 3
    hidden_size: int = 128
    activation: Literal["elu", "relu"] = "elu"
    batch_norm: bool = False
    order: Literal["natural", "random"] | list[int] | tuple[int, ...] = "natural"
    drawn_order: list[int] | tuple[int, ...] | None = None
    seed: int = 0

    def validate_flow(self):
        self.require_positive("num_flows", "num_hidden_layers", "hidden_size")


@strict
class AffineFlowSamplerConfig(FlowSamplerConfig):
    """
    Args:
        log_scale_bound: bound of the log scales in each step. With larger bounds a few latents move so far out that
            their likelihood outweighs all others: five steps diverge with 5 on two moons, and with 3 on a sphere.
    """

    activation: Literal["elu", "relu"] = "relu"
    log_scale_bound: float | int = 2.0

    def validate_bound(self):
        self.require_positive("log_scale_bound")


class FlowSampler(LearnedSampler):
    """Base: `self.flow` takes latents to standard normal noise. A subclass gives `step(dim, **made)`, one block."""

    config_class = FlowSamplerConfig

    def step(self, dim: int, **made) -> torch.nn.Module:
        """One autoregressive step with `forward` towards the noise."""
        raise NotImplementedError(f"{type(self).__name__} must define step")

    def prepare(self, latents: Tensor):
        if self.config.order == "random":
            generator = torch.Generator().manual_seed(self.config.seed)
            self.config.drawn_order = torch.randperm(latents.shape[1], generator=generator).tolist()

    def allocate(self, config: FlowSamplerConfig):
        steps = [Standardization(config.latent_dim)]
        order = (
            {"natural": None, "random": config.drawn_order}[config.order]
            if isinstance(config.order, str)
            else config.order
        )
        for block in range(config.num_flows):
            steps.append(
                self.step(
                    config.latent_dim,
                    hidden_size=config.hidden_size,
                    num_hidden_layers=config.num_hidden_layers,
                    activation=config.activation,
                    reverse=block % 2 == 1,
                    order=order,
                )
            )
            if config.batch_norm:
                steps.append(BatchNormStep(config.latent_dim))
        self.flow = Flow(*steps)
        self.min_batch_size = 2 if config.batch_norm else 1

    def standardize(self, latents: Tensor):
        self.flow.steps[0].fit(latents)

    def forward(self, latents: Tensor, return_loss: bool = True) -> GAEOutput:
        """The mean of -log p(z), in nats, as loss."""
        return self.build_output({"negative_log_likelihood": -self.density(latents.flatten(1))}, return_loss)

    def density(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, latent_dim)."""
        noise, log_det = self.flow(latents.to(self.dtype))
        return gaussian_log_prob(noise).sum(-1) + log_det

    @inference
    def log_prob(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, *latent_shape), in nats."""
        self.require_fitted()
        return torch.cat([self.density(part) for part in latents.flatten(1).split(10_000)])

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        return self.flow.inverse(randn((num_samples, self.config.latent_dim), self.flow.steps[0].mean, generator))[0]


class AffineFlowSampler(FlowSampler):
    """Base of MAF and IAF: few far latents make most of the gradient now and then, so its norm is clipped."""

    config_class = AffineFlowSamplerConfig
    default_arguments = {**FlowSampler.default_arguments, "max_grad_norm": 1.0}
