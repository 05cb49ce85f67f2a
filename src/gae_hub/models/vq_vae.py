r"""VQ-VAE: Neural Discrete Representation Learning (van den Oord, Vinyals & Kavukcuoglu, 2017), arXiv:1711.00937.

.. math::
    \mathcal{L}(x) = -\log p(x|e) + \beta \|z - \mathrm{sg}(e)\|^2 + \|\mathrm{sg}(z) - e\|^2, \quad
    z = f(x), \quad e = \arg\min_{e_k} \|z - e_k\|

with sums over the tokens of z and their dimensions. The decoder's gradient goes from e straight to z. By default the
codes are moving averages of their tokens, which takes the place of the last term.

Changes: discrete.
Use it when: you want a code of integers: to compress, or to model with PixelCNN or a transformer.

Relations:
    A codebook that holds every z, and a weight of 0, is the AE. HRQ-VAE adds up the codes of several levels.
    The KL to the prior, uniform over codes, is the constant log K per token, and left out. Draws from that prior are
    no images: fit a sampler on the embeddings, as the paper fits a PixelCNN on the codes.
    Pythae makes scalars of flat latents, adds up the quantizer's terms over the batch, and writes smoothed counts back
    so that unused codes blow up. It has neither an initialisation from data nor a revival of dead codes.
"""

__all__ = ["VQVAEConfig", "VQVAEModel", "VQVAEOutput"]

from dataclasses import dataclass
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import GAEOutput, register_model
from .quantized import QuantizedConfig, QuantizedModel


@dataclass
class VQVAEOutput(GAEOutput):
    """What `forward` returns.

    Args:
        codes: (batch,), or (batch, height, width) for maps, indices of codes.
    """

    codes: Tensor | None = None


@strict
class VQVAEConfig(QuantizedConfig):
    """
    Args:
        commitment_weight: beta.
        codebook_update: "ema", moving averages of the tokens, or "gradient", of the last term.
        codebook_weight: weight of that term.
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
    config_class = VQVAEConfig

    def setup(self, config: VQVAEConfig):
        super().setup(config)
        self.codebook = self.build_codebook(config, learned=config.codebook_update == "gradient")

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        codes = self.codebook.find_nearest(self.tokens(latents))
        return self.lookup(codes), codes

    def lookup(self, codes: Tensor) -> Tensor:
        return self.from_tokens(self.codebook(codes))

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> VQVAEOutput:
        """Loss, reconstruction, latents and codes of a batch; in training, `generator` draws tokens for new codes."""
        z = self.encode(pixel_values).mean
        tokens = self.tokens(z.detach())
        if self.training:
            self.codebook.prepare(tokens, generator)
        quantized, codes = self.quantize(z)
        latents = quantized.detach() + (z - z.detach())  # the codes exactly, with the gradient of z
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
