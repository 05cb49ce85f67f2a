"""ReconstructionPipeline: the reconstruction of images or other data."""

__all__ = ["ReconstructionPipeline"]

from torch import Tensor

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

    def compute(self, pixel_values: Tensor) -> Tensor:
        return self.model.reconstruct(pixel_values)
