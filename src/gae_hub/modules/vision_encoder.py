"""Vision transformers of the Hub as encoders ("vision"): DINOv2, SigLIP and SigLIP 2, ViT-MAE, ViT, and others that
return one token for each patch."""

__all__ = ["VISION_ENCODER", "VisionEncoder", "VisionEncoderConfig"]

from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from gae_hub.core.hub_errors import explained
from gae_hub.core.hub_files import CONFIG, fetch_file
from gae_hub.core.json_files import read_json_object

from .backbones import Backbone, BackboneConfig, Sizes
from .precision import at_least_float32

DEFAULT_MODEL = "facebook/dinov2-with-registers-base"
_FIELDS = ("vision_config", "image_size", "image_mean", "image_std")  # that a new model sets
_REQUIRED = ("hidden_size", "patch_size", "num_channels")  # fields of a vision transformer's config


@strict
class VisionEncoderConfig(BackboneConfig):
    """Fields of a vision transformer as an encoder.

    A new model downloads the weights of `model_name_or_path`, and sets the fields that are None from its files. The
    checkpoint of a model has these fields and the weights, so that it loads without `model_name_or_path`.

    Args:
        model_name_or_path: Hub repository or folder. Without it the weights are random, and `vision_config` is needed.
            None without a `vision_config` is DINOv2 with registers, base size.
        revision: branch, tag or commit of the repository. A model's config holds the commit.
        vision_config: config of the vision transformer.
        image_size: height and width that images are resized to, a multiple of the patch size; by default that of the
            repository's image processor.
        image_mean, image_std: of the channels, which are normalised after resizing; by default those of the
            repository's image processor.
    """

    model_type = "gae_vision_encoder"
    base_config_key = "encoder_config"
    sub_configs = {"vision_config": AutoConfig}  # pyright: ignore[reportAssignmentType] (as in GAEConfig)

    model_name_or_path: str | None = None
    revision: str | None = None
    vision_config: dict | PreTrainedConfig | None = None
    image_size: int | None = None
    image_mean: list[float] | tuple[float, ...] | None = None
    image_std: list[float] | tuple[float, ...] | None = None

    def __post_init__(self, **kwargs):
        if isinstance(self.vision_config, dict):
            self.vision_config = AutoConfig.for_model(**{"model_type": "vit", **self.vision_config})
        if self.vision_config is None and self.model_name_or_path is None:
            self.model_name_or_path = DEFAULT_MODEL
        super().__post_init__(**kwargs)

    def validate_images(self):
        for name in ("image_size", "image_std"):
            if getattr(self, name) is not None:
                self.require_positive(name)

    def fetch(self):
        """Set the fields that are None from the files of `model_name_or_path`.

        Raises:
            ValueError: if the model is no vision transformer, or has no image processor and a field needs it.
            OSError: if the model does not exist, or the Hub does not respond.
        """
        name = self.model_name_or_path
        if name is not None and any(getattr(self, field) is None for field in _FIELDS):
            with explained("load", name):
                found = AutoConfig.from_pretrained(name, revision=self.revision, trust_remote_code=False)
                self.revision = _commit_of(fetch_file(name, CONFIG, revision=self.revision)) or self.revision
                file = fetch_file(name, "preprocessor_config.json", revision=self.revision)
            settings = read_json_object(file) if file else {}
            self.image_size = self.image_size or _side(settings)
            self.image_mean = self.image_mean or settings.get("image_mean")
            self.image_std = self.image_std or settings.get("image_std")
            self.vision_config = self.vision_config or getattr(found, "vision_config", found)
        vision = cast(Any, self.vision_config)
        self.image_size = self.image_size or getattr(vision, "image_size", None)
        self.check()
        vision.dtype = None  # that of the model, and not of the repository
        if hasattr(vision, "mask_ratio"):
            vision.mask_ratio = 0.0  # ViT-MAE would drop patches
        if hasattr(vision, "vision_use_head"):
            vision.vision_use_head = False  # the pooling of SigLIP, which features do not need

    def check(self):
        """Raise ValueError unless all fields are set, and the model is a vision transformer."""
        missing = [field for field in _REQUIRED if not isinstance(getattr(self.vision_config, field, None), int)]
        if missing:
            raise ValueError(
                f"encoder_config needs a vision transformer with one token for each patch, but {self.describe()} has "
                f"no number {', '.join(missing)} in its config: choose DINOv2, SigLIP 2, ViT-MAE or ViT"
            )
        for field in _FIELDS:
            if getattr(self, field) is None:
                raise ValueError(
                    f"{self.describe()} has no {field} in a preprocessor_config.json: set {field} in encoder_config"
                )

    def describe(self) -> str:
        """The encoder for error messages: its name and its kind."""
        kind = f"a model of type '{getattr(self.vision_config, 'model_type', None)}'"
        return f"'{self.model_name_or_path}', {kind}," if self.model_name_or_path else kind


class VisionEncoder(Backbone):
    """A vision transformer; the features are the map of its patch tokens, (hidden_size, height, width).

    Pixels in [0, 1] are resized to `image_size` (bicubic with antialiasing) and normalised as the transformer expects.
    Grey images have three equal channels. The tokens are those of the last layer, after its normalisation. The class
    token and registers, which come first, are left out.

    Raises:
        ValueError: if the model is no vision transformer that fits the images, or its repository lacks weights.
        OSError: if the repository does not exist, has no safetensors weights, or the Hub does not respond.
    """

    config: VisionEncoderConfig
    net: PreTrainedModel
    image_mean: Tensor
    image_std: Tensor

    config_class = VisionEncoderConfig

    def __init__(self, config: VisionEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        is_loading = torch.get_default_device().type == "meta"  # transformers then loads all weights of a checkpoint
        if is_loading:
            config.check()
        else:
            config.fetch()
        vision = cast(Any, config.vision_config)
        side = self._count_patches(vision, tuple(input_shape))
        is_named = config.model_name_or_path is not None and not is_loading
        self.net = self._load_network() if is_named else AutoModel.from_config(vision, trust_remote_code=False)
        self.feature_shape = (vision.hidden_size, side, side)
        parameters = signature(self.net.forward).parameters
        self.needs_order = "noise" in parameters  # ViT-MAE sorts the patches by random noise
        self.options: dict[str, Any] = {}
        if "interpolate_pos_encoding" in parameters and config.image_size != vision.image_size:
            self.options["interpolate_pos_encoding"] = True
        for name in ("image_mean", "image_std"):
            values = torch.tensor(getattr(config, name), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1))
        if not is_loading:
            self._check_network(parameters, input_shape)
        self.post_init()

    def _count_patches(self, vision: Any, input_shape: tuple[int, ...]) -> int:
        """Patches on a side of the map.

        Raises:
            ValueError: if the images do not fit.
        """
        config = self.config
        if len(input_shape) != 3 or input_shape[0] not in (1, vision.num_channels):
            raise ValueError(
                f"{config.describe()} encodes images of {vision.num_channels} channels, or grey ones, but input_shape "
                f"is {input_shape}"
            )
        for name in ("image_mean", "image_std"):
            if len(values := getattr(config, name)) != vision.num_channels:
                raise ValueError(f"{name} must have {vision.num_channels} values, one a channel, got {list(values)}")
        side, rest = divmod(cast(int, config.image_size), vision.patch_size)
        if rest:
            raise ValueError(
                f"image_size must be a multiple of the encoder's patch_size {vision.patch_size}, got "
                f"{config.image_size}; choose {max(side, 1) * vision.patch_size} or {(side + 1) * vision.patch_size}"
            )
        return side

    def _load_network(self) -> PreTrainedModel:
        """The vision transformer with the weights of its repository."""
        config, name = self.config, cast(str, self.config.model_name_or_path)
        with explained("load", name):
            net, info = AutoModel.from_pretrained(
                name,
                config=config.vision_config,
                revision=config.revision,
                dtype=torch.get_default_dtype(),
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        if missing := sorted(key for key in info["missing_keys"] if "pool" not in key):
            raise ValueError(f"'{name}' has no weights for {', '.join(missing[:3])}: choose a complete checkpoint")
        for module in net.modules():
            module._is_hf_initialized = True  # keeps the weights when the model is initialised
        return net

    def _check_network(self, parameters: Any, input_shape: Sizes):
        """Encode one image, so that an encoder that does not fit fails when the model is built."""
        needed = [p.name for p in parameters.values() if p.default is Parameter.empty and p.kind != p.VAR_KEYWORD]
        if needed[1:]:
            raise ValueError(
                f"{self.config.describe()} needs {', '.join(needed[1:])} in addition to the pixels: choose an encoder "
                "of images of one size"
            )
        training, like = self.net.training, next(self.net.parameters())
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device))
        finally:
            self.train(training)

    def forward(self, pixel_values: Tensor) -> Tensor:
        size, dtype = (cast(int, self.config.image_size),) * 2, pixel_values.dtype
        pixels = at_least_float32(pixel_values)  # resizing by bicubic weights
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True)
        pixels = (pixels - self.image_mean.to(pixels)) / self.image_std.to(pixels)  # grey images get all channels
        channels, *sides = self.feature_shape
        options = self.options
        if self.needs_order:
            order = torch.arange(sides[0] * sides[1], device=pixels.device, dtype=torch.float32)
            options = {**options, "noise": order.expand(len(pixels), -1)}
        tokens = getattr(self.net(pixels.to(dtype), **options), "last_hidden_state", None)
        if tokens is None or tokens.dim() != 3 or tokens.shape[1] < sides[0] * sides[1]:
            found = "no last_hidden_state" if tokens is None else f"features of shape {tuple(tokens.shape)}"
            raise ValueError(
                f"{self.config.describe()} returns {found}, but an encoder must return (batch, tokens, channels) with "
                f"{sides[0]} x {sides[1]} patches last"
            )
        return tokens[:, -sides[0] * sides[1] :].transpose(1, 2).unflatten(2, sides)


def _commit_of(file: Path | None) -> str | None:
    """The commit of a file in the cache of the Hub, if it is one."""
    return file.parent.name if file is not None and file.parent.parent.name == "snapshots" else None


def _side(settings: dict[str, Any]) -> int | None:
    """Side of the images after an image processor with these settings, if they are square."""
    size = (settings.get("do_center_crop") and settings.get("crop_size")) or settings.get("size")
    if isinstance(size, dict):
        size = size.get("shortest_edge", size.get("height"))
    return size if isinstance(size, int) else None


VISION_ENCODER = (VisionEncoderConfig, VisionEncoder)
"""(config class, network class), which models/base.py registers."""
