"""Converts between images, as PIL images or arrays, and `pixel_values`. Uses Pillow, not torchvision."""

__all__ = ["GAEImageProcessor", "array_to_image", "is_image_shape"]

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, BatchFeature

from ..core.argument_checks import describe, suggest
from ..core.files import write_atomically
from ..core.hub_files import fetch_card
from ..core.json_files import check_nesting, describe_type
from ..modules.inputs import check_finite_values
from .binarization import Binarization
from .layouts import CHANNEL_COUNTS, Layout, check_layout
from .normalization import Normalization
from .reading import DAMAGED, is_encoded_image, open_image, read_image

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# arguments of AutoImageProcessor that reach `from_dict`, and keys of preprocessor_config.json that are not settings
_LOADING_OPTIONS = {"_commit_hash", "backend", "code_revision", "trust_remote_code", "use_fast"}
_KEYS_OF_TRANSFORMERS = {"auto_map", "feature_extractor_type", "image_processor_type", "processor_class"}


def is_image_shape(shape: Sequence[int]) -> bool:
    """Whether a shape is (channels, height, width) with 1, 3 or 4 channels."""
    return len(shape) == 3 and shape[0] in CHANNEL_COUNTS


def array_to_image(array: Tensor) -> Image.Image:
    """PIL image from a (channels, height, width) tensor in [0, 1]. Values outside are clipped.

    Raises:
        ValueError: if the tensor has another number of axes, or not 1, 3 or 4 channels.
    """
    if not is_image_shape(array.shape):
        raise ValueError(f"expected (1, 3 or 4 channels, height, width), got shape {tuple(array.shape)}")
    pixels = array.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _to_tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor. One that is read-only, such as that of a PIL image, is copied: torch warns of it."""
    return torch.as_tensor(array if array.flags.writeable else array.copy())


class GAEImageProcessorKwargs(TypedDict, total=False):
    """The settings of [`GAEImageProcessor`], as transformers declares those of its image processors."""

    input_shape: Sequence[int]
    layout: Layout | None
    background: str
    normalization: Normalization | Mapping[str, Any] | None
    binarization: Binarization | Mapping[str, Any] | None
    column_names: Sequence[str] | None
    data: Mapping[str, Any] | None


class GAEImageProcessor(BaseImageProcessor):
    """Converts data to a model's `pixel_values`, and a model's output to PIL images or to values in the data's units.

    Args:
        input_shape: the model's input_shape, (channels, height, width) for images. PIL images and files are converted,
            centre-cropped and resized to it.
        layout: order of the axes of arrays; by default the one that fits input_shape.
        background: colour behind transparent pixels, as a name or "#rrggbb".
        normalization: a [`Normalization`], or a dict of it, which was applied to the training data; or None.
        column_names: names of a table's columns, or None.
        data: options with which the training data were read, those that differ from their defaults. Later commands
            read data in the same way.
        binarization: a `Binarization`, or a dict of it, which made the training data binary; or None. Images that are
            passed to the processor are made binary in the same way.

    Example:

    ```python
    processor = GAEImageProcessor.from_pretrained("user/betavae-mnist")
    pixel_values = processor("digit.png")["pixel_values"]            # (1, 1, 28, 28) in [0, 1]
    images = processor.postprocess(model.reconstruct(pixel_values))  # a list of PIL images
    ```
    """

    model_input_names = ["pixel_values"]
    valid_kwargs = GAEImageProcessorKwargs

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 28, 28),
        layout: Layout | None = None,
        background: str = "white",
        normalization: Normalization | Mapping[str, Any] | None = None,
        column_names: Sequence[str] | None = None,
        data: Mapping[str, Any] | None = None,
        binarization: Binarization | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        self._require_settings(kwargs.keys() - _KEYS_OF_TRANSFORMERS)
        super().__init__(**kwargs)
        is_shape = isinstance(input_shape, (list, tuple)) and bool(input_shape)
        if not is_shape or not all(type(size) is int and size > 0 for size in input_shape):
            raise ValueError(
                "input_shape must be a list of integers above 0, such as (channels, height, width), got "
                f"{reprlib.repr(input_shape)}"
            )
        self.input_shape = tuple(input_shape)
        check_layout(layout)
        if not isinstance(background, str):
            raise ValueError(f"background must be the name of a colour or '#rrggbb', got {describe(background)}")
        self.layout, self.background = layout, background
        if normalization is not None and not isinstance(normalization, Normalization):
            normalization = Normalization.from_dict(normalization)
        if normalization is not None and len(normalization.shift) != self.input_shape[0]:
            raise ValueError(
                f"the normalization has {len(normalization.shift)} shifts, but input_shape {self.input_shape} has "
                f"{self.input_shape[0]} columns or channels"
            )
        self.normalization = normalization
        if binarization is not None and not isinstance(binarization, Binarization):
            binarization = Binarization.from_dict(binarization)
        self.binarization = binarization
        names_columns = isinstance(column_names, (list, tuple)) and all(isinstance(name, str) for name in column_names)
        if column_names is not None and (not names_columns or self.input_shape != (len(column_names),)):
            raise ValueError(
                f"column_names must be a list of one name for each entry of input_shape {self.input_shape}, got "
                f"{reprlib.repr(column_names)}"
            )
        self.column_names = None if column_names is None else tuple(column_names)
        if data is not None and not isinstance(data, Mapping):
            raise ValueError(f"data must be a dict of options, got {describe(data)}")
        self.data = dict(data or {})

    @classmethod
    def _require_settings(cls, names: Iterable[str]):
        """Raise ValueError for names that are not settings of this class, which would have no effect."""
        settings = list(cls.valid_kwargs.__annotations__)
        for name in sorted(names):
            raise ValueError(f"{cls.__name__} has no setting '{name}'; {suggest(name, settings, 'its settings are')}")

    @classmethod
    def for_model(cls, model: "PreTrainedModel", dataset: Any = None) -> "GAEImageProcessor":
        """The processor for a model's input_shape, with the options and the normalization of its training data.

        Args:
            model: the model.
            dataset: its training data, from `load_images` or `load_data`; None if unknown.
        """
        options = getattr(dataset, "options", None)
        return cls(
            model.config.input_shape,
            background=getattr(options, "background", "white"),
            normalization=getattr(dataset, "normalization", None),
            binarization=getattr(dataset, "binarization", None),
            column_names=getattr(dataset, "column_names", None),
            data=options.to_dict() if options is not None else None,
        )

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A processor with the settings of a dict; `kwargs` replace some of them.

        Args:
            image_processor_dict: the content of preprocessor_config.json.
            **kwargs: settings, and `return_unused_kwargs`, whether to return the rest of `kwargs` too.

        Raises:
            ValueError: for a setting that this class does not have.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        settings = {name: value for name, value in kwargs.items() if name in cls.valid_kwargs.__annotations__}
        unused = {name: value for name, value in kwargs.items() if name not in settings}
        if not return_unused:
            cls._require_settings(unused.keys() - _LOADING_OPTIONS)
        processor = cls(**{**image_processor_dict, **settings})
        return (processor, unused) if return_unused else processor

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values. Those that do not apply are left out."""
        found = super().to_dict()
        normalization, binarization = self.normalization, self.binarization
        own = {
            "layout": self.layout,
            "normalization": None if normalization is None else normalization.to_dict(),
            "binarization": None if binarization is None else binarization.to_dict(),
            "column_names": None if self.column_names is None else list(self.column_names),
            "data": self.data or None,
        }
        rest = {name: value for name, value in found.items() if name not in own}
        return rest | {name: value for name, value in own.items() if value is not None}

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of preprocessor_config.json, which may come from anyone, and the unused arguments.

        Raises:
            ValueError: if the file does not hold a JSON object, or one of its keys is the name of a method.
            OSError: if there is no such file, or it is not valid JSON.
        """
        try:
            settings, unused = super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
            check_nesting(settings)
        except (UnicodeDecodeError, RecursionError, TypeError) as error:
            raise ValueError(
                f"the image processor's files of '{pretrained_model_name_or_path}' do not hold JSON objects ({error})"
            ) from error
        if not isinstance(settings, dict):
            raise ValueError(
                f"preprocessor_config.json of '{pretrained_model_name_or_path}': expected a JSON object, got "
                f"{describe_type(settings)}"
            )
        for key in settings:
            if key == "self" or callable(getattr(cls, key, None)):
                raise ValueError(
                    f"preprocessor_config.json of '{pretrained_model_name_or_path}' has the key '{key}', which is no "
                    "setting of an image processor"
                )
        if "_from_pipeline" in kwargs:  # `pipeline` also passes the model's arguments
            unused = {name: value for name, value in unused.items() if name in cls.valid_kwargs.__annotations__}
        return settings, unused

    def to_json_file(self, json_file_path: str | PathLike):
        """Write preprocessor_config.json."""
        with write_atomically(Path(json_file_path)) as temporary:
            super().to_json_file(temporary)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # transformers has just written its own card: replace it by the repository's
        fetch_card(repo_id, working_dir, kwargs.get("token"), kwargs.get("revision"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def preprocess(self, images: Any, return_tensors: str | None = "pt", **kwargs: Any) -> BatchFeature:
        """`{"pixel_values": (batch, *input_shape)}`, floats as the model needs them.

        Args:
            images: a PIL image, a path, the bytes of an image file, an array or tensor, or a list of them. Arrays have
                channels first or last, or none, with or without a leading batch axis; uint8, or floats in the units of
                the training data, which are [0, 1] without a normalization.
            return_tensors: "pt" or "np".

        Raises:
            ValueError: if there are no images, or something that is not an image; if an array does not have the
                input_shape, or values that are not finite; or for an option that this processor does not have.
        """
        if kwargs:
            raise ValueError(
                f"calling a GAEImageProcessor accepts no option '{next(iter(kwargs))}': its images always have the "
                "input_shape; give settings when the processor is created"
            )
        if return_tensors not in ("pt", "np", None):
            raise ValueError(f"return_tensors must be 'pt' or 'np', got {describe(return_tensors)}")
        images = images if isinstance(images, (list, tuple)) else [images]
        if not images:
            raise ValueError("there are no images: got an empty list")
        parts = [self._to_batch(image) for image in images]
        batch = torch.cat(parts)
        return BatchFeature({"pixel_values": batch.numpy() if return_tensors == "np" else batch})

    def _to_batch(self, image: Any) -> Tensor:
        """(num, *input_shape) floats from one image, or from an array of one or several examples."""
        if is_encoded_image(image):
            channels, height, width = self._require_image_shape()
            try:
                opened = open_image(image)
            except FileNotFoundError as error:
                raise ValueError(str(error)) from error
            except DAMAGED as error:
                raise ValueError(f"cannot read the image {describe(image)}: {error}") from error
            array = torch.from_numpy(read_image(opened, channels, (height, width), self.background).copy())
            return self._normalize(array[None])
        if not isinstance(image, (Tensor, np.ndarray, list, tuple)):
            raise ValueError(f"expected a PIL image, a path, an array or a tensor, got {describe(image)}")
        try:
            array = image if isinstance(image, Tensor) else _to_tensor(np.asarray(image))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected an array of numbers for an image, got {describe(image)}: {error}") from error
        return self._normalize(self._arrange(array))

    def is_batch(self, array: np.ndarray | Tensor) -> bool:
        """Whether an array holds a batch of examples, and not one. ValueError if its shape does not fit."""
        num = len(self._arrange(torch.empty(tuple(array.shape), device="meta")))
        return num != 1 or array.ndim > len(self.input_shape) - (self.layout == "no_channels")

    def _arrange(self, array: Tensor) -> Tensor:
        """(num, *input_shape) from an array in the layout of this processor, or in the one that fits.

        Raises:
            ValueError: if its shape fits in no layout, or in two.
        """
        if not array.numel():
            raise ValueError(f"there are no images: got an array of shape {tuple(array.shape)}")
        channels, *size = self.input_shape
        shapes = {"channels_first": self.input_shape, "channels_last": (*size, channels)}
        if channels == 1 and size:
            shapes["no_channels"] = tuple(size)
        if self.layout is not None:
            shapes = {name: shape for name, shape in shapes.items() if name == self.layout}
        found = {}
        for name, shape in shapes.items():
            axes = array.dim() - len(shape)
            if axes in (0, 1) and tuple(array.shape[axes:]) == shape:
                found[name] = array.reshape(-1, *shape)
        if not found:
            raise ValueError(
                f"an array of shape {tuple(array.shape)} does not match input_shape {self.input_shape}: resize it "
                "first, since only PIL images and files are resized"
            )
        if "channels_first" in found:
            return found["channels_first"]
        if "channels_last" in found:
            return found["channels_last"].movedim(-1, 1)
        return found["no_channels"][:, None]

    def _normalize(self, values: Tensor) -> Tensor:
        """float32 values for the model from the data's own."""
        values = values.float() / 255 if values.dtype == torch.uint8 else values
        if self.normalization is not None:
            pixel_values = self.normalization.apply(values)
        else:
            pixel_values = values.float()
        check_finite_values(pixel_values)
        return pixel_values if self.binarization is None else self.binarization.apply(pixel_values)

    def restore(self, pixel_values: Tensor) -> Tensor:
        """A model's values (batch, *input_shape) in the units of its training data.

        Without a normalization they are returned as they are; otherwise as float64.
        """
        return pixel_values if self.normalization is None else self.normalization.invert(pixel_values)

    def postprocess(self, pixel_values: Tensor) -> list[Image.Image]:
        """One PIL image for each of (batch, channels, height, width) values of the model.

        The normalization is undone, and values outside [0, 1] are clipped.

        Raises:
            ValueError: if the model's input_shape is not an image shape, or pixel_values is not a batch of images.
        """
        self._require_image_shape()
        if not isinstance(pixel_values, Tensor):
            raise ValueError(f"expected a tensor (batch, channels, height, width), got {describe(pixel_values)}")
        if pixel_values.dim() != 4:
            hint = "; for one image pass images[None]" if pixel_values.dim() == 3 else ""
            raise ValueError(f"expected (batch, channels, height, width), got shape {tuple(pixel_values.shape)}{hint}")
        return [array_to_image(image) for image in self.restore(pixel_values)]

    def _require_image_shape(self) -> tuple[int, int, int]:
        if not is_image_shape(self.input_shape):
            raise ValueError(
                f"input_shape {self.input_shape} is not an image shape: expected (channels, height, width) "
                "with 1, 3 or 4 channels"
            )
        channels, height, width = self.input_shape
        return channels, height, width
