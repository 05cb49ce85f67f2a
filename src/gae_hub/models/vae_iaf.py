r"""VAE-IAF: Improved Variational Inference with Inverse Autoregressive Flow (Kingma, Salimans, Jozefowicz, Chen,
Sutskever & Welling, 2016), arXiv:1606.04934.

.. math::
    \mathcal{L}(x) = \mathbb{E}_{q_0(z_0|x)} \left[ \log q_0(z_0|x) - \sum_{k=1}^K \sum_j \log \sigma_{k,j}
    - \log p(x|z_K) - \log p(z_K) \right], \quad z_k = \sigma_k \odot z_{k-1} + (1 - \sigma_k) \odot m_k

The gate :math:`\sigma_k` and the shift :math:`m_k` of dimension j are outputs of a MADE, for the dimensions before j
and a context h(x) from the encoder. The order of the dimensions is reversed from step to step.

Changes: bound.
Use it when: a Gaussian posterior is too simple, and latents have many dimensions.

Relations:
    Without steps it is the VAE with a Monte Carlo estimate of its KL. VAE-lin-NF has planar and radial steps.
    Pythae has no context (here context_size=0), no gate (flow_update="affine"), ReLUs (activation="relu") and no bound
    on the log scales (log_scale_bound=None). Its narrow networks ignore some dimensions, and it embeds without the
    flow; here all dimensions are used, and embeddings pass through the flow.
"""

__all__ = ["VAEIAFConfig", "VAEIAFModel"]

from functools import partial
from math import prod
from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.autoregressive_steps import InverseAutoregressiveStep
from gae_hub.modules.flow_posterior import FlowPosterior
from gae_hub.modules.posteriors import DiagonalGaussian, Posterior
from gae_hub.modules.precision import at_least_float32

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class VAEIAFConfig(VAEConfig):
    """
    Args:
        num_flows: K, the number of steps.
        num_hidden_layers: number of hidden layers of the MADE in each step.
        hidden_size: width of these layers.
        activation: activation of these layers.
        context_size: size of h(x); 0 for no context.
        flow_update: "gated", as in equations 13 and 14 of the paper, or "affine", exp(a) z + m.
        forget_bias: added to the gates before their sigmoid. With a positive value the first steps are close to the
            identity.
        log_scale_bound: the log scales a of "affine" lie in (-bound, bound); None for no bound.
        reverse: whether steps 1, 3, ... order the dimensions from last to first, instead of steps 2, 4, ...
    """

    model_type = "gae_vae_iaf"

    num_flows: int = 2
    num_hidden_layers: int = 2
    hidden_size: int = 128
    activation: Literal["elu", "relu"] = "elu"
    context_size: int = 16
    flow_update: Literal["gated", "affine"] = "gated"
    forget_bias: float | int = 2.0
    log_scale_bound: float | int | None = 5.0
    reverse: bool = False

    def validate_flows(self):
        self.require_positive(
            "num_hidden_layers", "hidden_size", *(["log_scale_bound"] if self.log_scale_bound is not None else [])
        )
        for name in ("num_flows", "context_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class VAEIAFModel(MonteCarloVAEModel):
    config: VAEIAFConfig
    flows: nn.ModuleList

    config_class = VAEIAFConfig
    supports_maps = False

    def setup(self, config: VAEIAFConfig):
        context_size = config.context_size if config.num_flows else 0
        self.head = nn.Linear(prod(self.feature_shape), 2 * config.latent_dim + context_size)
        self.flows = nn.ModuleList(
            InverseAutoregressiveStep(
                config.latent_dim,
                update=config.flow_update,
                forget_bias=config.forget_bias,
                log_scale_bound=config.log_scale_bound,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.num_hidden_layers,
                activation=config.activation,
                context_size=context_size,
                reverse=(k + config.reverse) % 2 == 1,
            )
            for k in range(config.num_flows)
        )

    def encode(self, pixel_values: Tensor) -> Posterior:
        d = self.config.latent_dim
        outputs = at_least_float32(self.head(self.encode_features(pixel_values)))
        base = DiagonalGaussian(outputs[:, :d], outputs[:, d : 2 * d])
        if not self.config.num_flows:
            return base
        return FlowPosterior(base, [partial(step, context=outputs[:, 2 * d :]) for step in self.flows])


register_model(VAEIAFConfig, VAEIAFModel)
