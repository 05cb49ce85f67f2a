r"""Transformer: Taming Transformers for High-Resolution Image Synthesis (Esser, Rombach & Ommer, 2021),
arXiv:2012.09841.

.. math::
    p(c) = \prod_i p(c_i | c_{<i})

A density of maps of codes, in raster order, by a small GPT-2. With several codes per token, of groups or levels, these
follow each other. The class is the first token.

Use it when: the model has a codebook, and its codes depend on others that are far away.

Relations:
    As the second stage of VQ-GAN, with learned positions. PixelCNN has the same order, but sees only the codes in the
    reach of its kernels, and its cost grows with the number of codes and not with its square.
    Sampling caches keys and values, so that each code costs one pass of one token.
"""

__all__ = ["TransformerSampler", "TransformerSamplerConfig"]

from huggingface_hub.dataclasses import strict

from ..modules.code_transformer import CodeTransformer
from .base import register_sampler
from .code_sampler import CodeSampler, CodeSamplerConfig


@strict
class TransformerSamplerConfig(CodeSamplerConfig):
    """Config of [`TransformerSampler`].

    Args:
        hidden_size: size of the features.
        num_hidden_layers: number of layers.
        num_attention_heads: number of heads of the attention, a divisor of `hidden_size`.
        dropout: probability of dropping a feature in training.
    """

    model_type = "gae_transformer_sampler"

    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    dropout: float | int = 0.1

    def validate_attention(self):
        self.require_positive("hidden_size", "num_attention_heads")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads must divide hidden_size {self.hidden_size}, got {self.num_attention_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")


class TransformerSampler(CodeSampler):
    """Samples codes and returns their vectors from the codebooks that it was fitted with.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.
    """

    config: TransformerSamplerConfig
    network: CodeTransformer

    config_class = TransformerSamplerConfig

    def build_network(
        self, config: TransformerSamplerConfig, num_embeddings: int, code_shape: tuple[int, ...]
    ) -> CodeTransformer:
        return CodeTransformer(
            num_embeddings,
            config.num_levels,
            code_shape,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.dropout,
            config.num_classes,
        )


register_sampler(TransformerSamplerConfig, TransformerSampler)
