"""FeatureExtractionPipeline: the embedding of images or other data."""

__all__ = ["FeatureExtractionPipeline"]

from typing import Any

from torch import Tensor

from ..models.conditional import ClassLabels
from .task_pipeline import TaskPipeline


class FeatureExtractionPipeline(TaskPipeline):
    """Embeds examples: `model.embed`, the posterior means. Arguments, inputs and options as in [`TaskPipeline`].

    A call returns for each example nested lists (1, *latent_shape), as the task `image-feature-extraction` of
    transformers does, or a tensor with the option `return_tensors=True`.

    Example:

    ```python
    extract = pipeline("image-feature-extraction", model="user/betavae-mnist")
    [embedding] = extract("digit.png")
    ```
    """

    default_task = "image-feature-extraction"

    def compute(self, pixel_values: Tensor, class_labels: ClassLabels = None) -> Tensor:
        return self.model.embed(pixel_values, class_labels=class_labels)

    def postprocess(self, model_outputs: dict[str, Tensor], return_tensors: bool = False) -> Any:
        embedding = model_outputs["output"]
        return embedding if return_tensors else embedding.tolist()
