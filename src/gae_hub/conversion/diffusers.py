"""Autoencoders of gae_hub in diffusers pipelines: as a genuine `AutoencoderKL` or `VQModel`, or wrapped."""

__all__ = ["DiffusersAutoencoder", "ModelMixin", "convert_to_diffusers"]

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.autoencoders.vq_model import VQEncoderOutput, VQModel
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..auto import AutoGAE
from ..core.checkpoint_checks import check_finite, check_sizes
from ..core.files import write_text
from ..core.hub_files import FETCH_OPTIONS, fetch_file
from ..core.json_files import read_json_object
from ..metrics.functional.moments import Moments
from ..models.base import GAEPreTrainedModel
from ..models.quantized import QuantizedModel
from ..models.vae import VAEModel
from ..models.vq_vae import VQVAEModel
from ..modules.posteriors import DiagonalGaussian, GaussianPosterior, PointMass
from .diffusers_weights import build_autoencoder_kl, build_vq_model, why_not_genuine

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
LIBRARY = "gae_hub"
# a pipeline loads its component's class from the file of the name that model_index.json records as its library
_CODE = f'''"""Loads the autoencoder of a diffusers pipeline: pip install 'gae_hub[diffusers]'."""

from {__name__} import DiffusersAutoencoder

__all__ = ["DiffusersAutoencoder"]
'''


class DiffusersAutoencoder(ModelMixin, ConfigMixin):
    """A model of gae_hub with the interface of `AutoencoderKL`, or of `VQModel` for a quantized model.

    Images are in [-1, 1], the range of diffusers. A latent vector is a map of one pixel, unless its model has
    `latent_layout="spatial"`. Diffusion models are trained on (latents - shift_factor) * scaling_factor, which have
    standard deviation 1, as in High-Resolution Image Synthesis with Latent Diffusion Models (Rombach, Blattmann,
    Lorenz, Esser & Ommer, 2022), arXiv:2112.10752.

    `save_pretrained` of a pipeline saves it, and `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)`
    loads it, where gae_hub is installed: the folder has one line of code, which imports this class.

    Args:
        autoencoder: a model of images with a Gaussian or deterministic posterior, or a quantizer; or the content of
            its config.json, for new weights.
        scaling_factor: 1 / standard deviation of samples of the latents.
        shift_factor: mean of the latents, or None for 0.
        in_channels, out_channels, latent_channels, block_out_channels, sample_size, force_upcast: what pipelines read
            from the config. They follow from the autoencoder; other values are ignored.

    Raises:
        ValueError: if the model is not for images, or scaling_factor is not above 0.

    Example:

    ```python
    vae = DiffusersAutoencoder.from_model(model, images)
    latents = vae.encode(2 * images - 1).latent_dist.sample() * vae.config.scaling_factor
    images = vae.decode(latents / vae.config.scaling_factor).sample
    ```
    """

    _keep_in_fp32_modules = ["progress", "likelihood", "codebook", "codebooks"]

    @register_to_config
    def __init__(
        self,
        autoencoder: GAEPreTrainedModel | dict[str, Any],
        scaling_factor: float = 1.0,
        shift_factor: float | None = None,
        in_channels: int | None = None,
        out_channels: int | None = None,
        latent_channels: int | None = None,
        block_out_channels: tuple[int, ...] | None = None,
        sample_size: int | None = None,
        force_upcast: bool = False,
    ):
        super().__init__()
        if not scaling_factor > 0:
            raise ValueError(f"scaling_factor must be above 0, got {scaling_factor}")
        model = autoencoder if isinstance(autoencoder, GAEPreTrainedModel) else _build_model(autoencoder)
        if model.is_conditional:
            raise ValueError(
                f"the autoencoders of diffusers have no class_labels, but this {type(model).__name__} is conditional"
            )
        if len(model.config.input_shape) != 3:
            raise ValueError(
                "diffusers needs a model of images, with input_shape (channels, height, width), got "
                f"{model.config.input_shape}"
            )
        self.model = model.eval()
        self.map_shape = _map_shape(model)
        channels, _, size = model.config.input_shape
        self.register_to_config(
            autoencoder=json.loads(model.config.to_json_string()),
            scaling_factor=float(scaling_factor),
            shift_factor=shift_factor,
            in_channels=channels,
            out_channels=channels,
            latent_channels=self.map_shape[0],
            # pipelines compute the downsampling as 2 ** (len(block_out_channels) - 1)
            block_out_channels=(1,) * (size // self.map_shape[-1]).bit_length(),
            sample_size=size,
            force_upcast=getattr(model.config, "force_upcast", False),
        )
        self.__module__ = LIBRARY  # which model_index.json records; the folder has a file of this name

    @classmethod
    def from_model(
        cls, model: GAEPreTrainedModel, images: Tensor | Iterable[Tensor] | None = None
    ) -> "DiffusersAutoencoder":
        """Wrap a model, with a scaling factor measured on images.

        Args:
            model: a model of images.
            images: (batch, *input_shape) in [0, 1], or an iterable of such batches. Without them, the factors are
                those of the model's config, as [`from_diffusers`] keeps them, or 1 and None.

        Raises:
            ValueError: if the model is not for images, its posterior is not supported, or its latents of these images
                are all equal.
        """
        vae = cls(model)
        if images is None:
            factor, shift = (getattr(model.config, f"{name}_factor", None) for name in ("scaling", "shift"))
            vae.register_to_config(scaling_factor=1.0 if factor is None else float(factor), shift_factor=shift)
        else:
            std = vae._latent_std([images] if isinstance(images, Tensor) else images)
            if not std > 0:
                raise ValueError(
                    "the latents of these images are all equal, so they cannot be scaled to standard deviation 1; "
                    "pass other images"
                )
            vae.register_to_config(scaling_factor=1 / std)
        return vae

    @torch.no_grad()
    def _latent_std(self, batches: Iterable[Tensor]) -> float:
        """Standard deviation of samples of the latents, over all images and dimensions.

        By the law of total variance: the variance of the means plus the mean of the variances.
        """
        means, sum_of_variances = Moments(), 0.0
        for images in batches:
            mean, log_var = self._encode(2 * images.to(self.device, self.dtype) - 1)
            means.add(mean.reshape(-1, 1))
            if log_var is not None:
                sum_of_variances += log_var.double().exp().sum().item()
        count, _, variance = means.compute_statistics()
        return (variance.item() * (count - 1) / count + sum_of_variances / count) ** 0.5

    def encode(
        self, x: Tensor, return_dict: bool = True
    ) -> AutoencoderKLOutput | VQEncoderOutput | tuple[DiagonalGaussianDistribution] | tuple[Tensor]:
        """Posterior of images x, (batch, channels, height, width) in [-1, 1], as `latent_dist`.

        With a quantizer, the output has `latents` instead, which are not quantized yet: `decode` quantizes them, as
        diffusers' `VQModel` does.

        Raises:
            ValueError: if the posterior is neither Gaussian nor deterministic.
        """
        mean, log_var = self._encode(x)
        if isinstance(self.model, QuantizedModel):
            return VQEncoderOutput(latents=mean) if return_dict else (mean,)
        is_point = log_var is None
        parameters = torch.cat([mean, torch.zeros_like(mean) if is_point else log_var], 1)
        distribution = DiagonalGaussianDistribution(parameters, deterministic=is_point)
        return AutoencoderKLOutput(latent_dist=distribution) if return_dict else (distribution,)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance of the posterior, (batch, *map_shape) each; no variance for a point mass."""
        posterior = self.model.encode((x + 1) / 2)
        if type(posterior) not in (DiagonalGaussian, GaussianPosterior, PointMass):
            raise ValueError(
                f"diffusers needs a Gaussian or deterministic posterior, but {type(self.model).__name__} has a "
                f"{type(posterior).__name__}"
            )
        log_var = posterior.log_var if isinstance(posterior, GaussianPosterior) else None
        return self._as_map(posterior.mean, x), None if log_var is None else self._as_map(log_var, x)

    def _as_map(self, latents: Tensor, like: Tensor) -> Tensor:
        return latents.reshape(-1, *self.map_shape).to(like.dtype)

    def decode(self, z: Tensor, return_dict: bool = True, generator=None) -> DecoderOutput | tuple[Tensor]:
        """Images in [-1, 1] for latents z, (batch, latent_channels, height, width), without the scaling factor.

        `generator` is ignored; pipelines pass it.
        """
        latents = z.reshape(-1, *self.model.latent_shape)
        if isinstance(self.model, QuantizedModel):
            latents = self.model.compute_latents(PointMass(latents))
        images = (2 * self.model.decode(latents) - 1).to(z.dtype)
        return DecoderOutput(sample=images) if return_dict else (images,)

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput | tuple[Tensor]:
        """Reconstruct images in [-1, 1], from the mean of the posterior or from a sample."""
        (encoded,) = self.encode(sample, return_dict=False)
        if isinstance(encoded, DiagonalGaussianDistribution):
            encoded = encoded.sample(generator) if sample_posterior else encoded.mode()
        return self.decode(encoded, return_dict=return_dict)

    def save_pretrained(self, save_directory: str | Path, *args, is_main_process: bool = True, **kwargs):
        """Save as every model of diffusers, with the code that imports this class. `model.save_pretrained` of the
        attribute `model` saves a checkpoint of gae_hub instead.

        Raises:
            ValueError: if encoder or decoder is a custom network, which a pipeline cannot build.
        """
        for role in ("encoder", "decoder"):
            config = getattr(self.model.config, f"{role}_config")
            if config.model_type == "gae_custom_module":
                raise ValueError(
                    f"a pipeline cannot build the custom {role} {config.class_name}: give it a config and register it "
                    "with register_backbone"
                )
        kwargs["safe_serialization"] = True  # never pickle
        super().save_pretrained(save_directory, *args, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            write_text(Path(save_directory) / f"{LIBRARY}.py", _CODE)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs) -> "DiffusersAutoencoder":
        """Load what `save_pretrained` wrote.

        Args:
            pretrained_model_name_or_path: folder or repository.
            **kwargs: as in `ModelMixin.from_pretrained`.

        Raises:
            ValueError: if weights are missing, unexpected, or nan or infinite, or do not match the config.
        """
        name, with_info = pretrained_model_name_or_path, kwargs.pop("output_loading_info", False)
        where = {key: kwargs[key] for key in FETCH_OPTIONS if kwargs.get(key) is not None}
        config, weights = (fetch_file(name, file, **where) for file in (CONFIG, WEIGHTS))
        content = {} if config is None else read_json_object(config)
        if "model_type" in content:
            raise ValueError(
                f"'{name}' is a checkpoint of gae_hub: wrap it by "
                "DiffusersAutoencoder.from_model(AutoGAE.from_pretrained(...))"
            )
        if weights is not None:
            check_sizes(content, name, [weights])
        kwargs["use_safetensors"] = True
        loaded = super().from_pretrained(name, **kwargs, output_loading_info=True)
        model, info = cast(tuple[DiffusersAutoencoder, dict[str, Any]], loaded)
        check_loaded(model, info, name)
        return (model, info) if with_info else model  # pyright: ignore[reportReturnType] (as in diffusers)


def check_loaded(model: nn.Module, info: dict[str, Any], name: str | Path):
    """Raise ValueError if `from_pretrained` found weights that are missing, unexpected, or nan or infinite.

    Args:
        model: the loaded model.
        info: its `output_loading_info`.
        name: its folder or repository.
    """
    faults = [f"{key} is {kind}" for kind in ("missing", "unexpected") for key in info[f"{kind}_keys"]]
    if faults:
        raise ValueError(f"the weights of '{name}' do not fit its config: {'; '.join(sorted(faults)[:4])}")
    check_finite(model.state_dict().items(), name)


def convert_to_diffusers(
    model: GAEPreTrainedModel, images: Tensor | Iterable[Tensor] | None = None
) -> AutoencoderKL | VQModel | DiffusersAutoencoder:
    """The autoencoder of diffusers with a model's outputs.

    It is a genuine `AutoencoderKL` or `VQModel`, which needs no gae_hub, if the model has the networks of these
    classes: `encoder_config` and `decoder_config` "diffusers_kl", `output_activation="identity"`, and a VAE with
    `latent_layout="spatial"` or a VQ-VAE of maps. [`why_not_genuine`] tells the reason if it is not.

    Args:
        model: a model of images.
        images: to measure the scaling factor on, as in [`DiffusersAutoencoder.from_model`].

    Raises:
        ValueError: as [`DiffusersAutoencoder.from_model`].
    """
    wrapped = DiffusersAutoencoder.from_model(model, images)
    if why_not_genuine(model) is not None:
        return wrapped
    factor, upcast = wrapped.config["scaling_factor"], wrapped.config["force_upcast"]
    if isinstance(model, VQVAEModel):
        return build_vq_model(model, factor, upcast)
    return build_autoencoder_kl(cast(VAEModel, model), factor, wrapped.config["shift_factor"], upcast)


def _build_model(config: dict[str, Any]) -> GAEPreTrainedModel:
    """A new model for the content of a gae_hub config.json."""
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ValueError(
            f"autoencoder must be a model of gae_hub, or the content of its config.json, got a {type(config).__name__}"
        )
    config_class = AutoGAE.config_class(config["model_type"])
    return AutoGAE.from_config(config_class.from_dict(config))


def _map_shape(model: GAEPreTrainedModel) -> tuple[int, ...]:
    """(channels, height, width) of a model's latents as a map."""
    if len(model.latent_shape) == 3:
        return model.latent_shape
    return getattr(model, "latent_map_shape", (*model.latent_shape, 1, 1))
