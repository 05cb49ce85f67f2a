"""Genuine autoencoders of diffusers with the weights of models that have the same networks."""

__all__ = ["build_autoencoder_kl", "build_vq_model", "why_not_genuine"]

from math import prod
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from ..models.base import GAEPreTrainedModel
from ..models.vae import VAEModel
from ..models.vamp import VAMPModel
from ..models.vq_vae import VQVAEModel
from ..modules.diffusers_networks import DiffusersKLDecoder, DiffusersKLEncoder
from ..modules.network_blocks import MapHead
from ..modules.vector_quantizers import VectorQuantizer


def why_not_genuine(model: GAEPreTrainedModel) -> str | None:
    """Why a model cannot be an `AutoencoderKL` or `VQModel`; None if it can."""
    encoder, decoder, name = model.encoder, model.decoder, type(model).__name__
    if not isinstance(encoder, DiffusersKLEncoder) or not isinstance(decoder, DiffusersKLDecoder):
        return "encoder_config and decoder_config must be 'diffusers_kl'"
    if encoder.settings() != decoder.settings():
        return "encoder_config and decoder_config must have the same fields"
    if model.config.output_activation != "identity":
        return f"output_activation must be 'identity', got '{model.config.output_activation}'"
    if type(model).to_decoder_coordinates is not GAEPreTrainedModel.to_decoder_coordinates:
        return f"{name} changes latents before they are decoded"
    if type(model) is VQVAEModel:
        if not isinstance(model.codebook, VectorQuantizer):
            return "quantizer must be 'vq' with num_groups=1"
        return None if len(model.latent_shape) == 3 else "latent_layout must be 'spatial'"
    if not isinstance(model, VAEModel) or type(model).encode not in (VAEModel.encode, VAMPModel.encode):
        return f"{name} has neither a Gaussian posterior of a VAE nor a codebook of a VQ-VAE"
    if type(model).compute_latents is not GAEPreTrainedModel.compute_latents:
        return f"{name} changes latents after they are encoded"
    if not isinstance(model.head, MapHead) and prod(model.feature_shape[1:]) != 1:
        return "latent_layout must be 'spatial'"
    return None


@torch.no_grad()
def build_autoencoder_kl(model: VAEModel, scaling_factor: float) -> AutoencoderKL:
    """The `AutoencoderKL` with the outputs of a model, for images in [-1, 1] and latents as maps."""
    native = AutoencoderKL(
        **_settings(model, scaling_factor),
        latent_channels=cast(DiffusersKLDecoder, model.decoder).map_shape[0],
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    head = model.head.conv if isinstance(model.head, MapHead) else model.head
    _copy_networks(native, model, head)
    return native.eval()


@torch.no_grad()
def build_vq_model(model: VQVAEModel, scaling_factor: float) -> VQModel:
    """The `VQModel` with the outputs of a model, for images in [-1, 1]."""
    native = VQModel(
        **_settings(model, scaling_factor),
        latent_channels=model.latent_shape[0],
        num_vq_embeddings=model.config.num_embeddings,
    )
    for conv in (native.quant_conv, native.post_quant_conv):
        nn.init.dirac_(conv.weight)  # the identity
        nn.init.zeros_(cast(Tensor, conv.bias))
    native.quantize.embedding.weight.copy_(model.code_vectors)
    _copy_networks(native, model, model.head)
    return native.eval()


def _settings(model: GAEPreTrainedModel, scaling_factor: float) -> dict[str, Any]:
    """Arguments that both classes have."""
    channels, height, _ = model.config.input_shape
    settings = cast(DiffusersKLEncoder, model.encoder).settings()
    num_blocks = len(settings["block_out_channels"])
    return {
        **settings,
        "down_block_types": ("DownEncoderBlock2D",) * num_blocks,
        "up_block_types": ("UpDecoderBlock2D",) * num_blocks,
        "in_channels": channels,
        "out_channels": channels,
        "sample_size": height,
        "scaling_factor": scaling_factor,
    }


def _copy_networks(native: AutoencoderKL | VQModel, model: GAEPreTrainedModel, head: nn.Module):
    """Copy encoder, head and decoder. The head, of size 1, becomes the centre of the last convolution, of size 3."""
    encoder = cast(DiffusersKLEncoder, model.encoder).net.state_dict()
    conv_out = native.encoder.conv_out
    center = torch.zeros_like(conv_out.weight)
    center[:, :, 1, 1] = cast(Tensor, head.weight).flatten(1)
    last = {"conv_out.weight": center, "conv_out.bias": cast(Tensor, head.bias)}
    native.encoder.load_state_dict({**encoder, **last})
    native.decoder.load_state_dict(cast(DiffusersKLDecoder, model.decoder).net.state_dict())
    nn.Module.to(native, model.device, model.dtype)  # the method of ModelMixin logs a warning
