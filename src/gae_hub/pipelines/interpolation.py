"""InterpolationPipeline: the path between two images or other data through the latent space."""

__all__ = ["InterpolationPipeline"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..core.argument_checks import describe
from ..models.conditional import ClassLabels
from .task_pipeline import TaskPipeline


class InterpolationPipeline(TaskPipeline):
    """Interpolates between two examples along the geodesic of the latent space: `model.interpolate`.

    An input is a pair: a tuple (start, end), or a row with the keys "start" and "end". Two arrays with a batch axis
    are a batch of pairs. Start and end are examples as in [`TaskPipeline`], and so are the arguments.

    A call returns for each pair a list of `num_steps` PIL images, ends included, or an array for other data. The
    option `num_steps` is 10 by default.

    Example:

    ```python
    interpolate = pipeline("image-interpolation", model="user/betavae-mnist")
    images = interpolate(("three.png", "eight.png"), num_steps=10)
    ```
    """

    default_task = "image-interpolation"

    def split_batch(self, inputs: Any) -> list[Any] | None:
        if not isinstance(inputs, tuple) or len(inputs) != 2:
            return None
        start, end = map(super().split_batch, inputs)
        if start is None or end is None:
            return None
        if len(start) != len(end):
            raise ValueError(f"start and end must hold the same number of examples, got {len(start)} and {len(end)}")
        return list(zip(start, end, strict=True))

    def to_stream(self, inputs: Any) -> Any:
        return inputs if isinstance(inputs, tuple) else super().to_stream(inputs)

    def preprocess(self, input_: Any, timeout: float | None = None) -> dict[str, Any]:
        """`{"pixel_values": (1, 2, *input_shape)}` from one pair."""
        pair = input_
        if isinstance(input_, Mapping) and input_.keys() >= {"start", "end"}:
            pair = (input_["start"], input_["end"])
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            found = f"{len(pair)} of them" if isinstance(pair, (tuple, list)) else describe(input_)
            raise ValueError(
                f"expected a pair (start, end) of examples, got {found}: pass pipe((start, end)), or a list of pairs"
            )
        return {"pixel_values": torch.stack([self.read_example(example, timeout) for example in pair], 1)}

    def compute(
        self,
        pixel_values: Tensor,
        num_steps: int = 10,
        class_labels: ClassLabels = None,
        end_class_labels: ClassLabels = None,
    ) -> Tensor:
        labels = class_labels, end_class_labels
        return self.model.interpolate(pixel_values[:, 0], pixel_values[:, 1], num_steps, *labels)
