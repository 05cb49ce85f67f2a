r"""VAE-lin-NF: Variational Inference with Normalizing Flows (Rezende & Mohamed, 2015), arXiv:1505.05770.

.. math::
    \mathcal{L}(x) = \mathbb{E}_{q_0(z_0|x)} \left[ \log q_0(z_0|x) - \sum_{k=1}^K \log \left| \det
    \frac{\partial f_k(z_{k-1}; x)}{\partial z_{k-1}} \right| - \log p(x|z_K) - \log p(z_K) \right],
    \quad z_k = f_k(z_{k-1}; x)

Each :math:`f_k` is a planar or a radial step, whose determinant is as cheap as the step itself.

Changes: bound.
Use it when: a Gaussian posterior is too simple, and a few cheap transformations are enough.

Relations:
    Without steps it is the VAE with a Monte Carlo estimate of its KL. The steps of VAE-IAF contain networks.
    Pythae has one flow for all images (here amortized=False), does not keep planar steps invertible, and embeds
    without the flow; here every step is invertible, and embeddings pass through the flow.
"""

__all__ = ["VAELinNFConfig", "VAELinNFModel"]

from functools import partial
from math import prod

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.modules.flow_posterior import FlowPosterior
from gae_hub.modules.planar_radial import ELEMENTARY_FLOWS
from gae_hub.modules.posteriors import DiagonalGaussian, Posterior
from gae_hub.modules.precision import at_least_float32

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class VAELinNFConfig(VAEConfig):
    """
    Args:
        flows: the steps in order, each "planar" or "radial".
        amortized: whether the encoder computes the parameters of the steps for each image, as in the paper. Otherwise
            all images share them.
    """

    model_type = "gae_vae_lin_nf"

    flows: list[str] | tuple[str, ...] = ("planar",) * 5
    amortized: bool = True

    def validate_flows(self):
        for name in self.flows:
            if name not in ELEMENTARY_FLOWS:
                raise ValueError(f"flows must contain only {' or '.join(map(repr, ELEMENTARY_FLOWS))}, got {name!r}")


class VAELinNFModel(MonteCarloVAEModel):
    config: VAELinNFConfig
    parameter_sizes: list[list[int]]  # of each step; zeros in its first parameter make it the identity
    flow_parameters: nn.Parameter  # (1, total size), without amortization

    head: nn.Linear

    config_class = VAELinNFConfig
    supports_maps = False

    def setup(self, config: VAELinNFConfig):
        self.parameter_sizes = [ELEMENTARY_FLOWS[name].parameter_sizes(config.latent_dim) for name in config.flows]
        count = sum(map(sum, self.parameter_sizes))
        outputs = 2 * config.latent_dim + (count if config.amortized else 0)
        self.head = nn.Linear(prod(self.feature_shape), outputs)
        if count and not config.amortized:
            self.flow_parameters = nn.Parameter(torch.empty(1, count))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is not self or not self.parameter_sizes:
            return
        start = [float(i >= first) for first, *rest in self.parameter_sizes for i in range(first + sum(rest))]
        if not self.config.amortized:
            init.normal_(self.flow_parameters, std=self.config.latent_dim**-0.5)
            init.copy_(self.flow_parameters, self.flow_parameters * self.flow_parameters.new_tensor(start))
            return
        rows = self.head.bias.new_tensor([1.0] * (2 * self.config.latent_dim) + start)
        init.copy_(self.head.bias, self.head.bias * rows)
        init.copy_(self.head.weight, self.head.weight * rows.unsqueeze(1))

    def encode(self, pixel_values: Tensor) -> Posterior:
        d = self.config.latent_dim
        outputs = at_least_float32(self.head(self.encode_features(pixel_values)))
        base = DiagonalGaussian(outputs[:, :d], outputs[:, d : 2 * d])
        if not self.parameter_sizes:
            return base
        parameters = outputs[:, 2 * d :] if self.config.amortized else at_least_float32(self.flow_parameters)
        parts = parameters.split([sum(sizes) for sizes in self.parameter_sizes], dim=-1)
        steps = (ELEMENTARY_FLOWS[name].step for name in self.config.flows)
        return FlowPosterior(base, [partial(s, parameters=p) for s, p in zip(steps, parts, strict=True)])


register_model(VAELinNFConfig, VAELinNFModel)
