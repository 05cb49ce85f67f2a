"""Encoder trunks and decoders: images to features, latents to images.

A trunk returns features and the model owns the head, so one trunk serves every method. A decoder returns pixels
*before* the activation. Each is a `PreTrainedModel` with a config of its own, and goes by a short name in a model's
`encoder_config` or `decoder_config`: "mlp" for any shape, vectors too; "conv" and "resnet" for any (channels, height,
width), odd sizes included; "paper_conv" and "paper_resnet", in paper_networks.py, for those of the Pythae paper.
"""

__all__ = [
    "Backbone",
    "BackboneConfig",
    "backbone_config",
    "backbone_names",
    "build_decoder",
    "build_encoder",
    "register_backbone",
    "running_statistics",
]

from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from gae_hub.core.configuration import StrictConfig, may_register

Role = Literal["encoder", "decoder"]
Sizes = list[int] | tuple[int, ...]


@strict
class BackboneConfig(StrictConfig):
    """Base of the configs of encoders and decoders."""


class Backbone(PreTrainedModel):
    """Base of encoders and decoders.

    A trunk is built as `Trunk(config, input_shape)`, maps pixel_values (batch, *input_shape) to features (batch,
    *feature_shape), and has the attribute `feature_shape`. A decoder is built as `Decoder(config, output_shape,
    latent_shape)`, the latter (latent_dim,) or (latent_dim, height, width), and maps latents (batch, *latent_shape) to
    pixels before the activation, (batch, *output_shape).
    """

    config_class = BackboneConfig

    def _init_weights(self, module):
        init_weights(self, module)


def init_weights(model: PreTrainedModel, module: nn.Module):
    """PyTorch's own initialisation, in place of transformers' N(0, 0.02)."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        PreTrainedModel._init_weights(model, module)  # its reset_parameters would wipe loaded running statistics
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()  # transformers guards torch.nn.init while it loads, so loaded weights stay


@contextmanager
def running_statistics(module: nn.Module):
    """Batch norm by its running statistics inside, as in evaluation: no example depends on the others."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


# Fully connected


# Convolutions for any shape


# A person's own modules


@strict
class CustomModuleConfig(BackboneConfig):
    """Stands in a saved config for a network that was passed as a plain module.

    Args:
        class_name: the module's class, for the error that asks for it again.
    """

    model_type = "gae_custom_module"

    class_name: str = ""


_SHORT_NAMES: dict[str, dict[str, str]] = {"encoder": {}, "decoder": {}}


def register_backbone(config_class, model_class):
    """Make `encoder_config` or `decoder_config` accept a network of one's own by its config, and reload it.

    The role is read from the config's `base_config_key`; the short name is the `model_type` without `gae_` and the
    role.
    """
    role = config_class.base_config_key.removesuffix("_config")
    if role not in _SHORT_NAMES:
        raise ValueError(
            f"{config_class.__name__}.base_config_key must be 'encoder_config' or 'decoder_config', "
            f"got '{config_class.base_config_key}'"
        )
    short = config_class.model_type.removeprefix("gae_").removesuffix(f"_{role}")
    _SHORT_NAMES[role][short] = config_class.model_type
    if may_register(config_class.model_type):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)


def backbone_names(role: Role) -> list[str]:
    """The short names that `encoder_config` or `decoder_config` takes."""
    return sorted(_SHORT_NAMES[role])


def backbone_config(role: Role, spec: str | dict | PreTrainedConfig | None) -> PreTrainedConfig:
    """The config that a person means by `encoder_config` or `decoder_config`: a name, a dict, a config, or nothing.

    Raises:
        ValueError: for a name or a model_type that is not registered.
    """
    if isinstance(spec, PreTrainedConfig):
        return spec
    spec = {"model_type": spec} if isinstance(spec, str) else dict(spec or {})
    name = spec.setdefault("model_type", "mlp")
    spec["model_type"] = _SHORT_NAMES[role].get(name, name)
    if spec["model_type"] not in {*_SHORT_NAMES[role].values(), CustomModuleConfig.model_type}:
        near = get_close_matches(name, backbone_names(role), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(backbone_names(role))}"
        if "auto_map" in spec:
            hint = "it comes with code of its own, which AutoGAE.from_pretrained(..., trust_remote_code=True) runs"
        raise ValueError(
            f"{role}_config names no known {role}: '{name}'; {hint} "
            "(a network of one's own: register_backbone, or pass the module)"
        )
    return AutoConfig.for_model(**spec)


def build_encoder(config, module: nn.Module | None = None) -> nn.Module:
    """The trunk of a model's config, or the person's own module with its `feature_shape`."""
    if module is None:
        _refuse_custom("encoder", config.encoder_config)
        return AutoModel.from_config(config.encoder_config, input_shape=config.input_shape)
    config.encoder_config = _own(module)
    if not hasattr(module, "feature_shape"):
        module.feature_shape = _output_shape(module, config.input_shape)
    return module


def build_decoder(config, latent_shape: Sizes, module: nn.Module | None = None) -> nn.Module:
    """The decoder of a model's config, or the person's own module."""
    if module is None:
        _refuse_custom("decoder", config.decoder_config)
        return AutoModel.from_config(
            config.decoder_config, output_shape=config.input_shape, latent_shape=tuple(latent_shape)
        )
    config.decoder_config = _own(module)
    shape = _output_shape(module, latent_shape)
    if shape != config.input_shape:
        raise ValueError(
            f"decoder {type(module).__name__} maps latents of shape {tuple(latent_shape)} to {shape}, "
            f"but input_shape is {config.input_shape}"
        )
    return module


def _refuse_custom(role: Role, config):
    if isinstance(config, CustomModuleConfig):
        raise ValueError(
            f"this model was saved with its own {role}, {config.class_name}: "
            f"pass {role}={config.class_name}(...) to from_pretrained, "
            "or give that network a config and call register_backbone"
        )


def _own(module: nn.Module) -> PreTrainedConfig:
    """The config to save for a person's module, whose weights are kept as they are."""
    for part in module.modules():
        part._is_hf_initialized = True
    return module.config if isinstance(module, Backbone) else CustomModuleConfig(class_name=type(module).__name__)


def _output_shape(module: nn.Module, input_shape: Sizes) -> tuple[int, ...]:
    """Shape of one example's output, found on a weightless copy: no random number is drawn, no statistic updated."""
    copy = deepcopy(module).to("meta").eval()
    dtype = next((p.dtype for p in copy.parameters()), torch.float32)
    with torch.no_grad():
        return tuple(copy(torch.zeros(2, *input_shape, device="meta", dtype=dtype)).shape[1:])


if may_register(CustomModuleConfig.model_type):
    AutoConfig.register(CustomModuleConfig.model_type, CustomModuleConfig, exist_ok=True)
