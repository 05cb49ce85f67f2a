"""Builds a model of gae_hub from a published autoencoder of diffusers, `AutoencoderKL` or `VQModel`."""

__all__ = ["from_diffusers"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from ..core.checkpoint_checks import check_checksum, check_sizes
from ..core.hub_errors import explained
from ..core.hub_files import CONFIG, FETCH_OPTIONS, describe_missing, fetch_file
from ..core.json_files import read_json_object
from ..models.image_gan import ImageGANModel
from ..models.kl_gan import KLGANConfig, KLGANModel
from ..models.vq_gan import VQGANConfig, VQGANModel
from ..modules.diffusers_networks import SHARED_FIELDS, DiffusersKLDecoder, DiffusersKLEncoder
from ..modules.network_blocks import MapHead
from .diffusers import WEIGHTS, check_loaded

Native = AutoencoderKL | VQModel
CLASSES: dict[str, type[AutoencoderKL] | type[VQModel]] = {"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}
INDEX = "model_index.json"


def from_diffusers(
    name: str | Path,
    subfolder: str | None = None,
    image_size: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> KLGANModel | VQGANModel:
    """A model with the weights of an autoencoder of diffusers, and its outputs for images in [0, 1].

    An `AutoencoderKL` becomes a KL-GAN, and a `VQModel` a VQ-GAN. Their repositories hold no discriminator, so the
    model has none, and its loss has no LPIPS, unless the fields say so. Only safetensors are read.

    Args:
        name: folder or Hub repository of the autoencoder, or of a pipeline.
        subfolder: folder of the autoencoder in a pipeline. By default that of the pipeline's first `AutoencoderKL` or
            `VQModel`, mostly "vae".
        image_size: side of the images, or (height, width). By default that of the repository's config. The networks
            are convolutions, so every multiple of their downsampling is valid.
        **kwargs: where the files are, as in `from_pretrained`: cache_dir, force_download, local_files_only, revision
            and token; and fields of the config, such as discriminator_weight for training with a new discriminator.

    Returns:
        The model in eval mode.

    Raises:
        ValueError: if it is another class, has parts that gae_hub does not have, or its weights do not fit its config
            or are nan or infinite.
        OSError: if a file does not exist, or the Hub does not respond.
    """
    where = {key: kwargs.pop(key) for key in FETCH_OPTIONS if key in kwargs}
    subfolder, config = _find_config(name, subfolder, where)
    content = read_json_object(config)
    _check_class(content, name)
    weights = fetch_file(name, WEIGHTS, subfolder, **where)
    if weights is None:
        raise OSError(
            f"'{name}' has no file {Path(subfolder or '', WEIGHTS)}, the only one that is read (no pickles): "
            f"load it with diffusers' {content['_class_name']}.from_pretrained, and save it with save_pretrained"
        )
    check_checksum(name, weights)
    check_sizes(content, name, [weights])
    with explained("load", name, where.get("token")):
        native = _load(CLASSES[content["_class_name"]], config.parent, name)
    fields = {**_network_fields(native, _read_size(native, image_size)), **kwargs}
    if isinstance(native, VQModel):
        model = VQGANModel(VQGANConfig(**fields))
    else:
        model = KLGANModel(KLGANConfig(**fields))
    _copy_weights(native, model)
    model.facts = {
        "imported": {
            "from": content["_class_name"],
            "library": "diffusers",
            "source": Path(name).name,
            "notes": _describe_differences(native),
        }
    }
    return model.eval()


def _find_config(name: str | Path, subfolder: str | None, where: dict[str, Any]) -> tuple[str | None, Path]:
    """The folder of the autoencoder in a repository, None for the repository itself, and its config.json."""
    config = fetch_file(name, CONFIG, subfolder, **where)
    if config is not None:
        return subfolder, config
    index = None if subfolder else fetch_file(name, INDEX, **where)
    if index is None:
        file = Path(subfolder or "", CONFIG).as_posix()
        is_local = bool(where.get("local_files_only"))
        raise OSError(describe_missing(name, file, "no autoencoder of diffusers is there", is_local))
    parts = {key: value[1] for key, value in read_json_object(index).items() if isinstance(value, list) and value[1:]}
    found = [key for key, class_name in parts.items() if class_name in CLASSES]
    if not found:
        listed = ", ".join(f"{key} ({class_name})" for key, class_name in parts.items())
        raise ValueError(f"the pipeline '{name}' has no {' or '.join(CLASSES)}; its parts are {listed}")
    config = fetch_file(name, CONFIG, found[0], **where)
    if config is None:
        raise OSError(f"'{name}' has no {found[0]}/{CONFIG}, although its {INDEX} names that part")
    return found[0], config


def _check_class(content: dict[str, Any], name: str | Path):
    """Raise ValueError if a config is that of another class, or of an autoencoder with other blocks."""
    found = content.get("_class_name")
    if found not in CLASSES:
        remedy = {
            "DiffusersAutoencoder": ": load it with DiffusersAutoencoder.from_pretrained",
            None: ": load it with AutoGAE.from_pretrained" if "model_type" in content else "",
        }
        raise ValueError(
            f"from_diffusers reads {' and '.join(CLASSES)}, but '{name}' has the class {found}"
            + remedy.get(cast(Any, found), "")
        )
    blocks = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
    for field, known in blocks.items():
        found = content.get(field)
        others = sorted({str(block) for block in found} - {known}) if isinstance(found, list) else []
        if others:
            raise ValueError(f"'{name}' has {field} with {', '.join(others)}, but gae_hub has {known} only")
    if content.get("norm_type", "group") != "group":
        raise ValueError(f"'{name}' has norm_type '{content['norm_type']}', but gae_hub has 'group' only")
    if content.get("lookup_from_codebook"):
        raise ValueError(f"'{name}' has lookup_from_codebook=True, which decodes codes instead of latents")
    channels = content.get("in_channels", 3), content.get("out_channels", 3)
    if channels[0] != channels[1]:
        raise ValueError(f"'{name}' has in_channels {channels[0]} and out_channels {channels[1]}, which must be equal")


def _load(
    native_class: type[AutoencoderKL] | type[VQModel], folder: Path, name: str | Path
) -> AutoencoderKL | VQModel:
    """The autoencoder of diffusers, which also renames weights of older versions.

    Raises:
        ValueError: if it cannot be built from its config, of which diffusers checks little, or its weights do not fit.
    """
    try:
        loaded = native_class.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"config and weights of '{name}' do not fit: {str(error).partition(chr(10))[0]}") from error
    native, info = cast(tuple[Native, dict[str, Any]], loaded)
    check_loaded(native, info, name)
    return native.eval()


def _read_size(native: Native, image_size: int | Sequence[int] | None) -> tuple[int, int]:
    """(height, width) of the images.

    Raises:
        ValueError: if they are not multiples of the downsampling.
    """
    given: Any = native.config["sample_size"] if image_size is None else image_size
    sizes = (given, given) if isinstance(given, int) else tuple(given)
    factor = 2 ** (len(native.config["block_out_channels"]) - 1)
    if len(sizes) != 2 or not all(isinstance(size, int) and size > 0 and size % factor == 0 for size in sizes):
        raise ValueError(
            f"image_size must be a multiple of {factor}, or (height, width) of such multiples, got "
            + (f"{given!r}" if image_size is not None else f"sample_size {given!r} of the config: pass image_size")
        )
    return cast(tuple[int, int], sizes)


def _network_fields(native: Native, sizes: tuple[int, int]) -> dict[str, Any]:
    """Fields of the config of the model with the same networks."""
    config: Any = native.config
    networks = {"model_type": "diffusers_kl", **{name: config[name] for name in SHARED_FIELDS}}
    is_quantized, channels = isinstance(native, VQModel), config.latent_channels
    factor = 2 ** (len(config.block_out_channels) - 1)
    fields = {
        "input_shape": (config.in_channels, *sizes),
        "output_activation": "identity",
        "latent_layout": "spatial",
        "encoder_config": {**networks, "conv_out_channels": channels if is_quantized else 2 * channels},
        "decoder_config": {**networks, "post_quant_channels": None if native.post_quant_conv is None else channels},
        "perceptual_weight": 0.0,
        "discriminator_weight": 0.0,
        "scaling_factor": config.scaling_factor,
        "force_upcast": bool(config.force_upcast),
    }
    if is_quantized:
        dim = config.vq_embed_dim or channels
        codebook = {"num_embeddings": config.num_vq_embeddings, "codebook_update": "gradient"}
        return {**fields, **codebook, "latent_dim": dim}
    latent_dim = channels * (sizes[0] // factor) * (sizes[1] // factor)
    return {**fields, "latent_dim": latent_dim, "shift_factor": config.shift_factor}


@torch.no_grad()
def _copy_weights(native: Native, model: ImageGANModel):
    """Copy encoder, quant_conv as the head, codebook, and decoder with post_quant_conv."""
    encoder, decoder = cast(DiffusersKLEncoder, model.encoder), cast(DiffusersKLDecoder, model.decoder)
    encoder.net.load_state_dict(native.encoder.state_dict())
    decoder.net.load_state_dict(native.decoder.state_dict())
    if native.post_quant_conv is not None:
        decoder.post_quant_conv.load_state_dict(native.post_quant_conv.state_dict())
    found = cast(MapHead | nn.Conv2d, model.head)
    head = cast(nn.Conv2d, found.conv if isinstance(found, MapHead) else found)
    if native.quant_conv is None:
        nn.init.dirac_(head.weight)  # the identity
        nn.init.zeros_(cast(Tensor, head.bias))
    else:
        head.load_state_dict(native.quant_conv.state_dict())
    if isinstance(native, VQModel):
        codebook: Any = cast(VQGANModel, model).codebook
        codebook.codes.copy_(native.quantize.embedding.weight)
        codebook.initialized.fill_(True)  # further training starts from these codes


def _describe_differences(native: Native) -> list[str]:
    """What the model does not keep, in sentences."""
    config: Any = native.config
    if config.get("latents_mean") is None and config.get("latents_std") is None:
        return []
    return ["latents_mean and latents_std, per channel, are not kept: an export has scaling_factor and shift_factor"]
