r"""VQ-VAE: Neural Discrete Representation Learning (van den Oord, Vinyals & Kavukcuoglu, 2017), arXiv:1711.00937.

.. math::
    \mathcal{L}(x) = -\log p(x|e) + \beta \|z - \mathrm{sg}(e)\|^2 + \|\mathrm{sg}(z) - e\|^2, \quad
    z = f(x), \quad e = \arg\min_{e_k} \|z - e_k\|

with sums over the tokens of z and their dimensions. The gradient of the decoder is copied from e to z
(straight-through). By default, code vectors are moving averages of their tokens, which replaces the last term.

The field `quantizer` replaces the nearest code vector, and with it the terms after the first:

- "fsq" (Mentzer et al., 2023, arXiv:2309.15505) rounds each coordinate; there are no other terms.
- "lfq" (MAGVIT-v2; Yu et al., 2023, arXiv:2310.05737) takes signs; the terms are a commitment and an entropy.
- "bsq" (Zhao, Xiong & Krähenbühl, 2024, arXiv:2406.07548) is LFQ on the unit sphere.
- "residual_vq" (Lee et al., 2022, arXiv:2203.01941) quantizes what the codebooks before leave over.
- "sim_vq" (Zhu et al., 2024, arXiv:2411.02038) learns a linear map of frozen code vectors.

`num_groups` splits tokens into parts that are quantized separately.

Changes: discrete.
Use it when: you want a code of integers: to compress, or to model with PixelCNN or a transformer.

Relations:
    With beta = 0 and a codebook that contains every z, it is the AE. HRQ-VAE sums the code vectors of several
    levels, as "residual_vq" does, but draws the codes. "residual_vq" with one level is "vq"; "sim_vq" with the
    identity as its map is "vq" with the gradient update.
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

from gae_hub.modules.quantizer_base import Quantization, Quantizer
from gae_hub.modules.quantizers import build_quantizer, check_quantizer

from .base import GAEOutput, register_model
from .quantized import QuantizedConfig, QuantizedModel


@dataclass
class VQVAEOutput(GAEOutput):
    """What `forward` returns.

    Args:
        codes: (batch, *code_shape), for example (batch,), or (batch, height, width) for maps of images; with a last
            axis if a token has several codes.
    """

    codes: Tensor | None = None


@strict
class VQVAEConfig(QuantizedConfig):
    """
    Args:
        quantizer: "vq", "fsq", "lfq", "bsq", "residual_vq" or "sim_vq", or a name registered with
            `register_quantizer`. A field that the quantizer does not read must keep its default. `num_embeddings` is
            the number of values of a code: for "fsq" the product of `fsq_levels`; for "lfq" and "bsq" a power of two,
            with `latent_dim` its exponent.
        num_groups: number of parts of a token, each with a code of its own. It divides `latent_dim`; for "fsq", "lfq"
            and "bsq", `latent_dim` is that of one group times this number.
        num_levels: number of codebooks of "residual_vq".
        fsq_levels: numbers of values of the coordinates for "fsq", 2 or more each. The paper recommends 5 or more.
        commitment_weight: beta.
        codebook_update: "ema" updates code vectors as moving averages of their tokens, "gradient" by the gradient of
            the last term. For "vq" and "residual_vq".
        codebook_weight: weight of the last term, with codebook_update="gradient" or "sim_vq".
        entropy_weight: weight of the entropy term of "lfq" and "bsq".
        diversity_weight: gamma, weight of the entropy of all codes in this term.
        entropy_temperature: T of its probabilities, softmax(-||z - c||^2 / T).
    """

    model_type = "gae_vq_vae"

    quantizer: str = "vq"
    num_groups: int = 1
    num_levels: int = 1
    fsq_levels: list[int] | tuple[int, ...] | None = None
    commitment_weight: float | int = 0.25
    codebook_update: Literal["ema", "gradient"] = "ema"
    codebook_weight: float | int = 1.0
    entropy_weight: float | int = 0.1
    diversity_weight: float | int = 1.0
    entropy_temperature: float | int = 0.01

    def validate_weights(self):
        for name in ("commitment_weight", "codebook_weight", "entropy_weight", "diversity_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def validate_quantizer(self):
        self.require_positive("num_embeddings", "latent_dim", "num_groups", "num_levels", "entropy_temperature")
        check_quantizer(self)


class VQVAEModel(QuantizedModel):
    config: VQVAEConfig
    codebook: Quantizer

    config_class = VQVAEConfig
    # floats only: loading would also cast the flags of a codebook
    _keep_in_fp32_modules_strict = [
        *QuantizedModel._keep_in_fp32_modules_strict,
        *("codebook.*projection", "codebook.*scale", "codebook.*sizes"),
    ]

    def setup(self, config: VQVAEConfig):
        super().setup(config)
        self.codebook = build_quantizer(config)

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        codes = self.codebook.find_codes(self.to_tokens(latents))
        return self.lookup_codes(codes), codes

    def lookup_codes(self, codes: Tensor) -> Tensor:
        return self.from_tokens(self.codebook.lookup(codes))

    @property
    def code_vectors(self) -> Tensor:
        vectors = self.codebook.code_vectors
        return vectors if self.codebook.code_axes else vectors[0]

    @property
    def num_codes_per_token(self) -> int:
        return self.codebook.num_codes_per_token

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (*super().code_shape, *self.codebook.code_axes)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> VQVAEOutput:
        """Loss, reconstruction, latents and codes of a batch. `generator` chooses tokens for new codes in training."""
        quantization = self.codebook.quantize(self.to_tokens(self.encode(pixel_values).mean), generator)
        latents = self.from_tokens(quantization.tokens)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, **self.sum_terms(quantization)}
        fields = {"return_loss": return_loss, "reconstruction": reconstruction, "latents": latents}
        output = self.build_output(terms, metrics=quantization.metrics, **fields)
        return VQVAEOutput(codes=quantization.codes, **output)

    def sum_terms(self, quantization: Quantization) -> dict[str, Tensor]:
        """The quantizer's terms of the loss, (batch,) each: sums over the tokens of an example."""
        return {name: term.unsqueeze(-1).flatten(1).sum(1) for name, term in quantization.terms.items()}

    def loss_weights(self) -> dict[str, float]:
        return {
            "commitment": self.config.commitment_weight,
            "codebook": self.config.codebook_weight,
            "entropy": self.config.entropy_weight,
        }


register_model(VQVAEConfig, VQVAEModel)
