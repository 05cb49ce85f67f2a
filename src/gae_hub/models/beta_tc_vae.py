r"""beta-TC-VAE: Isolating Sources of Disentanglement in VAEs (Chen, Li, Grosse & Duvenaud, 2018), arXiv:1802.04942.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \alpha\, I(x; z) + \beta\, TC(z) + \gamma \sum_j KL(q(z_j) \| p(z_j))

The three regularisers add up to :math:`KL(q(z|x) \| p(z))`. They need the aggregated posterior :math:`q(z)`, the
mixture of the posteriors of the whole data set. It is estimated from the minibatch by importance weighting (appendix C
of the paper).

Changes: objective.
Use it when: you want disentangled latents without the blur of a large beta.

Relations:
    alpha = beta = gamma = 1 is the VAE with a Monte Carlo estimate of its KL. FactorVAE penalises the same total
    correlation with a discriminator, without the minibatch bias.
    Pythae puts the stratified weights in the wrong columns; here each example's own posterior has the weight 1 / N.
"""

__all__ = ["BetaTCVAEConfig", "BetaTCVAEModel"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.core.distributed import gather_batch, process_index
from gae_hub.modules.losses import require_examples
from gae_hub.modules.posteriors import DiagonalGaussian, gaussian_log_prob

from .base import GAEOutput, register_model
from .vae import VAEConfig, VAEModel


@strict
class BetaTCVAEConfig(VAEConfig):
    """
    Args:
        alpha: weight of the mutual information.
        beta: weight of the total correlation, the only one that the paper tunes.
        gamma: weight of the dimension-wise KL.
        estimator: "stratified" (unbiased mixture weights, minibatch stratified sampling) or "weighted" (biased, as in
            the paper's code).
        dataset_size: number of training examples N, which the trainer sets. By default the minibatch is treated as the
            whole data set.
    """

    model_type = "gae_beta_tc_vae"

    alpha: float | int = 1.0
    beta: float | int = 1.0
    gamma: float | int = 1.0
    estimator: Literal["stratified", "weighted"] = "stratified"
    dataset_size: int | None = None

    def validate_weights(self):
        for name in ("alpha", "beta", "gamma"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.dataset_size is not None:
            self.require_positive("dataset_size")


class BetaTCVAEModel(VAEModel):
    config: BetaTCVAEConfig

    config_class = BetaTCVAEConfig
    kl_terms = ("mutual_information", "total_correlation", "dimension_wise_kl")
    min_batch_size = 2

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch of at least 2, with one sample per example."""
        posterior = self.encode(pixel_values)
        latents, noise = posterior.rsample_and_noise(generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        if return_loss:
            terms |= self.decompose_kl(posterior, latents, noise)
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def decompose_kl(self, posterior: DiagonalGaussian, latents: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The three parts of the KL, each (batch,), in nats.

        Args:
            posterior: q(z|x) of the batch.
            latents, noise: (batch, latent_dim) each, a sample per example and the noise that it was made from.
        """
        means, log_vars = gather_batch(posterior.mean), gather_batch(posterior.log_var)
        require_examples(means.shape[0], "beta-TC-VAE, which estimates q(z) from the minibatch,")
        log_q_z_given_x = posterior.log_prob_of_noise(noise)
        log_p_z = gaussian_log_prob(latents)

        # (batch, batch of all processes, latent_dim): density of sample i under posterior j, dimension by dimension
        num, num_all = latents.shape[0], means.shape[0]
        own = process_index() * num + torch.arange(num, device=latents.device)
        is_own = (own.unsqueeze(1) == torch.arange(num_all, device=latents.device)).unsqueeze(-1)
        pairwise = gaussian_log_prob(latents.unsqueeze(1), means, log_vars)
        pairwise = torch.where(is_own, log_q_z_given_x.unsqueeze(1), pairwise)
        log_weights = self.compute_log_mixture_weights(num_all).to(pairwise)[own]
        log_q_z = torch.logsumexp(log_weights + pairwise.sum(-1), dim=1)
        log_q_z_each = torch.logsumexp(log_weights.unsqueeze(-1) + pairwise, dim=1)

        return {
            "mutual_information": log_q_z_given_x.sum(-1) - log_q_z,
            "total_correlation": log_q_z - log_q_z_each.sum(-1),
            "dimension_wise_kl": (log_q_z_each - log_p_z).sum(-1),
        }

    def loss_weights(self) -> dict[str, float]:
        return {
            "mutual_information": self.config.alpha,
            "total_correlation": self.config.beta,
            "dimension_wise_kl": self.config.gamma,
        }

    def compute_log_mixture_weights(self, batch: int) -> Tensor:
        """(batch, batch): log weight of posterior j in the estimate of q(z_i). Rows of stratified weights sum to 1."""
        num = torch.scalar_tensor(batch)  # a tensor, as branches on the batch size would compile for each size
        size = num.clamp(min=self.config.dataset_size or 0)
        others = num - 1
        if self.config.estimator == "weighted":
            weights = (1 / (num * size)).expand(batch, batch)
        else:
            places = torch.arange(batch)
            after = (places - places.unsqueeze(1)) % batch  # how far j lies behind i
            weights = torch.where(after == 1, (size - others) / (size * others), 1 / others)
            weights = torch.where(after == 0, 1 / size, weights)
        # a minibatch that is the whole data set has the exact mixture
        return torch.where(size == num, 1 / num, weights).log()


register_model(BetaTCVAEConfig, BetaTCVAEModel)
