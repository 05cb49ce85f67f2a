r"""PixelCNN: Conditional Image Generation with PixelCNN Decoders (van den Oord, Kalchbrenner, Vinyals, Espeholt,
Graves & Kavukcuoglu, 2016), arXiv:1606.05328.

.. math::
    p(c) = \prod_{r, s} p(c_{r s} | c_{<r}, c_{r, <s}), \quad
    y = \tanh(W_f * x) \odot \sigma(W_g * x)

A density of maps of codes. It is a network of gated convolutions: the vertical stack sees all rows above, the
horizontal stack the row so far and the vertical stack. With several codes per token, of groups or levels, each code
also sees those before it. Maps of signals have the horizontal stack only; maps of volumes have a third one, of the
planes before.

Use it when: the model has a codebook: codes depend on their neighbours, which uniform codes ignore.

Relations:
    The prior from which VQ-VAE is sampled. Inputs are shifted by a row and a column once, so that no kernel needs a
    mask.
    Sampling goes from position to position but computes each feature once, so it costs one pass in total. Pythae takes
    one pass per position through a plain PixelCNN, which has a blind spot and sees the codes' numbers instead of
    embeddings.
"""

__all__ = ["PixelCNNSampler", "PixelCNNSamplerConfig"]

from huggingface_hub.dataclasses import strict

from ..modules.pixel_cnn import PixelCNN
from .base import register_sampler
from .code_sampler import CodeSampler, CodeSamplerConfig


@strict
class PixelCNNSamplerConfig(CodeSamplerConfig):
    """Config of [`PixelCNNSampler`].

    Args:
        hidden_size: number of channels of both stacks.
        num_hidden_layers: number of gated layers.
        kernel_size: size of the kernels, odd.
    """

    model_type = "gae_pixel_cnn_sampler"

    kernel_size: int = 5

    def validate_kernel(self):
        self.require_positive("kernel_size")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")


class PixelCNNSampler(CodeSampler):
    """Samples codes and returns their vectors from the codebooks that it was fitted with.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.
    """

    config: PixelCNNSamplerConfig
    network: PixelCNN

    config_class = PixelCNNSamplerConfig

    def build_network(
        self, config: PixelCNNSamplerConfig, num_embeddings: int, code_shape: tuple[int, ...]
    ) -> PixelCNN:
        return PixelCNN(
            num_embeddings,
            config.num_levels,
            config.hidden_size,
            config.num_hidden_layers,
            config.kernel_size,
            config.num_classes,
            len(code_shape),
        )


register_sampler(PixelCNNSamplerConfig, PixelCNNSampler)
