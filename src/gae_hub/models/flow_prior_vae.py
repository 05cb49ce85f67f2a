r"""Flow-prior VAE: Variational Lossy Autoencoder (Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever &
Abbeel, 2017), arXiv:1611.02731.

.. math::
    \mathcal{L}(x) = \mathbb{E}_{q(z|x)} \left[ \log q(z|x) - \log p(x|z) - \log p(z) \right], \quad
    p(z) = N(u; 0, I) \left| \det \frac{du}{dz} \right|, \quad u_i = (z_i - \mu_i(z_{<i})) \exp(-\alpha_i(z_{<i}))

in each of the K steps from z to u. The order of the dimensions is reversed from step to step. The prior is thus a
masked autoregressive flow, which is learned with encoder and decoder.

Changes: prior.
Use it when: samples of N(0, I) look bad: the prior becomes a normalizing flow, learned with the model.

Relations:
    Without steps it is the VAE with a Monte Carlo estimate of its KL. It has the same bound as a VAE-IAF without
    context: with u as latents, :math:`q(u|x)` is an inverse autoregressive flow, the prior is N(0, I), and the decoder
    begins with the map from u to z. So this prior costs no more to train than that posterior, and has the deeper
    decoder (section 3.2).
    VAMP learns a mixture as its prior. A MAF that is fitted after training leaves the encoder unchanged.
    The paper's decoder is autoregressive over small windows of pixels; here it is the decoder of every other method.
"""

__all__ = ["FlowPriorVAEConfig", "FlowPriorVAEModel", "build_prior_flow"]

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from torch import Generator, Tensor

from gae_hub.modules.autoregressive_steps import MaskedAutoregressiveStep
from gae_hub.modules.flows import Flow
from gae_hub.modules.posteriors import GaussianPosterior, gaussian_log_prob

from .base import inference, register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class FlowPriorVAEConfig(VAEConfig):
    """
    Args:
        num_flows: K, the number of steps.
        num_hidden_layers: number of hidden layers of the MADE in each step.
        hidden_size: width of these layers.
        activation: activation of these layers.
    """

    model_type = "gae_flow_prior_vae"

    num_flows: int = 2
    num_hidden_layers: int = 2
    hidden_size: int = 128
    activation: Literal["elu", "relu"] = "elu"

    def validate_flows(self):
        self.require_positive("num_hidden_layers", "hidden_size")
        if self.num_flows < 0:
            raise ValueError(f"num_flows must be 0 or more, got {self.num_flows}")


class FlowPriorVAEModel(MonteCarloVAEModel):
    config: FlowPriorVAEConfig
    prior: Flow

    config_class = FlowPriorVAEConfig

    def setup(self, config: FlowPriorVAEConfig):
        super().setup(config)
        sizes = {name: getattr(config, name) for name in ("num_hidden_layers", "hidden_size", "activation")}
        self.prior = build_prior_flow(config.latent_dim, config.num_flows, **sizes)

    def encode(self, pixel_values: Tensor) -> GaussianPosterior:
        posterior = super().encode(pixel_values)
        return GaussianPosterior(posterior.mean, posterior.log_var)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws) log density of the flow at latents (batch, *draws, latent_dim), in nats."""
        noise, log_det = self.prior(latents)
        return gaussian_log_prob(noise).sum(-1) + log_det

    @inference
    def sample_prior(self, num_samples: int, generator: Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): samples of N(0, I), mapped to latents by the inverse of the flow."""
        return self.prior.inverse(super().sample_prior(num_samples, generator))[0]


def build_prior_flow(latent_dim: int, num_flows: int, **made_options: Any) -> Flow:
    """Masked autoregressive steps from latents to noise; `made_options` are arguments of [`MADE`]."""
    return Flow(*(MaskedAutoregressiveStep(latent_dim, reverse=k % 2 == 1, **made_options) for k in range(num_flows)))


register_model(FlowPriorVAEConfig, FlowPriorVAEModel)
