"""An autoencoder of gae_hub as the VAE of a diffusers pipeline."""

__all__ = ["DiffusersAutoencoder"]

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..auto import AutoGAE
from ..core.files import write_json
from ..core.hub_files import FETCH_OPTIONS, fetch_file
from ..core.json_files import get_field, read_json_object
from ..metrics.functional.moments import Moments
from ..models.base import GAEPreTrainedModel
from ..modules.posteriors import DiagonalGaussian, GaussianPosterior, PointMass

_CONFIG = "diffusers.json"


@dataclass
class LatentDistribution:
    """A posterior with the method names of diffusers.

    Args:
        mean: (batch, channels, height, width).
        logvar: log variance of the same shape, or None for a deterministic posterior.
    """

    mean: Tensor
    logvar: Tensor | None = None

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One sample per image, or the mean for a deterministic posterior."""
        if self.logvar is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + (0.5 * self.logvar).exp() * noise


@dataclass
class Encoded:
    """Output of [`DiffusersAutoencoder.encode`]."""

    latent_dist: LatentDistribution


@dataclass
class Decoded:
    """Output of [`DiffusersAutoencoder.decode`]."""

    sample: Tensor


class DiffusersAutoencoder(nn.Module):
    """A model of gae_hub with the interface of `AutoencoderKL`, for use in a diffusers pipeline.

    Images are in [-1, 1], the range of diffusers. A latent vector becomes a map of one pixel. Diffusion models are
    trained on latents times `scaling_factor`, which have standard deviation 1, as in High-Resolution Image Synthesis
    with Latent Diffusion Models (Rombach, Blattmann, Lorenz, Esser & Ommer, 2022), arXiv:2112.10752.

    Args:
        model: a model with a Gaussian or deterministic posterior, or a quantizer.
        scaling_factor: 1 / standard deviation of samples of the latents.

    Raises:
        ValueError: if scaling_factor is not above 0.
        ImportError: if diffusers is not installed.

    Example:

    ```python
    vae = DiffusersAutoencoder.from_model(model, images)
    latents = vae.encode(2 * images - 1).latent_dist.sample() * vae.config.scaling_factor
    images = vae.decode(latents / vae.config.scaling_factor).sample
    ```
    """

    def __init__(self, model: GAEPreTrainedModel, scaling_factor: float = 1.0):
        super().__init__()
        from diffusers.configuration_utils import FrozenDict

        if not scaling_factor > 0:
            raise ValueError(f"scaling_factor must be above 0, got {scaling_factor}")
        self.model = model.eval()
        channels, *latent_size = model.latent_shape
        image_channels, image_size = model.config.input_shape[0], model.config.input_shape[-1]
        downsampling = image_size // (latent_size[-1] if latent_size else 1)
        self.config = FrozenDict(
            in_channels=image_channels,
            out_channels=image_channels,
            latent_channels=channels,
            # pipelines compute the downsampling as 2 ** (len(block_out_channels) - 1)
            block_out_channels=(1,) * downsampling.bit_length(),
            sample_size=image_size,
            scaling_factor=float(scaling_factor),
            shift_factor=None,
            force_upcast=False,
        )

    @classmethod
    def from_model(
        cls, model: GAEPreTrainedModel, images: Tensor | Iterable[Tensor] | None = None
    ) -> "DiffusersAutoencoder":
        """Wrap a model, with a scaling factor measured on images.

        Args:
            model: a model of images.
            images: (batch, *input_shape) in [0, 1], or an iterable of such batches. The factor is 1 without them.

        Raises:
            ValueError: if the model is not for images, its posterior is not supported, or its latents of these images
                are all equal.
        """
        if len(model.config.input_shape) != 3:
            raise ValueError(
                "diffusers needs a model of images, with input_shape (channels, height, width), got "
                f"{model.config.input_shape}"
            )
        if images is None:
            return cls(model)
        std = cls(model)._latent_std([images] if isinstance(images, Tensor) else images)
        if not std > 0:
            raise ValueError(
                "the latents of these images are all equal, so they cannot be scaled to standard deviation 1; pass "
                "other images"
            )
        return cls(model, 1 / std)

    @torch.no_grad()
    def _latent_std(self, batches: Iterable[Tensor]) -> float:
        """Standard deviation of samples of the latents, over all images and dimensions.

        By the law of total variance: the variance of the means plus the mean of the variances.
        """
        means, sum_of_variances = Moments(), 0.0
        for images in batches:
            latents = self._encode(2 * images.to(self.device, self.dtype) - 1)
            means.add(latents.mean.reshape(-1, 1))
            if latents.logvar is not None:
                sum_of_variances += latents.logvar.double().exp().sum().item()
        count, _, variance = means.compute_statistics()
        return (variance.item() * (count - 1) / count + sum_of_variances / count) ** 0.5

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the parameters."""
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.model.device

    def encode(self, x: Tensor, return_dict: bool = True) -> Encoded | tuple[LatentDistribution]:
        """Posterior of images x, (batch, channels, height, width) in [-1, 1].

        With a quantizer, the latents are not quantized yet: `decode` quantizes them, as diffusers' VQModel does.

        Raises:
            ValueError: if the posterior is neither Gaussian nor deterministic.
        """
        latents = self._encode(x)
        return Encoded(latents) if return_dict else (latents,)

    def _encode(self, x: Tensor) -> LatentDistribution:
        posterior = self.model.encode((x + 1) / 2)
        if type(posterior) not in (DiagonalGaussian, GaussianPosterior, PointMass):
            raise ValueError(
                f"diffusers needs a Gaussian or deterministic posterior, but {type(self.model).__name__} has a "
                f"{type(posterior).__name__}"
            )
        log_var = posterior.log_var if isinstance(posterior, GaussianPosterior) else None
        return LatentDistribution(_as_map(posterior.mean), None if log_var is None else _as_map(log_var))

    def decode(self, z: Tensor, return_dict: bool = True, generator=None) -> Decoded | tuple[Tensor]:
        """Images in [-1, 1] for latents z, (batch, latent_channels, height, width), without the scaling factor.

        `generator` is ignored; pipelines pass it.
        """
        images = self._decode(z)
        return Decoded(images) if return_dict else (images,)

    def _decode(self, z: Tensor) -> Tensor:
        latents = z if len(self.model.latent_shape) == 3 else z.flatten(1)
        if hasattr(self.model, "quantize"):
            latents = self.model.compute_latents(PointMass(latents))
        return 2 * self.model.decode(latents) - 1

    def forward(self, sample: Tensor) -> Decoded:
        """Reconstruct images in [-1, 1]."""
        return Decoded(self._decode(self._encode(sample).mode()))

    def save_pretrained(self, save_directory: str | Path, **kwargs):
        """Save the model as gae_hub does, and the scaling factor in diffusers.json. Other arguments are ignored."""
        self.model.save_pretrained(save_directory)
        write_json(Path(save_directory) / _CONFIG, {"scaling_factor": self.config["scaling_factor"]})

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs) -> "DiffusersAutoencoder":
        """Load a model from a folder or Hub repository. The scaling factor is 1 if there is no diffusers.json.

        Args:
            pretrained_model_name_or_path: folder or repository.
            **kwargs: as in [`AutoGAE.from_pretrained`].

        Raises:
            ValueError: if the scaling factor in diffusers.json is not a number above 0.
        """
        model = AutoGAE.from_pretrained(pretrained_model_name_or_path, **kwargs)
        where = {key: kwargs[key] for key in FETCH_OPTIONS if key in kwargs}
        file = fetch_file(pretrained_model_name_or_path, _CONFIG, **where)
        if file is None:
            return cls(model)
        return cls(model, get_field(read_json_object(file), "scaling_factor", float, f"'{file}'", 1.0))


def _as_map(latents: Tensor) -> Tensor:
    """(batch, channels, height, width): a vector becomes a map of one pixel."""
    return latents if latents.dim() == 4 else latents[:, :, None, None]
