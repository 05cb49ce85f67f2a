r"""LPIPS: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang, Isola, Efros, Shechtman &
Wang, 2018), arXiv:1801.03924. Version 0.1.

.. math::
    d(x, y) = \sum_l \mathrm{mean}_{hw} \, w_l^T (\hat f_l(x) - \hat f_l(y))^2

where f are the outputs of five layers of AlexNet or VGG-16, scaled to unit length over their channels. The network is
defined here, for metrics and losses; `metrics.networks.lpips` loads its published weights.
"""

__all__ = ["BACKBONES", "Backbone", "LPIPSNetwork"]

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .precision import at_least_float32


@dataclass(frozen=True)
class Backbone:
    """A published network: its layers, and the files of its weights.

    Args:
        layers: (channels, kernel, stride, padding) for a convolution with ReLU, or (kernel, stride) for a max pool.
        taps: indices of the modules whose outputs are compared.
        min_size: smallest height and width that the network accepts.
        url: file of the backbone's weights.
        sha256: first digits of that file's SHA-256.
        heads_url: file of the linear layers' weights.
    """

    layers: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]
    min_size: int
    url: str
    sha256: str
    heads_url: str


_HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
_C = {width: (width, 3, 1, 1) for width in (64, 128, 256, 384, 512)}
BACKBONES = {
    "alex": Backbone(
        layers=((64, 11, 4, 2), (3, 2), (192, 5, 1, 2), (3, 2), _C[384], _C[256], _C[256]),
        taps=(1, 4, 7, 9, 11),
        min_size=31,
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
        min_size=16,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af",
        heads_url=f"{_HEADS}vgg.pth",
    ),
}
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # normalisation of the input, from images in [-1, 1]


class LPIPSNetwork(nn.Module):
    """LPIPS with given weights. Its parameters are not trained.

    Args:
        backbone: "alex", which most reports use, or "vgg".
        weights: the backbone's weights, with torchvision's names `features.*`.
        heads: the linear layers' weights, with the authors' names `lin*.model.1.weight`.

    Raises:
        ValueError: if the backbone is not known, or the heads do not fit it.
    """

    features: nn.Sequential
    head0: Tensor

    def __init__(self, backbone: str, weights: Mapping[str, Tensor], heads: Mapping[str, Tensor]):
        super().__init__()
        self.spec, self.name = find_backbone(backbone), f"lpips-{backbone}"
        self.features = build_backbone(self.spec)
        self.load_state_dict({name: value for name, value in weights.items() if name.startswith("features.")})
        for index, tap in enumerate(self.spec.taps):
            name, channels = f"lin{index}.model.1.weight", self._num_channels(tap)
            if name not in heads or heads[name].numel() != channels:
                raise ValueError(
                    f"the heads of '{self.name}' must hold {name} with {channels} channels; check the file"
                )
            self.register_buffer(f"head{index}", heads[name].view(channels, 1, 1))
        self.eval().requires_grad_(False)

    def _num_channels(self, tap: int) -> int:
        layers = list(self.features)[: tap + 1]
        return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)][-1]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch,) distances between images in [0, 1], each (batch, 1 or 3, height, width), with their gradients.

        Raises:
            ValueError: if the images are smaller than the network accepts.
        """
        if min(x.shape[-2:]) < self.spec.min_size:
            raise ValueError(
                f"{self.name} needs images of at least {self.spec.min_size} x {self.spec.min_size} pixels, got "
                f"{x.shape[-2]} x {x.shape[-1]}"
            )
        total = at_least_float32(x.new_zeros(len(x)))
        for index, (a, b) in enumerate(zip(self._iterate_taps(x), self._iterate_taps(y), strict=True)):
            total = total + (self.get_buffer(f"head{index}") * (a - b).square()).sum(1).mean((1, 2))
        return total

    def _iterate_taps(self, images: Tensor) -> Iterator[Tensor]:
        """Outputs of the compared layers, scaled to unit length over the channels."""
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        value = (2 * images.expand(-1, 3, -1, -1) - 1 - mean) / std
        for index, layer in enumerate(self.features):
            value = layer(value)
            if index in self.spec.taps:
                wide = at_least_float32(value)
                # where all channels are 0, the slope of the root is infinite, but that of the ReLU before is 0
                yield wide / (wide.square().sum(1, keepdim=True).sqrt() + 1e-10)

    def as_constants(self) -> "LPIPSNetwork":
        """Turn the weights into buffers that no checkpoint saves and no optimizer sees, and return the network."""
        for module in self.modules():
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in tensors:
                delattr(module, name)
                module.register_buffer(name, tensor.detach(), persistent=False)
            module._is_hf_initialized = True  # pyright: ignore[reportArgumentType] (a flag of transformers)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True):
        """As in PyTorch, but half precision leaves the weights in float32: the distances are small differences."""

        def apply(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return tensor.to(result.device) if result.dtype in (torch.float16, torch.bfloat16) else result

        for module in self.features:
            module._apply(apply, recurse)
        return super()._apply(apply, recurse=False)


def find_backbone(name: str) -> Backbone:
    """The published network of a name.

    Raises:
        ValueError: if there is none.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got '{name}'")
    return BACKBONES[name]


def build_backbone(spec: Backbone) -> nn.Sequential:
    """The layers of a published network, with new weights."""
    layers, width = [], 3
    for layer in spec.layers:
        if len(layer) == 2:
            layers.append(nn.MaxPool2d(*layer))
        else:
            channels, kernel, stride, padding = layer
            layers += [nn.Conv2d(width, channels, kernel, stride, padding), nn.ReLU()]
            width = channels
    return nn.Sequential(*layers)
