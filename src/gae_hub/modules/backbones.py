"""Encoders and decoders: their base classes, their short names, and custom networks.

An encoder returns features, and the model owns the layer from features to latents: so one encoder serves every method.
A decoder returns pixels *before* the activation. Each network is a `PreTrainedModel` with its own config. A model's
`encoder_config` and `decoder_config` refer to it by a short name: "mlp" for any shape; "conv" and "resnet" for
signals (channels, length), images (channels, height, width) and volumes (channels, depth, height, width), odd sizes
included; "paper_conv" and "paper_resnet" for the image sizes of the Pythae paper; "diffusers_kl" for images that an
autoencoder of diffusers accepts. The encoder "vision" is a vision transformer of the Hub; the decoder "vit" is one for
latent maps.
"""

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Modulations",
    "Sizes",
    "backbone_config",
    "backbone_names",
    "build_decoder",
    "build_encoder",
    "check_sharing",
    "hidden_widths",
    "init_weights",
    "keep_running_statistics",
    "record_outputs",
    "register_backbone",
    "use_running_statistics",
]

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Literal, Protocol, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn.parameter import is_lazy
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from gae_hub.core.configuration import StrictConfig, may_register

Role = Literal["encoder", "decoder"]
Sizes = list[int] | tuple[int, ...]
Modulations = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Scale, minus 1, and shift of each hidden layer's output, (batch, channels) each; see modules/conditions.py."""
# what a custom forward raises for a batch that it does not fit
_FORWARD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
BatchNorm = nn.modules.batchnorm._BatchNorm
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _ModelConfig(Protocol):
    """The fields of a model's config that this file uses."""

    input_shape: Sizes
    encoder_config: str | dict | PreTrainedConfig | None
    decoder_config: str | dict | PreTrainedConfig | None


@strict
class BackboneConfig(StrictConfig):
    """Base of the configs of encoders and decoders."""


class Backbone(PreTrainedModel):
    """Base of encoders and decoders.

    An encoder is built as `Encoder(config, input_shape)`. It maps pixel_values, (batch, *input_shape), to features,
    (batch, *feature_shape), and sets the attribute `feature_shape`. A decoder is built as `Decoder(config,
    output_shape, latent_shape)`, where latent_shape is (latent_dim,), or (latent_dim, *sizes) for maps. It maps
    latents, (batch, *latent_shape), to pixels before the activation, (batch, *output_shape).

    A network whose layers are the attribute `net`, an `nn.Sequential`, supports conditions by FiLM if its `forward`
    has the argument `modulations=None` and calls `run_layers`.
    """

    config_class = BackboneConfig
    feature_shape: tuple[int, ...]
    net: nn.Module

    def run_layers(self, inputs: torch.Tensor, modulations: Modulations | None = None) -> torch.Tensor:
        """Output of the layers `net`, with the outputs of hidden layers scaled and shifted by modulations."""
        if modulations is None:
            return self.net(inputs)
        remaining = iter(modulations)
        for layer in cast(nn.Sequential, self.net):
            inputs = layer(inputs)
            if _is_hidden_layer(layer):
                axes = [1] * (inputs.dim() - 2)
                scale, shift = (value.view(*value.shape, *axes) for value in next(remaining))
                inputs = torch.addcmul(shift, inputs, 1 + scale)
        return inputs

    def _init_weights(self, module: nn.Module):
        init_weights(self, module)


def init_weights(model: PreTrainedModel, module: nn.Module):
    """Initialise a module with its `reset_parameters`, instead of with N(0, 0.02) as transformers does."""
    if isinstance(module, BatchNorm):
        # its reset_parameters would also reset running statistics that were loaded
        PreTrainedModel._init_weights(model, module)
    elif callable(reset := getattr(module, "reset_parameters", None)):
        reset()  # transformers guards torch.nn.init while it loads a checkpoint, so loaded weights are kept


@contextmanager
def record_outputs(encoder: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The outputs of an encoder's layers in its first call inside this context, in the order of the layers.

    The layers are the residual blocks and activations of the attribute `net`, if the encoder has one that is an
    `nn.Sequential`. The last output is that of the encoder itself.
    """
    layers = _hidden_layers(encoder)
    outputs: dict[nn.Module, torch.Tensor] = {}
    states: list[torch.Tensor] = []

    def record(module: nn.Module, _args: Any, output: torch.Tensor):
        outputs.setdefault(module, output)

    hooks = [module.register_forward_hook(record) for module in (*layers, encoder)]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()
    states.extend(outputs[layer] for layer in layers if outputs.get(layer) is not outputs.get(encoder))
    states.append(outputs[encoder])


def hidden_widths(network: nn.Module, input_shape: Sizes) -> list[int]:
    """Channels of the outputs of a network's hidden layers, in their order, for inputs (batch, *input_shape)."""
    widths: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _args, output: widths.append(output.shape[1]))
        for layer in _hidden_layers(network)
    ]
    try:
        _run_copy(network, (2, *input_shape), "meta")
    finally:
        for hook in hooks:
            hook.remove()
    return widths


def _hidden_layers(network: nn.Module) -> list[nn.Module]:
    layers = getattr(network, "net", None)
    return [layer for layer in layers if _is_hidden_layer(layer)] if isinstance(layers, nn.Sequential) else []


def _is_hidden_layer(layer: nn.Module) -> bool:
    """Whether a layer's output is a hidden state: not that of a linear map or normalisation before an activation."""
    return not isinstance(layer, (nn.Linear, *_CONVOLUTIONS, BatchNorm, nn.Identity, nn.Flatten))


@contextmanager
def use_running_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation uses its running statistics inside this context, as in evaluation.

    The output for one example then does not depend on the other examples of the batch.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


@contextmanager
def keep_running_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation uses the statistics of the batch inside this context, but does not change its running ones.

    For a network that is called several times in one training step: only one of the calls updates the statistics.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


# Short names

_SHORT_NAMES: dict[str, dict[str, str]] = {"encoder": {}, "decoder": {}}  # role, then short name, to model_type


def register_backbone(config_class: type[PreTrainedConfig], model_class: type[PreTrainedModel]):
    """Register an encoder or decoder: models then accept its config and its short name, and checkpoints reload it.

    Args:
        config_class: the network's config, a [`BackboneConfig`]. Its `base_config_key`, "encoder_config" or
            "decoder_config", gives the role. Its `model_type`, without "gae_" and the role, is the short name.
        model_class: the network, a [`Backbone`].

    Raises:
        ValueError: for another `base_config_key`.
    """
    role = config_class.base_config_key.removesuffix("_config")
    if role not in _SHORT_NAMES:
        raise ValueError(
            f"{config_class.__name__}.base_config_key must be 'encoder_config' or 'decoder_config', "
            f"got '{config_class.base_config_key}'"
        )
    short_name = config_class.model_type.removeprefix("gae_").removesuffix(f"_{role}")
    _SHORT_NAMES[role][short_name] = config_class.model_type
    if may_register(config_class.model_type):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)


def backbone_names(role: Role) -> list[str]:
    """Short names of the registered encoders or decoders, sorted."""
    return sorted(_SHORT_NAMES[role])


def backbone_config(role: Role, spec: str | dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    """The config object that a value of `encoder_config` or `decoder_config` refers to.

    Args:
        role: "encoder" or "decoder".
        spec: a short name; for encoders also the repository or folder of a vision transformer, with a slash; a dict
            with `model_type`, "mlp" by default, and the network's fields; a config object, which is returned; or None
            for "mlp".

    Raises:
        ValueError: if the network is not registered, or has no such field.
    """
    if isinstance(spec, PreTrainedConfig):
        return spec
    if isinstance(spec, str) and role == "encoder" and "/" in spec:
        spec = {"model_type": "vision", "model_name_or_path": spec}
    spec = {"model_type": spec} if isinstance(spec, str) else dict(spec or {})
    name = spec.setdefault("model_type", "mlp")
    spec["model_type"] = _SHORT_NAMES[role].get(name, name)
    if spec["model_type"] not in {*_SHORT_NAMES[role].values(), CustomModuleConfig.model_type}:
        names = backbone_names(role)
        if "auto_map" in spec:
            hint = "it has custom code: load it with AutoGAE.from_pretrained(..., trust_remote_code=True)"
        elif near := get_close_matches(name, names, n=1):
            hint = f"did you mean '{near[0]}'?"
        else:
            hint = (
                f"registered are {', '.join(names)}. For a custom network, call register_backbone or pass the module "
                f"as {role}="
            )
        raise ValueError(f"{role}_config must name a registered {role}, got '{name}'; {hint}")
    return AutoConfig.for_model(**spec)


# Building networks from a model's config, or accepting custom ones


@strict
class CustomModuleConfig(BackboneConfig):
    """Placeholder in a saved config for a custom network without a registered config.

    Args:
        class_name: the network's class, for the error that asks for the network.
    """

    model_type = "gae_custom_module"

    class_name: str = ""


def build_encoder(config: _ModelConfig, input_shape: Sizes, module: nn.Module | None = None) -> nn.Module:
    """The encoder of a model, with the attribute `feature_shape`.

    Args:
        config: the model's config. `encoder_config` is overwritten if a module is given.
        input_shape: shape of one input: that of the data, with what conditions append.
        module: a custom encoder, which is returned.

    Raises:
        ValueError: if the config was saved with a custom encoder and no module is given; or if a custom encoder has
            layers without weights, does not accept a batch of images, or does not return one tensor of the shape that
            it declares.
    """
    if module is None:
        _require_built_in("encoder", config.encoder_config)
        encoder = cast(nn.Module, AutoModel.from_config(config.encoder_config, input_shape=tuple(input_shape)))
        if _is_library_network(encoder):
            return encoder
    else:
        encoder, config.encoder_config = module, _adopt(module)
    shape = _output_shape("encoder", encoder, input_shape)
    declared = getattr(encoder, "feature_shape", shape)
    name = f"encoder {type(encoder).__name__}"
    if not isinstance(declared, (list, tuple)):
        raise ValueError(f"{name} must set feature_shape, the shape of one example's features, as a tuple")
    if shape is not None and tuple(declared) != shape:
        raise ValueError(
            f"{name} has feature_shape {tuple(declared)}, but it maps images of input_shape "
            f"{tuple(input_shape)} to features of shape {shape}; correct its feature_shape or its layers"
        )
    encoder.feature_shape = tuple(declared)  # pyright: ignore[reportArgumentType] (typed for submodules and tensors)
    return encoder


def build_decoder(config: _ModelConfig, latent_shape: Sizes, module: nn.Module | None = None) -> nn.Module:
    """The decoder of a model.

    Args:
        config: the model's config. `decoder_config` is overwritten if a module is given.
        latent_shape: shape of one example's latents.
        module: a custom decoder, which is returned.

    Raises:
        ValueError: if the config was saved with a custom decoder and no module is given; or if a custom decoder has
            layers without weights, does not accept a batch of latents, or does not return one tensor of images of
            `input_shape`.
    """
    if module is None:
        _require_built_in("decoder", config.decoder_config)
        shapes = {"output_shape": config.input_shape, "latent_shape": tuple(latent_shape)}
        decoder = cast(nn.Module, AutoModel.from_config(config.decoder_config, **shapes))
        if _is_library_network(decoder):
            return decoder
    else:
        decoder, config.decoder_config = module, _adopt(module)
    shape = _output_shape("decoder", decoder, latent_shape)
    if shape is not None and shape != tuple(config.input_shape):
        raise ValueError(
            f"decoder {type(decoder).__name__} must return images of input_shape {config.input_shape}, but it maps "
            f"latents of shape {tuple(latent_shape)} to {shape}"
        )
    return decoder


def check_sharing(model: nn.Module):
    """Check that no two names of a model refer to the same weights, which a checkpoint cannot store.

    Raises:
        ValueError: if two do. The message names them.
    """
    owners: dict[object, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor) or not tensor.numel():
            continue
        key = id(tensor) if tensor.is_meta else (tensor.device, tensor.data_ptr())
        if owners.setdefault(key, name) != name:
            raise ValueError(
                f"{type(model).__name__} has the same weights under two names, '{owners[key]}' and '{name}', which a "
                "checkpoint cannot store: keep the shared layer in one attribute and call it twice in forward, or "
                "give each place a layer of its own"
            )


def _require_built_in(role: Role, config: object):
    if isinstance(config, CustomModuleConfig):
        raise ValueError(
            f"this model was saved with a custom {role}, {config.class_name}; pass {role}={config.class_name}(...) to "
            "from_pretrained. A network that is registered with register_backbone before saving reloads by itself"
        )


def _adopt(module: nn.Module) -> PreTrainedConfig:
    """Mark a custom network as initialised, so that its weights are kept, and return the config to save for it."""
    for part in module.modules():
        part._is_hf_initialized = True  # pyright: ignore[reportArgumentType] (the mark of transformers)
    return module.config if isinstance(module, Backbone) else CustomModuleConfig(class_name=type(module).__name__)


def _is_library_network(module: nn.Module) -> bool:
    """Whether a network is one of this folder, whose tests cover what is checked of custom networks."""
    return type(module).__module__.startswith(__name__.rpartition(".")[0])


def _output_shape(role: Role, module: nn.Module, input_shape: Sizes) -> tuple[int, ...] | None:
    """Shape of one example's output; None if the network has no memory yet and does not run without.

    Runs on copies in evaluation mode: no random numbers, no updated statistics.
    """
    name, batch_shape = f"{role} {type(module).__name__}", (2, *input_shape)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    if lazy := [key for key, tensor in tensors if is_lazy(tensor)]:
        raise ValueError(
            f"{name} has lazy layers without weights yet ('{lazy[0]}'): call it once on a batch of shape "
            f"{batch_shape} before it is passed to a model"
        )
    try:
        output = _run_copy(module, batch_shape, "meta")
    except _FORWARD_ERRORS:  # not all code runs on the meta device
        if any(tensor.is_meta for _, tensor in tensors):
            return None
        try:
            output = _run_copy(module, batch_shape, "cpu")
        except _FORWARD_ERRORS as error:
            raise ValueError(
                f"{name} must accept a batch of shape {batch_shape}, but it raised {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"{name} must return one tensor (batch, *shape), got a {type(output).__name__}")
    shape = tuple(output.shape)
    if len(shape) < 2 or shape[0] != 2 or not output.is_floating_point():
        raise ValueError(
            f"{name} must return floats (batch, *shape), but it maps a batch of shape {batch_shape} to shape {shape} "
            f"and dtype {output.dtype}"
        )
    return shape[1:]


def _run_copy(module: nn.Module, batch_shape: tuple[int, ...], device: str) -> Any:
    """Output of a copy of a network for a batch of zeros."""
    copy = deepcopy(module).to(device).eval()
    dtype = next((p.dtype for p in copy.parameters()), torch.float32)
    with torch.no_grad(), torch.random.fork_rng([]), torch.device(device):
        return copy(torch.zeros(batch_shape, dtype=dtype))


if may_register(CustomModuleConfig.model_type):
    AutoConfig.register(CustomModuleConfig.model_type, CustomModuleConfig, exist_ok=True)
