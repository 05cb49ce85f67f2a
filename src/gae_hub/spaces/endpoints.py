"""The functions of a Space: JSON in, JSON out. The page and `gradio_client` call the same ones."""

__all__ = ["ENDPOINTS", "LARGEST_SEED", "Endpoints"]

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..core.argument_checks import describe
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


class Endpoints:
    """What a Space answers. Every method checks its arguments, and raises ValueError in plain words.

    Args:
        explorer: of the model.
        upload_folder: where Gradio keeps uploaded files; None to accept no files.
    """

    def __init__(self, explorer: Explorer, upload_folder: str | Path | None = None):
        self.explorer, self.upload_folder = explorer, upload_folder

    def sample(self, sampler: str, seed: int = 0, num_samples: int = 16) -> dict[str, Any]:
        """New images of a sampler and a seed: {"images": PNG data URIs}."""
        return {"images": self._encode(self.explorer.decode(self._draw(sampler, seed, num_samples)))}

    def vary(
        self,
        sampler: str,
        seed: int = 0,
        num_samples: int = 16,
        index: int = 0,
        distance: float = 0.4,
        variation_seed: int = 0,
        num_variations: int = 12,
    ) -> dict[str, Any]:
        """Images whose latents are near those of one sample: {"images": PNG data URIs}."""
        latents = self._draw(sampler, seed, num_samples)
        index = check_integer("index", index, 0, len(latents) - 1)
        varied = self.explorer.vary(
            latents[index : index + 1],
            check_number("distance", distance, 0, 10),
            check_integer("variation_seed", variation_seed, 0, LARGEST_SEED),
            check_integer("num_variations", num_variations, 1, MAX_IMAGES),
        )
        return {"images": self._encode(self.explorer.decode(varied))}

    def reconstruct(self, image: ImageInput) -> dict[str, Any]:
        """What the model makes of an image: both as PNG data URIs, the error, the latents' shape and the codes."""
        found = self.explorer.reconstruct(self._read_image("image", image))
        codes = found.codes
        return {
            "input": self._encode(found.pixel_values)[0],
            "reconstruction": self._encode(found.reconstruction)[0],
            "mse": found.squared_error,
            "psnr": found.psnr,
            "latent_shape": list(found.latents.shape[1:]),
            "codes": None if codes is None else codes.flatten().tolist(),
            "code_shape": None if codes is None else list(codes.shape[1:]),
        }

    def embed(self, image: ImageInput) -> dict[str, Any]:
        """The latents of an image: {"latents": nested lists of numbers}."""
        return {"latents": self.explorer.embed(self._read_image("image", image))[0].tolist()}

    def interpolate(
        self,
        start: ImageInput,
        end: ImageInput,
        num_steps: int = 16,
        path: Literal["straight", "model"] = "model",
    ) -> dict[str, Any]:
        """Images between two images, on the straight line or the model's own path: {"images": PNG data URIs}."""
        ends = self._read_image("start", start), self._read_image("end", end)
        straight = check_choice("path", path, ("straight", "model")) == "straight"
        steps = check_integer("num_steps", num_steps, 2, _MAX_STEPS)
        return {"images": self._encode(self.explorer.interpolate(*ends, steps, straight)[1])}

    def explore(self, values: list[float], example: int | None = None) -> dict[str, Any]:
        """The image at values of the first sliders, the others as in an example: {"image": PNG data URI}."""
        return {"image": self._encode(self.explorer.decode(self._move(values, example)))[0]}

    def traverse(
        self, values: list[float], axes: list[int], num_steps: int = 7, example: int | None = None
    ) -> dict[str, Any]:
        """Images along some sliders, the others at their values: {"images": PNG data URIs, "axes": the sliders}."""
        numbers = check_numbers("values", values, len(self.explorer.axes))
        chosen = [check_integer("axes", axis, 0, len(numbers) - 1) for axis in self._check_list("axes", axes)]
        steps = check_integer("num_steps", num_steps, 2, _MAX_STEPS)
        if not chosen or len(chosen) * steps > _MAX_STRIP_IMAGES:
            raise ValueError(
                f"axes and num_steps must ask for 1 to {_MAX_STRIP_IMAGES} images, got {len(chosen)} x {steps}"
            )
        images = self.explorer.traverse(self._check_example(example), numbers, chosen, steps)
        return {"images": self._encode(images), "axes": chosen}

    def decode_point(self, x: float, y: float) -> dict[str, Any]:
        """The image of a point of the map: {"image": PNG data URI}."""
        latents = self.explorer.lift(check_number("x", x), check_number("y", y))
        return {"image": self._encode(self.explorer.decode(latents))[0]}

    def sample_latents(
        self, sampler: str, seed: int = 0, num_samples: int = 16, format: str = "npz"
    ) -> dict[str, Any]:
        """The latents of `sample` as a file, npz or csv: {"file": data URI, "name": its name}."""
        return self._file(self._draw(sampler, seed, num_samples), f"latents-seed{seed}", format)

    def image_latents(self, image: ImageInput, format: str = "npz") -> dict[str, Any]:
        """The latents of an image as a file, npz or csv: {"file": data URI, "name": its name}."""
        return self._file(self.explorer.embed(self._read_image("image", image)), "latents", format)

    def explored_latents(self, values: list[float], example: int | None = None, format: str = "npz") -> dict[str, Any]:
        """The latents of `explore` as a file, npz or csv: {"file": data URI, "name": its name}."""
        return self._file(self._move(values, example), "explored", format)

    # Arguments

    def _draw(self, sampler: str, seed: int, num_samples: int) -> Tensor:
        return self.explorer.draw_latents(
            check_choice("sampler", sampler, self.explorer.samplers),
            check_integer("seed", seed, 0, LARGEST_SEED),
            check_integer("num_samples", num_samples, 1, MAX_IMAGES),
        )

    def _move(self, values: list[float], example: int | None) -> Tensor:
        numbers = check_numbers("values", values, len(self.explorer.axes))
        return self.explorer.move(self._check_example(example), numbers)

    def _check_example(self, example: int | None, name: str = "example") -> int | None:
        return None if example is None else check_integer(name, example, 0, len(self.explorer.examples) - 1)

    def _check_list(self, name: str, values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise ValueError(f"{name} must be a list, got {describe(values)}")
        return values

    def _read_image(self, name: str, image: ImageInput) -> Tensor:
        """(1, *input_shape): an example, or an image that a visitor sent."""
        if isinstance(image, (int, float)):
            index = self._check_example(image, name)  # pyright: ignore[reportArgumentType] (a float raises there)
            assert index is not None
            return self.explorer.examples.pixel_values[index : index + 1]
        return read_upload(image, self.explorer.processor, self.upload_folder)

    # Answers

    def _encode(self, pixel_values: Tensor) -> list[str]:
        return [as_data_uri(image) for image in self.explorer.to_images(pixel_values)]

    def _file(self, latents: Tensor, name: str, format: str) -> dict[str, Any]:
        format = check_choice("format", format, _FORMATS)
        return {"file": latents_file(latents, format), "name": f"{name}.{format}"}

    def by_name(self) -> dict[str, Any]:
        """Every function, by the name that `gradio_client` calls it by."""
        return {name: getattr(self, name) for name in ENDPOINTS}


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
