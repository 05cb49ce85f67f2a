"""TaskPipeline: the base of all tasks. It bundles a model with its processor, reads inputs and converts outputs."""

__all__ = ["TaskPipeline"]

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import GeneratorType
from typing import Any, Self, cast

import numpy as np
import torch
from huggingface_hub import upload_folder
from torch import Tensor
from torch.utils.data import Dataset
from transformers.pipelines.base import Pipeline

from ..core.argument_checks import describe
from ..core.hub_errors import explained
from ..core.hub_files import fetch_card, open_repository
from ..images.processing import GAEImageProcessor, is_image_shape
from ..images.reading import is_encoded_image
from ..models.base import GAEPreTrainedModel
from ..modules.precision import at_least_float32
from .call_options import choose_options
from .image_urls import download_image, is_url
from .stored_parts import fetch_options, load_processor, pinned_source


class TaskPipeline(Pipeline):
    """Base of the pipelines of gae_hub, which are pipelines of transformers.

    A subclass sets `default_task` and defines `compute`. The options of a call are the parameters of `preprocess`,
    `compute` and `postprocess` after the first.

    A call accepts one example or many. One example is a PIL image, a path or URL of an image file, its bytes, an array
    or tensor in the units of the data, or a row of a data set that holds one of these. Many are a list, an array with
    a batch axis, a data set, or a generator. Data sets and generators are read while the results are.

    Args:
        model: an autoencoder.
        processor: converts data to the model's values and back. By default that of the model's training in this
            session, that of the repository that the model was loaded from, or one for its input_shape.
        task: name of the task, if `transformers.pipeline` creates the pipeline. It then moves the model to the first
            GPU, if there is one; otherwise the model stays on its device.
        image_processor: the processor, as `transformers.pipeline` passes it.
        device: device to move the model to: its name, a `torch.device`, or the number of a GPU.
        **options: options of calls, which become their defaults, and `batch_size` and `num_workers`.

    Raises:
        ValueError: if the model is not one of gae_hub, or the processor is for another input_shape.
        TypeError: for an option that the pipeline does not have.
    """

    model: GAEPreTrainedModel
    processor: GAEImageProcessor

    default_task = ""
    # the processor is read in the constructor, where a file that cannot be read raises
    _load_processor = _load_image_processor = _load_feature_extractor = _load_tokenizer = False
    _load_video_processor = False

    def __init__(
        self,
        model: GAEPreTrainedModel,
        processor: GAEImageProcessor | None = None,
        *,
        task: str | None = None,
        image_processor: GAEImageProcessor | str | None = None,
        device: Any = None,
        **options: Any,
    ):
        name = type(self).__name__
        if not hasattr(model, "latent_shape"):
            raise ValueError(
                f"{name} needs a model, got {describe(model)}: "
                f"{name}.from_pretrained loads one from a folder or the Hub"
            )
        if isinstance(image_processor, str):
            image_processor = GAEImageProcessor.from_pretrained(image_processor)
        found = processor or image_processor or model.processor or load_processor(model, *pinned_source(model))
        if tuple(getattr(found, "input_shape", ())) != tuple(model.config.input_shape):
            raise ValueError(
                f"processor must be a GAEImageProcessor for input_shape {model.config.input_shape}, got "
                f"{describe(found)} for {getattr(found, 'input_shape', 'images')}"
            )
        if device is None and task is None and getattr(model, "hf_device_map", None) is None:
            device = model.device
        task = task or self.default_task
        super().__init__(model, image_processor=found, task=task, device=device, **options)
        self.processor = found

    # Calls

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """The result for one example, or a list of results for many; an iterator for a data set or a generator.

        Args:
            inputs: one example or many, as described above.
            **options: `batch_size`, the examples that the model sees at once, 1 by default; `num_workers`; `timeout`,
                seconds to wait for a URL; and those of the task.

        Raises:
            ValueError: if an input is not an example of the model's input_shape, or cannot be read.
            TypeError: for an option that the pipeline does not have.
        """
        examples = self.split_batch(inputs)
        if examples is None:
            return super().__call__(self.to_stream(inputs), **options)
        results: Any = super().__call__(examples, **options)
        return np.stack(results) if isinstance(results[0], np.ndarray) else results

    def split_batch(self, inputs: Any) -> list[Any] | None:
        """The examples of an array with a batch axis; None for other inputs."""
        is_batch = isinstance(inputs, (np.ndarray, Tensor)) and self.processor.is_batch(inputs)
        return list(inputs) if is_batch else None

    def to_stream(self, inputs: Any) -> Any:
        """The inputs as transformers distinguishes them: one example, a list, a data set or a generator."""
        if isinstance(inputs, (list, tuple)):
            if not inputs:
                raise ValueError("there are no inputs: got an empty list")
            return list(inputs)
        is_one = is_encoded_image(inputs) or isinstance(inputs, (Mapping, np.ndarray, Tensor))
        if is_one or isinstance(inputs, (Dataset, GeneratorType)) or not isinstance(inputs, Iterable):
            return inputs
        return (example for example in inputs)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        steps = (self.preprocess, self.compute, self.postprocess)
        pre, middle, post = choose_options(type(self).__name__, options, *steps)
        for name, value in middle.items():
            if name.endswith("class_labels"):
                self._check_shared(name, value)
        return pre, middle, post

    def _check_shared(self, name: str, class_labels: Any):
        """Raise ValueError unless an option is one class, or one vector of conditions, for all inputs."""
        expected = 0 if self.model.config.condition_dim is None else 1
        if class_labels is not None and torch.as_tensor(class_labels).dim() > expected:
            raise ValueError(
                f"{name} must be one value for all inputs, got {describe(class_labels)}: to give each input its own "
                'class, pass rows {"image": input, "class_labels": 3}'
            )

    def preprocess(self, input_: Any, timeout: float | None = None) -> dict[str, Any]:
        """`{"pixel_values": (1, ...)}` for the model from one input, with its `class_labels` if it has any."""
        return {"pixel_values": self.read_example(input_, timeout), **self.read_class_label(input_)}

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> dict[str, Tensor]:
        return {"output": self.compute(**{**forward_parameters, **input_tensors})}

    def compute(self, pixel_values: Any) -> Tensor:
        """The model's output for a batch of what `preprocess` returns, on the model's device.

        Further parameters are options of calls.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute")

    def postprocess(self, model_outputs: dict[str, Tensor]) -> Any:
        """The result for one input: by default the model's images, see `to_data`."""
        return self.to_data(model_outputs["output"][0])

    # Data

    @property
    def returns_images(self) -> bool:
        """Whether the model's input_shape is (channels, height, width) with 1, 3 or 4 channels."""
        return is_image_shape(self.processor.input_shape)

    def read_class_label(self, source: Any) -> dict[str, Tensor]:
        """`{"class_labels": (1,)}` of a row with a class, for a conditional model; otherwise empty."""
        if not self.model.is_conditional or not isinstance(source, Mapping):
            return {}
        found = next((source[name] for name in ("class_labels", "label", "labels") if name in source), None)
        return {} if found is None else {"class_labels": torch.as_tensor(found)[None]}

    def read_example(self, source: Any, timeout: float | None = None) -> Tensor:
        """(1, *input_shape): the model's values for one example.

        A row with "pixel_values" is from a data set of gae_hub, and has the model's values already.
        """
        if isinstance(source, Mapping) and "pixel_values" in source:
            values = torch.as_tensor(source["pixel_values"])[None]
            return values.float() / 255 if values.dtype == torch.uint8 else values
        if isinstance(source, tuple) or (isinstance(source, Mapping) and not is_encoded_image(source)):
            from ..data.sources.torch_data import find_example

            source = find_example(source)
        if is_url(source):
            content = download_image(str(source), timeout)
            try:
                values = self._process(content)
            except ValueError as error:
                raise ValueError(f"cannot read the image {source}: {error}") from error
        else:
            values = self._process(source)
        if len(values) != 1:
            raise ValueError(
                f"expected one example of shape {self.processor.input_shape}, got {len(values)} in one input: pass a "
                "list of examples, or one array of all"
            )
        return values

    def _process(self, source: Any) -> Tensor:
        """(num, *input_shape): the model's values of what the processor accepts."""
        return self.processor.preprocess(source)["pixel_values"]

    def to_data(self, pixel_values: Tensor) -> Any:
        """The model's values (*axes, *input_shape) as PIL images in nested lists, or an array in the data's units."""
        axes = pixel_values.shape[: pixel_values.dim() - len(self.processor.input_shape)]
        flat = pixel_values.reshape(-1, *self.processor.input_shape)
        if not self.returns_images:
            return at_least_float32(self.processor.restore(flat)).reshape(pixel_values.shape).detach().cpu().numpy()
        return _nest(self.processor.postprocess(flat), axes)

    # Device, loading, saving and publishing

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device, and return the pipeline."""
        cast(torch.nn.Module, self.model).to(device)
        self.device = torch.device(device)
        return self

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load model and processor from a folder or Hub repository.

        Args:
            pretrained_model_name_or_path: folder, or `user/name` on the Hub.
            **kwargs: arguments of `AutoGAE.from_pretrained`, such as `revision`, `token`, `cache_dir`, `device_map`,
                `dtype` and `subfolder`, which holds all parts.

        Raises:
            ValueError: if there is no gae_hub model.
            OSError: if the model does not exist, or the Hub does not respond.
        """
        from ..auto import AutoGAE

        name = pretrained_model_name_or_path
        model = AutoGAE.from_pretrained(name, **kwargs)
        return cls(model, processor=load_processor(model, name, fetch_options(kwargs)))

    def save_pretrained(self, save_directory: str | Path, repo_id: str | None = None):
        """Write model, processor and a card into a folder.

        Args:
            save_directory: the folder.
            repo_id: name of the repository on the Hub, for the card.
        """
        folder = Path(save_directory)
        self.processor.save_pretrained(folder)
        self.model.save_pretrained(folder)
        self.model.write_card(folder, repo_id=repo_id, show=True)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        license: str | None = None,
    ) -> str:
        """Publish everything in one commit, and return its URL. Text that users added to the card is kept.

        Args:
            repo_id: `user/name`.
            private, token: as in `huggingface_hub.create_repo`.
            revision: branch to commit to, created if it does not exist. The main branch by default.
            commit_message: first line of the commit.
            license: as in `model.push_to_hub`.

        Raises:
            HubError: if the network or the Hub fails, or the token has no write access.
        """
        self.model.license = license or self.model.license
        with explained("publish to", repo_id, token), TemporaryDirectory() as folder:
            repo_id = open_repository(repo_id, private, token, revision)
            fetch_card(repo_id, folder, token=token, revision=revision)
            self.save_pretrained(folder, repo_id=repo_id)
            return upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"Upload {self.parts}",
                token=token,
                revision=revision,
                delete_patterns=self.stale_files,
            ).commit_url

    parts = "model and processor"
    """What `save_pretrained` writes, for the commit."""

    @property
    def stale_files(self) -> str | None:
        """Pattern of the files in a repository that a push makes stale, and deletes."""
        return None


def _nest(items: list[Any], axes: tuple[int, ...]) -> Any:
    """Nested lists of a shape; the only item for no axes."""
    if not axes:
        return items[0]
    step = len(items) // axes[0]
    return [_nest(items[start : start + step], axes[1:]) for start in range(0, len(items), step)]
