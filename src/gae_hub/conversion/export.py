"""Encoder and decoder for use without gae_hub: programs of torch.export, ONNX, or a part of a diffusers pipeline.

The encoder is images (batch, *input_shape) in [0, 1] to embeddings, what `embed` gives: means, passed through flow or
quantizer. The decoder is latents to images in [0, 1]. Batches may have any size.
"""

__all__ = ["DiffusersAutoencoder", "Program", "export_model"]

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.hub_files import fetch_file
from ..metrics.functional.moments import Moments
from ..models.base import GAEPreTrainedModel
from ..modules.posteriors import DiagonalGaussian, GaussianPosterior, PointMass


class Program(nn.Module):
    """One method of a model as a module.

    Args:
        model: a model of gae_hub.
        role: "encoder" or "decoder".
    """

    def __init__(self, model: GAEPreTrainedModel, role: str):
        super().__init__()
        self.model, self.role = model, role

    def forward(self, inputs: Tensor) -> Tensor:
        if self.role == "encoder":
            return self.model.compute_latents(self.model.encode(inputs))
        return self.model.decode(inputs)


def export_model(
    model: GAEPreTrainedModel,
    folder: str | Path,
    format: str = "torch",
    images: Tensor | Iterable[Tensor] | None = None,
) -> list[Path]:
    """Write encoder and decoder into a folder.

    Args:
        model: a model of gae_hub.
        folder: where.
        format: "torch" for encoder.pt2 and decoder.pt2, which `torch.export.load` reads; "onnx" for encoder.onnx and
            decoder.onnx (extra `onnx`); "diffusers" for an autoencoder with latent maps (extra `diffusers`).
        images: for "diffusers", what [`DiffusersAutoencoder.from_model`] measures the scaling factor on.

    Returns:
        The files.

    Raises:
        ValueError: for another format, or a method whose encoder cannot be traced.
        ImportError: if the extra is not installed.
    """
    folder = Path(folder)
    if format == "diffusers":
        DiffusersAutoencoder.from_model(model, images).save_pretrained(folder)
        return sorted(path for path in folder.iterdir() if path.is_file())
    if format not in ("torch", "onnx"):
        raise ValueError(f"format must be 'torch', 'onnx' or 'diffusers', got '{format}'")
    if images is not None:
        raise ValueError(f"images scale the latents of the format 'diffusers', and have no meaning for '{format}'")
    model = model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"encoder": (2, *model.config.input_shape), "decoder": (2, *model.latent_shape)}
    written = []
    for role, shape in inputs.items():
        example = (torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype),)
        dynamic = {"inputs": {0: torch.export.Dim("batch")}}
        path = folder / f"{role}.{'pt2' if format == 'torch' else 'onnx'}"
        try:
            with torch.no_grad():
                program = torch.export.export(Program(model, role), example, dynamic_shapes=dynamic)
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            raise ValueError(
                f"the {role} of {type(model).__name__} cannot be exported: {str(error).partition(chr(10))[0]}"
            ) from error
        if format == "torch":
            torch.export.save(program, path)
        else:
            torch.onnx.export(
                program,
                f=str(path),
                input_names=["pixel_values" if role == "encoder" else "latents"],
                output_names=["latents" if role == "encoder" else "pixel_values"],
                external_data=False,
                verbose=False,
            )
        written.append(path)
    description = {"input_shape": model.config.input_shape, "latent_shape": model.latent_shape}
    (folder / "shapes.json").write_text(json.dumps(description), encoding="utf-8")
    return [*written, folder / "shapes.json"]


@dataclass
class Encoded:
    """What `encode` of a diffusers autoencoder returns."""

    latent_dist: "LatentDistribution"


@dataclass
class Decoded:
    """What `decode` of a diffusers autoencoder returns."""

    sample: Tensor


@dataclass
class LatentDistribution:
    """A posterior by the names that diffusers has: latents are maps (batch, channels, height, width)."""

    mean: Tensor
    logvar: Tensor | None = None

    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        if self.logvar is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + (0.5 * self.logvar).exp() * noise


class DiffusersAutoencoder(nn.Module):
    """A VAE or VQ-VAE of gae_hub in the place that `AutoencoderKL` has in a pipeline of diffusers.

    Images are in [-1, 1] on this side, as diffusers has them. A latent vector is a map of one pixel. A diffusion
    model is trained on `scaling_factor` times the latents, whose deviation is then 1, as in High-Resolution Image
    Synthesis with Latent Diffusion Models (Rombach, Blattmann, Lorenz, Esser & Ommer, 2022), arXiv:2112.10752.

    Args:
        model: a model with a Gaussian or deterministic posterior, or a quantizer.
        scaling_factor: 1 over the deviation of samples of the latents.

    Raises:
        ValueError: for a method with another posterior.

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
        channels, *size = model.latent_shape
        self.config = FrozenDict(
            in_channels=model.config.input_shape[0],
            out_channels=model.config.input_shape[0],
            latent_channels=channels,
            block_out_channels=(1,) * (1 + (model.config.input_shape[-1] // (size or [1])[-1]).bit_length() - 1),
            sample_size=model.config.input_shape[-1],
            scaling_factor=float(scaling_factor),
            shift_factor=None,
            force_upcast=False,
        )

    @classmethod
    def from_model(
        cls, model: GAEPreTrainedModel, images: Tensor | Iterable[Tensor] | None = None
    ) -> "DiffusersAutoencoder":
        """With the scaling factor that the latents of images ask for: (batch, *input_shape) in [0, 1], or several such
        batches. Without images it is 1."""
        if len(model.config.input_shape) != 3:
            raise ValueError(f"diffusers has pipelines of images, but input_shape is {model.config.input_shape}")
        if images is None:
            return cls(model)
        deviation = cls(model)._deviation([images] if isinstance(images, Tensor) else images)
        if not deviation > 0:
            raise ValueError("all latents of these images are alike, so that no factor scales their deviation to 1")
        return cls(model, 1 / deviation)

    @torch.no_grad()
    def _deviation(self, batches: Iterable[Tensor]) -> float:
        """That of samples of the latents over images and dimensions: of the means, and of the samples around them."""
        means, around = Moments(), 0.0
        for images in batches:
            latents = self.encode(2 * images.to(self.device, self.dtype) - 1).latent_dist
            means.add(latents.mean.reshape(-1, 1))
            if latents.logvar is not None:
                around += latents.logvar.double().exp().sum().item()
        count, _, variance = means.compute_statistics()
        return (variance.item() * (count - 1) / count + around / count) ** 0.5

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        return self.model.device

    def encode(self, x: Tensor, return_dict: bool = True) -> Encoded | tuple[LatentDistribution]:
        """x: (batch, channels, height, width) in [-1, 1]."""
        posterior = self.model.encode((x + 1) / 2)
        if type(posterior) not in (DiagonalGaussian, GaussianPosterior, PointMass):
            raise ValueError(
                f"{type(self.model).__name__} has a {type(posterior).__name__} for its posterior, which diffusers "
                "does not: it takes Gaussian and deterministic ones"
            )
        # of a quantizer the latents before it, which `decode` quantizes: as in diffusers' VQModel
        found = LatentDistribution(as_map(posterior.mean), as_map(getattr(posterior, "log_var", None)))
        return Encoded(found) if return_dict else (found,)

    def decode(self, z: Tensor, return_dict: bool = True, generator=None) -> Decoded | tuple[Tensor]:
        """z: (batch, latent_channels, height, width), as `encode` gives them, not scaled."""
        latents = z if len(self.model.latent_shape) == 3 else z.flatten(1)
        images = (
            2 * self.model.decode(self.model.compute_latents(PointMass(latents)) if self._quantized() else latents) - 1
        )
        return Decoded(images) if return_dict else (images,)

    def _quantized(self) -> bool:
        return hasattr(self.model, "quantize")

    def forward(self, sample: Tensor) -> Decoded:
        return self.decode(self.encode(sample).latent_dist.mode())

    def save_pretrained(self, save_directory: str | Path, **kwargs):
        """The model as gae_hub saves it, with the scaling factor beside it."""
        self.model.save_pretrained(save_directory)
        path = Path(save_directory) / "diffusers.json"
        path.write_text(json.dumps({"scaling_factor": self.config.scaling_factor}), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> "DiffusersAutoencoder":
        """From a folder or repository of a model, with its scaling factor where there is one."""
        from ..auto import AutoGAE

        model = AutoGAE.from_pretrained(pretrained_model_name_or_path, **kwargs)
        hub = {
            key: kwargs[key]
            for key in ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
            if key in kwargs
        }
        found = fetch_file(pretrained_model_name_or_path, "diffusers.json", **hub)
        return cls(model, **(json.loads(found.read_text(encoding="utf-8")) if found else {}))


def as_map(latents: Tensor | None) -> Tensor | None:
    """Vectors as maps of one pixel."""
    return latents if latents is None or latents.dim() == 4 else latents[:, :, None, None]
