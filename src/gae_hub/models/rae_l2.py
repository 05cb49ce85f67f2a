r"""RAE-L2: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf, 2020),
arXiv:1903.12436.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \frac{\beta}{2} \|z\|^2 + \lambda\, \|\theta_D\|^2, \quad z = f(x)

Changes: objective.
Use it when: you want sharp images from a deterministic code, and fit a density to it afterwards.

Relations:
    Weights of zero give the AE. RAE-GP smooths the decoder by its gradient in place of its weights.
    It has no prior: to generate, fit a sampler on its embeddings, the paper's a Gaussian mixture.
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
        embedding_weight: beta, weight of half the square norm of the latents.
        decoder_penalty_weight: lambda, weight of the decoder's penalty.
    """

    embedding_weight: float | int = 1e-4
    decoder_penalty_weight: float | int = 1e-3

    def validate_weights(self):
        for name in ("embedding_weight", "decoder_penalty_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class RegularizedAEModel(DeterministicModel):
    """What both have in common: a penalty on the latents, and one on the decoder."""

    config_class = RegularizedAEConfig
    shardable = False
    penalty: str  # the name of its term

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch; `generator` is for penalties that are estimated."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, "embedding": 0.5 * latents.square().sum(-1)}
        if return_loss:
            terms[self.penalty] = self.decoder_penalty(latents, generator)
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def loss_weights(self) -> dict[str, float]:
        return {"embedding": self.config.embedding_weight, self.penalty: self.config.decoder_penalty_weight}

    def decoder_penalty(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The decoder's penalty, per example, (batch,), or a scalar."""
        raise NotImplementedError


@strict
class RAEL2Config(RegularizedAEConfig):
    """Fields as in `RegularizedAEConfig`."""

    model_type = "gae_rae_l2"


class RAEL2Model(RegularizedAEModel):
    config_class = RAEL2Config
    penalty = "decoder_norm"

    def decoder_penalty(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return sum(p.square().sum() for p in self.decoder.parameters())


register_model(RAEL2Config, RAEL2Model)
