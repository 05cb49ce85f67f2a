r"""RAE-L2: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf, 2020),
arXiv:1903.12436.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \frac{\beta}{2} \|z\|^2 + \lambda\, \|\theta_D\|^2, \quad z = f(x)

Changes: objective.
Use it when: you want sharp images from a deterministic code, and fit a density to it afterwards.

Relations:
    With beta = lambda = 0 it is the AE. RAE-GP penalises the decoder's gradient instead of its parameters.
    RAE-L2 has no prior: to generate images, fit a sampler to its embeddings, as the paper does with a Gaussian
    mixture.
    Pythae decays the decoder's parameters in Adam, which rescales the decay, instead of adding their norm to the loss;
    without its own trainer there is no decay.
"""

__all__ = ["RAEL2Config", "RAEL2Model", "RegularizedAEConfig", "RegularizedAEModel"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import DeterministicModel, GAEConfig, GAEOutput, register_model


@strict
class RegularizedAEConfig(GAEConfig):
    """
    Args:
        embedding_weight: beta, weight of half the squared norm of the latents.
        decoder_penalty_weight: lambda, weight of the penalty on the decoder.
    """

    embedding_weight: float | int = 1e-4
    decoder_penalty_weight: float | int = 1e-3

    def validate_weights(self):
        for name in ("embedding_weight", "decoder_penalty_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class RegularizedAEModel(DeterministicModel):
    """Base of RAE-L2 and RAE-GP, which add penalties on the latents and on the decoder.

    A subclass defines `compute_decoder_penalty`, and names it in `penalty_name`.
    """

    config: RegularizedAEConfig
    penalty_name: str  # the decoder penalty's name among the terms

    config_class = RegularizedAEConfig
    shardable = False

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. `generator` is used by penalties that are random estimates."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, "embedding": 0.5 * latents.square().sum(-1)}
        if return_loss:
            terms[self.penalty_name] = self.compute_decoder_penalty(latents, generator)
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def loss_weights(self) -> dict[str, float]:
        return {"embedding": self.config.embedding_weight, self.penalty_name: self.config.decoder_penalty_weight}

    def compute_decoder_penalty(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The penalty on the decoder: (batch,), or a scalar, for latents (batch, latent_dim)."""
        raise NotImplementedError(f"{type(self).__name__} must define compute_decoder_penalty")


@strict
class RAEL2Config(RegularizedAEConfig):
    """Has the fields of `RegularizedAEConfig`."""

    model_type = "gae_rae_l2"


class RAEL2Model(RegularizedAEModel):
    config: RAEL2Config

    config_class = RAEL2Config
    penalty_name = "decoder_norm"

    def compute_decoder_penalty(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        first, *others = [p.square().sum() for p in self.decoder.parameters()]
        return sum(others, start=first)


register_model(RAEL2Config, RAEL2Model)
