r"""VQ-VAE: Neural Discrete Representation Learning (van den Oord, Vinyals & Kavukcuoglu, 2017), arXiv:1711.00937.

.. math::
    \mathcal{L}(x) = -\log p(x|e) + \beta \|z - \mathrm{sg}(e)\|^2 + \|\mathrm{sg}(z) - e\|^2, \quad
    z = f(x), \quad e = \arg\min_{e_k} \|z - e_k\|

with sums over the tokens of z and their dimensions. The gradient of the decoder is copied from e to z
(straight-through). By default, code vectors are moving averages of their tokens, which replaces the last term.

Changes: discrete.
Use it when: you want a code of integers: to compress, or to model with PixelCNN or a transformer.

Relations:
    With beta = 0 and a codebook that contains every z, it is the AE. HRQ-VAE sums the code vectors of several levels.
    The KL to the prior, uniform over codes, is the constant log K per token, and is omitted. Samples of that prior do
    not look like data: to generate, fit a sampler on the embeddings, as the paper fits a PixelCNN on the codes.
    Pythae treats each coordinate of a flat latent as a token, averages the quantizer's terms over all numbers of the
    batch (its unreleased version sums them), and overwrites its counts with smoothed ones, so that unused codes
    diverge; here a flat latent is one token, terms are summed over an example's numbers, and unused codes do not move.
    Initialisation from data and revival of dead codes exist only here.
"""

__all__ = ["VQVAEConfig", "VQVAEModel", "VQVAEOutput"]

from dataclasses import dataclass
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.codebooks import Codebook

from .base import GAEOutput, register_model
from .quantized import QuantizedConfig, QuantizedModel


@dataclass
class VQVAEOutput(GAEOutput):
    """What `forward` returns.

    Args:
        codes: (batch, *code_shape), for example (batch,), or (batch, height, width) for maps of images.
    """

    codes: Tensor | None = None


@strict
class VQVAEConfig(QuantizedConfig):
    """
    Args:
        commitment_weight: beta.
        codebook_update: "ema" updates code vectors as moving averages of their tokens, "gradient" by the gradient of
            the last term.
        codebook_weight: weight of the last term, with codebook_update="gradient".
    """

    model_type = "gae_vq_vae"

    commitment_weight: float | int = 0.25
    codebook_update: Literal["ema", "gradient"] = "ema"
    codebook_weight: float | int = 1.0

    def validate_weights(self):
        for name in ("commitment_weight", "codebook_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class VQVAEModel(QuantizedModel):
    config: VQVAEConfig
    codebook: Codebook

    config_class = VQVAEConfig

    def setup(self, config: VQVAEConfig):
        super().setup(config)
        self.codebook = self.build_codebook(config, learned=config.codebook_update == "gradient")

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        codes = self.codebook.find_nearest(self.to_tokens(latents))
        return self.lookup_codes(codes), codes

    def lookup_codes(self, codes: Tensor) -> Tensor:
        return self.from_tokens(self.codebook(codes))

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> VQVAEOutput:
        """Loss, reconstruction, latents and codes of a batch. `generator` chooses tokens for new codes in training."""
        z = self.encode(pixel_values).mean
        tokens = self.to_tokens(z.detach())
        if self.training:
            self.codebook.prepare(tokens, generator)
        quantized, codes = self.quantize(z)
        latents = quantized.detach() + (z - z.detach())  # equal to the code vectors, with the gradient of z
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, "commitment": (z - quantized.detach()).square().flatten(1).sum(1)}
        if self.codebook.learned:
            terms["codebook"] = (z.detach() - quantized).square().flatten(1).sum(1)
        metrics = self.codebook.observe(tokens, codes)
        fields = {"return_loss": return_loss, "reconstruction": reconstruction, "latents": latents}
        return VQVAEOutput(codes=codes, **self.build_output(terms, metrics=metrics, **fields))

    def loss_weights(self) -> dict[str, float]:
        return {"commitment": self.config.commitment_weight, "codebook": self.config.codebook_weight}


register_model(VQVAEConfig, VQVAEModel)
