"""The functions of a Space: JSON in, JSON out. The page and `gradio_client` call the same ones."""

__all__ = ["ENDPOINTS", "LARGEST_SEED", "SAMPLES", "Endpoints"]

from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from ..core.argument_checks import describe
from .class_choice import ClassChoice
from .encoding import as_data_uri, latents_file
from .explorer import MAX_IMAGES, Explorer
from .request_checks import check_choice, check_integer, check_number, check_numbers
from .uploads import read_upload

LARGEST_SEED = 2**31 - 1
_MAX_STEPS = 50
_MAX_STRIP_IMAGES = 256
_FORMATS = ("npz", "csv")

ImageInput = int | str | dict[str, Any]
"""Number of an example; a data URI or base64 text; or a file, as `gradio_client.handle_file` sends it."""


class LabelledImage(NamedTuple):
    """An image, (1, *input_shape), and its class, (1,), for a conditional model."""

    pixel_values: Tensor
    class_labels: Tensor | None


class Endpoints:
    """What a Space answers. Every method checks its arguments, and raises ValueError in plain words.

    In all of them, `class_label` is the class of the images that a conditional model makes, or a sampler with classes:
    its number, or -1 for none if the model is trained with `condition_dropout`. By default, each sample has a class of
    its own, and each example keeps its class. `guidance_scale` is as for `generate`.

    Args:
        explorer: of the model.
        upload_folder: where Gradio keeps uploaded files; None to accept no files.
    """

    def __init__(self, explorer: Explorer, upload_folder: str | Path | None = None):
        self.explorer, self.upload_folder = explorer, upload_folder

    def sample(
        self,
        sampler: str,
        seed: int = 0,
        num_samples: int = 16,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """New images of a sampler and a seed: {"images": PNG data URIs}, with "class_labels" if there are any."""
        choice = self.explorer.classes.check(class_label, guidance_scale, of_samples=True)
        latents, labels = self._draw(sampler, seed, num_samples, choice)
        images = self._encode(self.explorer.decode(latents, labels, choice.guidance_scale))
        return {"images": images} if labels is None else {"images": images, "class_labels": labels.tolist()}

    def vary(
        self,
        sampler: str,
        seed: int = 0,
        num_samples: int = 16,
        index: int = 0,
        distance: float = 0.4,
        variation_seed: int = 0,
        num_variations: int = 12,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """Images whose latents are near those of one sample, in its class: {"images": PNG data URIs}."""
        choice = self.explorer.classes.check(class_label, guidance_scale, of_samples=True)
        latents, labels = self._draw(sampler, seed, num_samples, choice)
        index = check_integer("index", index, 0, len(latents) - 1)
        varied = self.explorer.vary(
            latents[index : index + 1],
            check_number("distance", distance, 0, 10),
            check_integer("variation_seed", variation_seed, 0, LARGEST_SEED),
            check_integer("num_variations", num_variations, 1, MAX_IMAGES),
        )
        own = None if labels is None else labels[index : index + 1]
        return {"images": self._encode(self.explorer.decode(varied, own, choice.guidance_scale))}

    def reconstruct(
        self, image: ImageInput, class_label: int | None = None, guidance_scale: float = 1.0
    ) -> dict[str, Any]:
        """What the model makes of an image: both as PNG data URIs, the error, the latents' shape and the codes."""
        choice = self.explorer.classes.check(class_label, guidance_scale)
        found = self.explorer.reconstruct(*self._read_image("image", image, choice), choice)
        codes = found.codes
        return {
            **_describe(found.class_labels),
            "input": self._encode(found.pixel_values)[0],
            "reconstruction": self._encode(found.reconstruction)[0],
            "mse": found.squared_error,
            "psnr": found.psnr,
            "latent_shape": list(found.latents.shape[1:]),
            "codes": None if codes is None else codes.flatten().tolist(),
            "code_shape": None if codes is None else list(codes.shape[1:]),
        }

    def embed(self, image: ImageInput, class_label: int | None = None) -> dict[str, Any]:
        """The latents of an image: {"latents": nested lists of numbers}. An example keeps its class."""
        return {"latents": self._embed(image, class_label)[0].tolist()}

    def interpolate(
        self,
        start: ImageInput,
        end: ImageInput,
        num_steps: int = 16,
        path: Literal["straight", "model"] = "model",
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """Images between two images, on the straight line or the model's own path: {"images": PNG data URIs}."""
        choice = self.explorer.classes.check(class_label, guidance_scale)
        (a, own), (b, other) = (
            self._read_image(name, image, choice) for name, image in (("start", start), ("end", end))
        )
        straight = check_choice("path", path, ("straight", "model")) == "straight"
        steps = check_integer("num_steps", num_steps, 2, _MAX_STEPS)
        return {"images": self._encode(self.explorer.interpolate(a, b, steps, straight, own, other, choice)[1])}

    def explore(
        self,
        values: list[float],
        example: int | None = None,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """The image at values of the first sliders, the others as in an example: {"image": PNG data URI}."""
        choice, latents = self.explorer.classes.check(class_label, guidance_scale), self._move(values, example)
        return self._decode_one(latents, self._check_example(example), choice)

    def traverse(
        self,
        values: list[float],
        axes: list[int],
        num_steps: int = 7,
        example: int | None = None,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """Images along some sliders, the others at their values: {"images": PNG data URIs, "axes": the sliders}."""
        choice = self.explorer.classes.check(class_label, guidance_scale)
        numbers = check_numbers("values", values, len(self.explorer.axes))
        chosen = [check_integer("axes", axis, 0, len(numbers) - 1) for axis in self._check_list("axes", axes)]
        steps = check_integer("num_steps", num_steps, 2, _MAX_STEPS)
        if not chosen or len(chosen) * steps > _MAX_STRIP_IMAGES:
            raise ValueError(
                f"axes and num_steps must ask for 1 to {_MAX_STRIP_IMAGES} images, got {len(chosen)} x {steps}"
            )
        images = self.explorer.traverse(self._check_example(example), numbers, chosen, steps, choice)
        return {"images": self._encode(images), "axes": chosen}

    def decode_point(
        self, x: float, y: float, class_label: int | None = None, guidance_scale: float = 1.0
    ) -> dict[str, Any]:
        """The image of a point of the map: {"image": PNG data URI}."""
        choice = self.explorer.classes.check(class_label, guidance_scale)
        return self._decode_one(self.explorer.lift(check_number("x", x), check_number("y", y)), None, choice)

    def sample_latents(
        self,
        sampler: str,
        seed: int = 0,
        num_samples: int = 16,
        format: str = "npz",
        class_label: int | None = None,
        guidance_scale: float = 1.0,
    ) -> dict[str, Any]:
        """The latents of `sample` as a file, npz or csv: {"file": data URI, "name": its name}."""
        choice = self.explorer.classes.check(class_label, guidance_scale, of_samples=True)
        return self._file(self._draw(sampler, seed, num_samples, choice)[0], f"latents-seed{seed}", format)

    def image_latents(self, image: ImageInput, format: str = "npz", class_label: int | None = None) -> dict[str, Any]:
        """The latents of an image as a file, npz or csv: {"file": data URI, "name": its name}."""
        return self._file(self._embed(image, class_label), "latents", format)

    def explored_latents(self, values: list[float], example: int | None = None, format: str = "npz") -> dict[str, Any]:
        """The latents of `explore` as a file, npz or csv: {"file": data URI, "name": its name}."""
        return self._file(self._move(values, example), "explored", format)

    # Arguments

    def _draw(self, sampler: str, seed: int, num_samples: int, choice: ClassChoice) -> tuple[Tensor, Tensor | None]:
        return self.explorer.draw_latents(
            check_choice("sampler", sampler, self.explorer.samplers),
            check_integer("seed", seed, 0, LARGEST_SEED),
            check_integer("num_samples", num_samples, 1, MAX_IMAGES),
            choice,
        )

    def _embed(self, image: ImageInput, class_label: int | None) -> Tensor:
        choice = self.explorer.classes.check(class_label, 1)
        return self.explorer.embed(*self._read_image("image", image, choice))

    def _move(self, values: list[float], example: int | None) -> Tensor:
        numbers = check_numbers("values", values, len(self.explorer.axes))
        return self.explorer.move(self._check_example(example), numbers)

    def _check_example(self, example: int | None, name: str = "example") -> int | None:
        return None if example is None else check_integer(name, example, 0, len(self.explorer.examples) - 1)

    def _check_list(self, name: str, values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise ValueError(f"{name} must be a list, got {describe(values)}")
        return values

    def _read_image(self, name: str, image: ImageInput, choice: ClassChoice) -> LabelledImage:
        """An example, or an image that a visitor sent, whose class is the chosen one."""
        if isinstance(image, (int, float)):
            index = self._check_example(image, name)  # pyright: ignore[reportArgumentType] (a float raises there)
            assert index is not None
            return LabelledImage(
                self.explorer.examples.pixel_values[index : index + 1], self.explorer.find_image_class(index)
            )
        pixel_values = read_upload(image, self.explorer.processor, self.upload_folder)
        return LabelledImage(pixel_values, self.explorer.find_image_class(None, choice))

    # Answers

    def _decode_one(self, latents: Tensor, example: int | None, choice: ClassChoice) -> dict[str, Any]:
        """The image of latents (1, *latent_shape) that were reached from an example, or from none."""
        labels = self.explorer.choose_point_class(example, choice)
        image = self._encode(self.explorer.decode(latents, labels, choice.guidance_scale))[0]
        return {"image": image, **_describe(labels)}

    def _encode(self, pixel_values: Tensor) -> list[str]:
        return [as_data_uri(image) for image in self.explorer.to_images(pixel_values)]

    def _file(self, latents: Tensor, name: str, format: str) -> dict[str, Any]:
        format = check_choice("format", format, _FORMATS)
        return {"file": latents_file(latents, format), "name": f"{name}.{format}"}

    def by_name(self) -> dict[str, Any]:
        """Every function, by the name that `gradio_client` calls it by."""
        return {name: getattr(self, name) for name in ENDPOINTS}


def _describe(class_labels: Tensor | None) -> dict[str, int]:
    """The class of one image, for a conditional model."""
    return {} if class_labels is None else {"class_label": int(class_labels[0])}


SAMPLES = ("sample", "vary", "sample_latents")
"""Functions that draw samples. Their class can be chosen if the model or a sampler has classes."""
ENDPOINTS = (
    "sample",
    "vary",
    "reconstruct",
    "embed",
    "interpolate",
    "explore",
    "traverse",
    "decode_point",
    "sample_latents",
    "image_latents",
    "explored_latents",
)
