"""What the Space of one model computes, as plain functions of tensors: no Gradio, and no state between calls."""

__all__ = ["MAX_IMAGES", "Explorer", "Reconstruction"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from torch import Tensor

from ..core.class_labels import supports_guidance
from ..images.processing import GAEImageProcessor, is_image_shape
from ..metrics.functional.reconstruction import psnr, squared_error
from ..models.base import GAEPreTrainedModel
from ..models.poincare_vae import PoincareVAEModel
from ..models.quantized import QuantizedModel
from ..models.svae import SVAEModel
from ..modules.sphere import normalize
from ..samplers.base import GAESampler
from ..samplers.latent_kinds import get_latent_kind
from .class_choice import EACH_ITS_OWN, NO_CLASS, ClassChoice, Classes, read_example_classes
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
        class_labels: (1,) class that the reconstruction has, for a conditional model, or None.
    """

    pixel_values: Tensor
    reconstruction: Tensor
    latents: Tensor
    squared_error: float
    psnr: float
    codes: Tensor | None
    class_labels: Tensor | None


class Explorer:
    """A model, its samplers and examples, and what visitors do with them.

    Args:
        model: an autoencoder of images.
        processor: its processor.
        samplers: fitted samplers by name. The model's own prior is added as "prior" if it has one.
        examples: images to pick and to place on the map.

    Raises:
        ValueError: if the model's examples are not images with values in [0, 1], a sampler has the name "prior",
            there is neither a sampler nor a prior, or the examples do not have the classes of a conditional model.
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
        self.classes = Classes.find(model, self.samplers.values())
        self.class_labels = read_example_classes(model, examples)  # (num,), for a conditional model, or None
        with torch.inference_mode():
            parts = list(split_batches(examples.pixel_values))
            models = model.given_parts(parts, self.class_labels)
            self.embeddings = torch.cat([own.embed(part) for own, part in zip(models, parts, strict=True)])
            self.axes = LatentAxes.measure(model, examples.pixel_values, self.embeddings, self.class_labels)
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

    def draw_latents(
        self, sampler: str, seed: int, num: int, choice: ClassChoice = EACH_ITS_OWN
    ) -> tuple[Tensor, Tensor | None]:
        """Latents (num, *latent_shape) and classes (num,) of `model.generate`. The last few draws are kept.

        For `NO_CLASS`, which `generate` does not accept there, a sampler with classes draws classes of its own.

        Args:
            sampler: name of a sampler, or "prior".
            seed: seed of the latents, and of the classes unless one is chosen.
            num: number of images.
            choice: the class.

        Returns:
            The latents, and their classes for a conditional model, or None.

        Raises:
            ValueError: for a class if neither the model nor the sampler has classes, or for guidance if neither
                supports it.
        """
        chosen = self.samplers[sampler]
        if choice.guidance_scale != 1 and not self.classes.guides_model and not supports_guidance(chosen):
            raise ValueError(
                f"sampler '{sampler}' has no guidance: set guidance_scale to 1, or choose another sampler"
            )
        scale, _ = self.model.split_guidance(chosen, choice.guidance_scale)
        return self._draw_once(sampler, seed, num, choice.class_label, scale)

    @torch.inference_mode()
    def _draw(
        self, name: str, seed: int, num: int, label: int | None, guidance_scale: float
    ) -> tuple[Tensor, Tensor | None]:
        model, sampler, generator = self.model, self.samplers[name], torch.Generator().manual_seed(seed)
        if label is not None and not model.is_conditional and getattr(sampler, "num_classes", None) is None:
            raise ValueError(
                f"sampler '{name}' has no classes: let each image have its own, or choose another sampler"
            )
        labels = model.draw_class_labels(num, generator) if label is None else torch.full((num,), label)
        given = None if label == NO_CLASS else labels  # samplers draw the class of an image without one
        latents = model.draw_latents(num, sampler, generator, given, guidance_scale)
        return latents, labels if model.is_conditional else None

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
    def decode(self, latents: Tensor, class_labels: Tensor | None = None, guidance_scale: float = 1.0) -> Tensor:
        """(num, *input_shape): images of latents (num, *latent_shape).

        Args:
            latents: the latents.
            class_labels: (num,) or (1,) classes, for a conditional model.
            guidance_scale: as for `generate`; it is that of a sampler if the model does not support it.
        """
        latents = latents.to(self.model.dtype)
        if class_labels is None:
            return self.model.decode(latents)
        scale = guidance_scale if self.classes.guides_model else 1.0
        return self.model.given(class_labels.expand(len(latents)), scale).decode(latents)

    def settle(self, latents: Tensor) -> Tensor:
        """The nearest latents that the model uses: on the sphere, or of its codebook. Others are returned as are."""
        if isinstance(self.model, QuantizedModel):
            return self.model.quantize(latents)[0]
        return normalize(latents) if get_latent_kind(self.model) == "sphere" else latents

    # Images

    def find_image_class(self, example: int | None, choice: ClassChoice = EACH_ITS_OWN) -> Tensor | None:
        """(1,): the class of an example, or of an image that a visitor sent, which has the chosen class.

        None for a model without classes.

        Raises:
            ValueError: for such an image if no class is chosen, and the model was not trained on images without one.
        """
        if self.class_labels is None:
            return None
        if example is not None:
            return self.class_labels[example : example + 1]
        if choice.class_label is None and not self.classes.guides_model:
            raise ValueError("class_label is missing: an uploaded image has no class, so choose the one that it shows")
        return torch.tensor([NO_CLASS if choice.class_label is None else choice.class_label])

    @torch.inference_mode()
    def embed(self, pixel_values: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(num, *latent_shape): embeddings of images (num, *input_shape), and (num,) classes if there are any."""
        return self.model.embed(pixel_values, class_labels=class_labels)

    @torch.inference_mode()
    def reconstruct(
        self, pixel_values: Tensor, class_labels: Tensor | None = None, choice: ClassChoice = EACH_ITS_OWN
    ) -> Reconstruction:
        """What the model makes of one image.

        Args:
            pixel_values: (1, *input_shape).
            class_labels: (1,) the image's own class, for a conditional model.
            choice: the class of the reconstruction; another than the image's own shows its style in that class.
        """
        latents, target = self.embed(pixel_values, class_labels), choice.apply(class_labels)
        reconstruction = self.decode(latents, target, choice.guidance_scale)
        original, restored = map(self.processor.restore, (pixel_values, reconstruction))
        return Reconstruction(
            pixel_values,
            reconstruction,
            latents,
            float(squared_error(original, restored)),
            float(psnr(original, restored)),
            self._encode_codes(pixel_values, class_labels),
            target,
        )

    def _encode_codes(self, pixel_values: Tensor, class_labels: Tensor | None) -> Tensor | None:
        if not isinstance(self.model, QuantizedModel):
            return None
        return self.model.encode_codes(pixel_values, class_labels=class_labels)

    @torch.inference_mode()
    def interpolate(
        self,
        start: Tensor,
        end: Tensor,
        num_steps: int,
        straight: bool,
        start_labels: Tensor | None = None,
        end_labels: Tensor | None = None,
        choice: ClassChoice = EACH_ITS_OWN,
    ) -> tuple[Tensor, Tensor]:
        """Latents and images on the path between two images, (num_steps, ...) each.

        Args:
            start, end: (1, *input_shape).
            num_steps: images on the path, ends included.
            straight: whether to follow the straight line instead of the model's geometry.
            start_labels, end_labels: (1,) classes of both, for a conditional model.
            choice: the class of the path. By default, its first half has the class of the start, the second half that
                of the end.
        """
        a, b = self.embed(start, start_labels), self.embed(end, end_labels)
        t = torch.linspace(0, 1, num_steps, dtype=a.dtype)
        lerp = GAEPreTrainedModel.interpolate_latents if straight else type(self.model).interpolate_latents
        path, labels = lerp(self.model, a, b, t)[0], None
        if start_labels is not None and end_labels is not None:
            num_last = num_steps // 2
            labels = torch.cat([start_labels.expand(num_steps - num_last), end_labels.expand(num_last)])
        return path, self.decode(path, choice.apply(labels), choice.guidance_scale)

    # Directions

    def choose_point_class(self, example: int | None, choice: ClassChoice) -> Tensor | None:
        """(1,): the class that a point of the latent space is decoded with. None for a model without classes.

        The chosen class; if none is chosen, the class of the example; without an example, class 0.
        """
        if self.class_labels is None:
            return None
        return choice.apply(torch.zeros(1, dtype=torch.long) if example is None else self.find_image_class(example))

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
    def traverse(
        self,
        example: int | None,
        values: list[float],
        axes: list[int],
        num_steps: int,
        choice: ClassChoice = EACH_ITS_OWN,
    ) -> Tensor:
        """(len(axes) * num_steps, *input_shape): for each axis, images from one end of its slider to the other.

        Args:
            example: as in `base_latents`.
            values: of the sliders, which the other axes keep.
            axes: which axes, below len(values).
            num_steps: images for each axis.
            choice: the class of the images.
        """
        rows = torch.tensor(values).repeat(len(axes), num_steps, 1)
        for row, axis in zip(rows, axes, strict=True):
            row[:, axis] = torch.linspace(self.axes.low[axis], self.axes.high[axis], num_steps)
        latents = self.settle(self.axes.place(self.base_latents(example), rows.flatten(0, 1)))
        return self.decode(latents, self.choose_point_class(example, choice), choice.guidance_scale)

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
    if model.config.condition_dim is not None:
        raise ValueError(
            f"a Space lets its visitors choose classes, but this {type(model).__name__} is conditioned on vectors, "
            f"condition_dim = {model.config.condition_dim}: train it with num_classes instead"
        )
    check_normalization(processor)
