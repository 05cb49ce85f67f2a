"""Quality of paths between two images: correct end points, even steps, straightness."""

__all__ = ["interpolation_quality"]

import torch
from torch import Tensor

from ..results import Estimate
from .checks import check_finite


def interpolation_quality(paths: Tensor, ends: Tensor) -> dict[str, Estimate]:
    """Three numbers for paths through image space, each a mean over paths.

    - `end_point_mse`: mean squared error per pixel between the ends of a path and the images it should connect.
    - `path_smoothness`: 1 / (1 + c), where c is the coefficient of variation of the step lengths. It is 1 for even
      steps and approaches 0 for a path that stands still and then jumps.
    - `path_straightness`: distance of the ends divided by the length of the path. It is 1 for a cross-fade and smaller
      for a detour through other images.

    A path that does not move has smoothness 1 and straightness 1.

    Args:
        paths: (num, steps, *input_shape), at least 3 steps.
        ends: (num, 2, *input_shape), the images at start and end.

    Raises:
        ValueError: if the shapes do not match, or values are not finite.
    """
    if paths.dim() < 3 or paths.shape[1] < 3 or not len(paths):
        raise ValueError(f"paths must be (num, 3 or more steps, *input_shape), got {tuple(paths.shape)}")
    if tuple(ends.shape) != (len(paths), 2, *paths.shape[2:]):
        raise ValueError(f"ends must be {(len(paths), 2, *paths.shape[2:])} for these paths, got {tuple(ends.shape)}")
    for argument, images in (("paths", paths), ("ends", ends)):
        check_finite(f"{argument} of the interpolation quality", images)
    paths, ends = paths.flatten(2).double(), ends.flatten(2).double()
    steps = paths.diff(dim=1).norm(dim=2)
    length = steps.sum(1)
    still = length == 0
    variation = steps.std(1, correction=0) / steps.mean(1).clamp(min=torch.finfo(torch.float64).tiny)
    straightness = (paths[:, -1] - paths[:, 0]).norm(dim=1) / torch.where(still, 1.0, length)
    errors = (paths[:, [0, -1]] - ends).square().mean((1, 2))
    return {
        "end_point_mse": Estimate.mean(errors, lower_bound=0.0),
        "path_smoothness": Estimate.mean(1 / (1 + variation)),
        "path_straightness": Estimate.mean(torch.where(still, 1.0, straightness)),
    }
