r"""LPIPS: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang, Isola, Efros, Shechtman &
Wang, 2018), arXiv:1801.03924.

.. math::
    d(x, y) = \sum_l \mathrm{mean}_{hw} \, w_l^T (\hat f_l(x) - \hat f_l(y))^2

with the outputs f of five layers of AlexNet or VGG-16, scaled to unit length over their channels. Version 0.1.
"""

__all__ = ["BACKBONES", "LPIPS"]

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .weights import published_weights, sha256_of


@dataclass(frozen=True)
class Backbone:
    """A published network: its layers by the numbers of their modules, and where its weights are.

    Args:
        layers: (channels, kernel, stride, padding) of a convolution and its rectifier, or (kernel, stride) of a pool.
        taps: modules whose outputs are compared.
        least: pixels a side that the network needs.
    """

    layers: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]
    least: int
    url: str
    sha256: str
    heads_url: str


_HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
_C = {width: (width, 3, 1, 1) for width in (64, 128, 256, 384, 512)}
BACKBONES = {
    "alex": Backbone(
        layers=((64, 11, 4, 2), (3, 2), (192, 5, 1, 2), (3, 2), _C[384], _C[256], _C[256]),
        taps=(1, 4, 7, 9, 11),
        least=31,
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        sha256="7be5be79",
        heads_url=f"{_HEADS}alex.pth",
    ),
    "vgg": Backbone(
        layers=(
            *(_C[64], _C[64], (2, 2), _C[128], _C[128], (2, 2), _C[256], _C[256], _C[256], (2, 2)),
            *(_C[512], _C[512], _C[512], (2, 2), _C[512], _C[512], _C[512]),
        ),
        taps=(3, 8, 15, 22, 29),
        least=16,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af",
        heads_url=f"{_HEADS}vgg.pth",
    ),
}
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the network's input, from images in [-1, 1]


class LPIPS(nn.Module):
    """The distance, by the published weights of a backbone and of the five linear layers on it.

    Args:
        backbone: "alex", as most reports, or "vgg".
        weights: the backbone's file as torchvision publishes it, or a URL of it; its SHA-256 is verified.
        heads: the file of the linear layers, `alex.pth` or `vgg.pth` of the authors, or a URL of it.

    Raises:
        OSError: if the weights cannot be had.
        ValueError: if they are not what they should be.
    """

    def __init__(self, backbone: str = "alex", weights: str | Path | None = None, heads: str | Path | None = None):
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got '{backbone}'")
        self.spec, self.name = BACKBONES[backbone], f"lpips-{backbone}"
        self.features = _network(self.spec)
        remedy = (
            f"give the files' paths: LPIPS('{backbone}', weights=BACKBONE, heads=HEADS), "
            f"load('lpips', backbone='{backbone}', weights=BACKBONE, heads=HEADS), or --options "
            f'\'{{"lpips": {{"backbone": "{backbone}", "weights": "BACKBONE", "heads": "HEADS"}}}}\''
        )
        state = published_weights(weights or self.spec.url, self.spec.sha256, self.name, remedy)
        kept = {name: value for name, value in state.items() if name.startswith("features.")}
        self.load_state_dict(kept)
        linear = published_weights(heads or self.spec.heads_url, None, f"{self.name} (its linear layers)", remedy)
        for index, tap in enumerate(self.spec.taps):
            name, channels = f"lin{index}.model.1.weight", self._channels(tap)
            if name not in linear or linear[name].numel() != channels:
                raise ValueError(f"the heads of '{self.name}' have no {name} of {channels} channels")
            self.register_buffer(f"head{index}", linear[name].view(channels, 1, 1))
        self.eval().requires_grad_(False)
        self.sha256 = sha256_of(self.state_dict())

    def _channels(self, tap: int) -> int:
        return [layer.out_channels for layer in self.features[: tap + 1] if isinstance(layer, nn.Conv2d)][-1]

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch,) distances of images in [0, 1], (batch, 1 or 3, height, width)."""
        if min(x.shape[-2:]) < self.spec.least:
            raise ValueError(
                f"{self.name} needs images of {self.spec.least} pixels a side or more, got {tuple(x.shape[-2:])}"
            )
        total = 0.0
        for index, (a, b) in enumerate(zip(self._outputs(x), self._outputs(y), strict=True)):
            total = total + (getattr(self, f"head{index}") * (a - b).square()).sum(1).mean((1, 2))
        return total

    def _outputs(self, images: Tensor):
        """The taps' outputs, of unit length over the channels."""
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        value = (2 * images.expand(-1, 3, -1, -1) - 1 - mean) / std
        for index, layer in enumerate(self.features):
            value = layer(value)
            if index in self.spec.taps:
                yield value / (value.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _network(spec: Backbone) -> nn.Sequential:
    layers, width = [], 3
    for layer in spec.layers:
        if len(layer) == 2:
            layers.append(nn.MaxPool2d(*layer))
        else:
            layers += [nn.Conv2d(width, *layer), nn.ReLU()]
            width = layer[0]
    return nn.Sequential(*layers)
