"""ReconstructionPipeline: the reconstruction of images or other data."""

__all__ = ["ReconstructionPipeline"]

from torch import Tensor

from ..models.conditional import ClassLabels
from .task_pipeline import TaskPipeline


class ReconstructionPipeline(TaskPipeline):
    """Encodes and decodes examples: `model.reconstruct`. Arguments, inputs and options as in [`TaskPipeline`].

    A call returns a PIL image for each image, and an array for other data.

    Example:

    ```python
    reconstruct = pipeline("image-reconstruction", model="user/betavae-mnist")
    reconstruct("digit.png").save("reconstruction.png")
    ```
    """

    default_task = "image-reconstruction"

    def compute(
        self, pixel_values: Tensor, class_labels: ClassLabels = None, target_class_labels: ClassLabels = None
    ) -> Tensor:
        return self.model.reconstruct(pixel_values, class_labels=class_labels, target_class_labels=target_class_labels)
