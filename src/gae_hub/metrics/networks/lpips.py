"""LPIPS with its published weights: the distance as a metric, and the weights for losses."""

__all__ = ["LPIPS", "load_lpips"]

from pathlib import Path

import torch
from torch import Tensor

from ...data.caches import hash_tensors
from ...modules.lpips import LPIPSNetwork, find_backbone
from .downloads import load_published_weights


class LPIPS(LPIPSNetwork):
    """LPIPS with published weights of the backbone and of the five linear layers, without gradients.

    Args:
        backbone: "alex", which most reports use, or "vgg".
        weights: file of the backbone's weights as torchvision publishes it, or its URL. Its SHA-256 is verified.
        heads: file of the linear layers' weights, `alex.pth` or `vgg.pth` of the authors, or its URL.

    Without `weights` or `heads`, the published files are downloaded.

    Raises:
        OSError: if a file does not exist or cannot be downloaded.
        ValueError: if a file does not hold the expected weights.
    """

    def __init__(self, backbone: str = "alex", weights: str | Path | None = None, heads: str | Path | None = None):
        remedy = (
            f"pass the paths: LPIPS('{backbone}', weights=BACKBONE, heads=HEADS), "
            f"load('lpips', backbone='{backbone}', weights=BACKBONE, heads=HEADS), or --options "
            f'\'{{"lpips": {{"backbone": "{backbone}", "weights": "BACKBONE", "heads": "HEADS"}}}}\''
        )
        super().__init__(backbone, *_load_weights(backbone, weights, heads, remedy))
        self.sha256 = hash_tensors(self.state_dict())

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch,) distances between images in [0, 1], each (batch, 1 or 3, height, width).

        Raises:
            ValueError: if the images are smaller than the network accepts.
        """
        return super().forward(x, y)


def load_lpips(backbone: str, weights: str | Path | None = None, heads: str | Path | None = None) -> LPIPSNetwork:
    """The network for a loss, with gradients with respect to the images. Arguments and errors as for [`LPIPS`]."""
    remedy = (
        "call model.load_perceptual_network(weights=BACKBONE, heads=HEADS) with the paths before training, or set "
        "perceptual_weight=0 to train without the term; loaded models encode and decode without these weights"
    )
    return LPIPSNetwork(backbone, *_load_weights(backbone, weights, heads, remedy))


def _load_weights(
    backbone: str, weights: str | Path | None, heads: str | Path | None, remedy: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the backbone and of the linear layers, from files, URLs or the published files."""
    spec, name = find_backbone(backbone), f"lpips-{backbone}"
    return (
        load_published_weights(weights or spec.url, spec.sha256, name, remedy),
        load_published_weights(heads or spec.heads_url, None, f"{name} (linear layers)", remedy),
    )
