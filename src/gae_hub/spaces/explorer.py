"""What the Space of one model computes, as plain functions of tensors: no Gradio, and no state between calls."""

__all__ = ["MAX_IMAGES", "Explorer", "Reconstruction"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from torch import Tensor

from ..images.processing import GAEImageProcessor, is_image_shape
from ..metrics.functional.reconstruction import psnr, squared_error
from ..models.base import GAEPreTrainedModel
from ..models.poincare_vae import PoincareVAEModel
from ..models.quantized import QuantizedModel
from ..models.svae import SVAEModel
from ..modules.sphere import normalize
from ..samplers.base import GAESampler
from ..samplers.latent_kinds import get_latent_kind
from .example_sets import ExampleSet, split_batches
from .latent_axes import LatentAxes, LatentPlane
from .pixel_range import check_normalization

MAX_IMAGES = 64
"""Largest number of images of one request."""

PRIOR = "prior"
"""Name of the model's own prior among the samplers."""

_GEOMETRIES: dict[type[GAEPreTrainedModel], str] = {
    SVAEModel: "great circle",
    PoincareVAEModel: "hyperbolic geodesic",
    QuantizedModel: "quantized line",
}
_KEPT_DRAWS = 16


@dataclass(frozen=True)
class Reconstruction:
    """An image and what the model makes of it.

    Args:
        pixel_values, reconstruction: (1, *input_shape).
        latents: (1, *latent_shape).
        squared_error: mean of the squared differences.
        psnr: peak signal-to-noise ratio in decibels.
        codes: (1, *code_shape) for a quantized model, or None.
    """

    pixel_values: Tensor
    reconstruction: Tensor
    latents: Tensor
    squared_error: float
    psnr: float
    codes: Tensor | None


class Explorer:
    """A model, its samplers and examples, and what visitors do with them.

    Args:
        model: an autoencoder of images.
        processor: its processor.
        samplers: fitted samplers by name. The model's own prior is added as "prior" if it has one.
        examples: images to pick and to place on the map.

    Raises:
        ValueError: if the model's examples are not images with values in [0, 1], a sampler has the name "prior", or
            there is neither a sampler nor a prior.
    """

    def __init__(
        self,
        model: GAEPreTrainedModel,
        processor: GAEImageProcessor,
        samplers: Mapping[str, GAESampler],
        examples: ExampleSet,
    ):
        check_model(model, processor)
        if PRIOR in samplers:
            raise ValueError(
                f"no sampler can have the name '{PRIOR}', which is that of the model's own prior: rename the folder "
                "of the sampler"
            )
        self.model, self.processor, self.examples = model.eval(), processor, examples
        self.samplers: dict[str, GAESampler | None] = dict(samplers)
        if model.has_prior:
            self.samplers[PRIOR] = None
        if not self.samplers:
            raise ValueError(
                f"{type(model).__name__} has no prior, and there is no sampler: fit one with gae-hub fit-sampler"
            )
        with torch.inference_mode():
            self.embeddings = torch.cat([model.embed(batch) for batch in split_batches(examples.pixel_values)])
            self.axes = LatentAxes.measure(model, examples.pixel_values, self.embeddings)
            self.plane = LatentPlane.measure(self.embeddings)
            self.points = self.plane.project(self.embeddings)
        # embeddings stay the same, so that the spread is measured once
        self._spread = self.embeddings.float().std(0, correction=0, keepdim=True)
        self._draw_once = lru_cache(_KEPT_DRAWS)(self._draw)

    @property
    def geometry(self) -> str | None:
        """Name of the path that the model's own geometry has between two latents; None if it is the straight line."""
        return next((name for kind, name in _GEOMETRIES.items() if isinstance(self.model, kind)), None)

    def to_images(self, pixel_values: Tensor) -> list[Image.Image]:
        """PIL images in the units of the data."""
        return self.processor.postprocess(pixel_values)

    # Sampling

    def draw_latents(self, sampler: str, seed: int, num: int) -> Tensor:
        """(num, *latent_shape): the latents of `model.generate` with this sampler and seed. The last few are kept.

        Args:
            sampler: name of a sampler, or "prior".
            seed: seed of the latents.
            num: number of images.
        """
        return self._draw_once(sampler, seed, num)

    def _draw(self, sampler: str, seed: int, num: int) -> Tensor:
        with torch.inference_mode():
            return self.model.draw_latents(num, self.samplers[sampler], torch.Generator().manual_seed(seed))

    def vary(self, latents: Tensor, distance: float, seed: int, num: int) -> Tensor:
        """(num, *latent_shape): latents near those of one image.

        Args:
            latents: (1, *latent_shape).
            distance: standard deviation of the change, in standard deviations of the examples' embeddings.
            seed: of the change.
            num: number of variations.
        """
        noise = torch.randn(num, *latents.shape[1:], generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            return self.settle(latents + distance * self._spread * noise)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """(num, *input_shape): images of latents (num, *latent_shape)."""
        return self.model.decode(latents.to(self.model.dtype))

    def settle(self, latents: Tensor) -> Tensor:
        """The nearest latents that the model uses: on the sphere, or of its codebook. Others are returned as are."""
        if isinstance(self.model, QuantizedModel):
            return self.model.quantize(latents)[0]
        return normalize(latents) if get_latent_kind(self.model) == "sphere" else latents

    # Images

    @torch.inference_mode()
    def embed(self, pixel_values: Tensor) -> Tensor:
        """(num, *latent_shape): embeddings of images (num, *input_shape)."""
        return self.model.embed(pixel_values)

    @torch.inference_mode()
    def reconstruct(self, pixel_values: Tensor) -> Reconstruction:
        """What the model makes of one image, (1, *input_shape)."""
        latents = self.model.embed(pixel_values)
        reconstruction = self.model.decode(latents)
        original, restored = map(self.processor.restore, (pixel_values, reconstruction))
        return Reconstruction(
            pixel_values,
            reconstruction,
            latents,
            float(squared_error(original, restored)),
            float(psnr(original, restored)),
            self.model.encode_codes(pixel_values) if isinstance(self.model, QuantizedModel) else None,
        )

    @torch.inference_mode()
    def interpolate(self, start: Tensor, end: Tensor, num_steps: int, straight: bool) -> tuple[Tensor, Tensor]:
        """Latents and images on the path between two images, (num_steps, ...) each.

        Args:
            start, end: (1, *input_shape).
            num_steps: images on the path, ends included.
            straight: whether to follow the straight line instead of the model's geometry.
        """
        a, b = self.model.embed(start), self.model.embed(end)
        t = torch.linspace(0, 1, num_steps, dtype=a.dtype)
        lerp = GAEPreTrainedModel.interpolate_latents if straight else type(self.model).interpolate_latents
        path = lerp(self.model, a, b, t)[0]
        return path, self.decode(path)

    # Directions

    def base_latents(self, example: int | None) -> Tensor:
        """(1, *latent_shape): the embedding of an example; without one, the mean of all."""
        if example is not None:
            return self.embeddings[example : example + 1]
        return self.settle(self.axes.origin.view(1, *self.embeddings.shape[1:]))

    @torch.inference_mode()
    def move(self, example: int | None, values: list[float]) -> Tensor:
        """(1, *latent_shape): the base with its first coordinates set to the values of the sliders."""
        return self.settle(self.axes.place(self.base_latents(example), torch.tensor([values])))

    @torch.inference_mode()
    def traverse(self, example: int | None, values: list[float], axes: list[int], num_steps: int) -> Tensor:
        """(len(axes) * num_steps, *input_shape): for each axis, images from one end of its slider to the other.

        Args:
            example: as in `base_latents`.
            values: of the sliders, which the other axes keep.
            axes: which axes, below len(values).
            num_steps: images for each axis.
        """
        rows = torch.tensor(values).repeat(len(axes), num_steps, 1)
        for row, axis in zip(rows, axes, strict=True):
            row[:, axis] = torch.linspace(self.axes.low[axis], self.axes.high[axis], num_steps)
        latents = self.settle(self.axes.place(self.base_latents(example), rows.flatten(0, 1)))
        return self.decode(latents)

    @torch.inference_mode()
    def lift(self, x: float, y: float) -> Tensor:
        """(1, *latent_shape): the latents of a point of the map."""
        return self.settle(self.plane.lift(torch.tensor([[x, y]]), tuple(self.embeddings.shape[1:])))


def check_model(model: GAEPreTrainedModel, processor: GAEImageProcessor):
    """Raise ValueError unless a Space can show the images of a model."""
    shape = tuple(model.config.input_shape)
    if not is_image_shape(shape):
        raise ValueError(
            f"a Space shows models of images with 1, 3 or 4 channels; input_shape {shape} of this "
            f"{type(model).__name__} is not (channels, height, width). gae-hub generate and gae-hub reconstruct draw "
            "pictures of such models"
        )
    model.check_given("a Space", "show its samples with gae-hub generate --class_label")
    check_normalization(processor)
