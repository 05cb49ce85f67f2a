"""Genuine autoencoders of diffusers with the weights of models that have the same networks."""

__all__ = ["build_autoencoder_kl", "build_vq_model", "why_not_genuine"]

from math import prod
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from ..models.base import GAEPreTrainedModel
from ..models.quantized import QuantizedModel
from ..models.vae import VAEModel
from ..models.vamp import VAMPModel
from ..models.vq_gan import VQGANModel
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
    if (reason := _why_channels_differ(model, encoder, decoder)) is not None:
        return reason
    if model.config.output_activation != "identity":
        return f"output_activation must be 'identity', got '{model.config.output_activation}'"
    if type(model).to_decoder_coordinates is not GAEPreTrainedModel.to_decoder_coordinates:
        return f"{name} changes latents before they are decoded"
    if type(model) in (VQVAEModel, VQGANModel):
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


def _why_channels_differ(
    model: GAEPreTrainedModel, encoder: DiffusersKLEncoder, decoder: DiffusersKLDecoder
) -> str | None:
    """Why the convolutions next to the latents are not those of a genuine autoencoder; None if they are."""
    channels = decoder.map_shape[0]
    last, first = encoder.config.conv_out_channels, decoder.config.post_quant_channels
    if isinstance(model, QuantizedModel):
        if (last or channels) != (first or channels):
            return f"conv_out_channels {last} and post_quant_channels {first} must be equal"
    elif last not in (None, 2 * channels) or first not in (None, channels):
        return (
            f"conv_out_channels must be None or {2 * channels} and post_quant_channels None or {channels} for "
            f"{channels} channels of latents, got {last} and {first}"
        )
    return None


@torch.no_grad()
def build_autoencoder_kl(
    model: VAEModel, scaling_factor: float, shift_factor: float | None = None, force_upcast: bool = False
) -> AutoencoderKL:
    """The `AutoencoderKL` with the outputs of a model, for images in [-1, 1] and latents as maps."""
    encoder, decoder = cast(DiffusersKLEncoder, model.encoder), cast(DiffusersKLDecoder, model.decoder)
    native = AutoencoderKL(
        **_settings(model, scaling_factor),
        latent_channels=decoder.map_shape[0],
        shift_factor=shift_factor,
        force_upcast=force_upcast,
        use_quant_conv=encoder.config.conv_out_channels is not None,
        use_post_quant_conv=decoder.config.post_quant_channels is not None,
    )
    head = model.head.conv if isinstance(model.head, MapHead) else model.head
    _copy_networks(native, model, head)
    return native.eval()


@torch.no_grad()
def build_vq_model(model: VQVAEModel, scaling_factor: float, force_upcast: bool = False) -> VQModel:
    """The `VQModel` with the outputs of a model, for images in [-1, 1]."""
    dim = model.latent_shape[0]
    native = VQModel(
        **_settings(model, scaling_factor),
        latent_channels=cast(DiffusersKLEncoder, model.encoder).config.conv_out_channels or dim,
        vq_embed_dim=dim,
        num_vq_embeddings=model.config.num_embeddings,
        force_upcast=force_upcast,
    )
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
    """Copy encoder, head and decoder.

    The head, of size 1, is quant_conv, or becomes the centre of the encoder's last convolution, of size 3.
    """
    encoder, decoder = cast(DiffusersKLEncoder, model.encoder), cast(DiffusersKLDecoder, model.decoder)
    weight, bias = cast(Tensor, head.weight), cast(Tensor, head.bias)
    state = encoder.net.state_dict()
    if encoder.config.conv_out_channels is None:
        center = torch.zeros_like(native.encoder.conv_out.weight)
        center[:, :, 1, 1] = weight.flatten(1)
        state |= {"conv_out.weight": center, "conv_out.bias": bias}
        _make_identity(native.quant_conv)
    else:
        quant_conv = cast(nn.Conv2d, native.quant_conv)
        quant_conv.load_state_dict({"weight": weight.view(quant_conv.weight.shape), "bias": bias})
    native.encoder.load_state_dict(state)
    native.decoder.load_state_dict(decoder.net.state_dict())
    if isinstance(decoder.post_quant_conv, nn.Conv2d):
        cast(nn.Conv2d, native.post_quant_conv).load_state_dict(decoder.post_quant_conv.state_dict())
    else:
        _make_identity(native.post_quant_conv)
    nn.Module.to(native, model.device, model.dtype)  # the method of ModelMixin logs a warning


def _make_identity(conv: nn.Conv2d | None):
    """Make a convolution of size 1, if there is one, return its input."""
    if conv is not None:
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(cast(Tensor, conv.bias))
